//! The hooks that are shipped as examples.

use harness::{Finished, Lab, wait_for};
use std::process::Command;

/// Installs a hook as a sysadmin does: a copy, with some of its settings changed.
fn install(lab: &Lab, name: &str, settings: &[(&str, &str)]) {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../hooks").join(name);
    let mut text = std::fs::read_to_string(source).expect("the hook");
    for (before, after) in settings {
        assert!(text.contains(before), "{before} is not in {name}");
        text = text.replace(before, after);
    }
    let _ = std::fs::create_dir(lab.path("hooks.d"));
    let path = lab.path("hooks.d").join(name);
    std::fs::write(&path, text).expect("a copy");
    harness::make_executable(&path);
}

fn settled(lab: &Lab) {
    wait_for("nothing is owed", || {
        lab.spool.open_builds().expect("builds").is_empty() && lab.spool.owing().expect("what is owed").is_empty()
    });
}

#[test]
fn the_first_failure_and_the_recovery_are_mailed() {
    let lab = Lab::new();
    // A mailer that keeps what it is given; the system's own would send it.
    let mails = lab.path("mails");
    let mailer = lab.script("sendmail", &format!("#!/bin/sh\n[ \"$*\" = '-t -oi' ] && cat >> {}\n", mails.display()));
    harness::make_executable(&mailer);
    install(
        &lab,
        "mail-on-change",
        &[("/usr/sbin/sendmail", mailer.to_str().expect("UTF-8")), ("to='root'", "to='ops@example.org'")],
    );
    let fails = lab.path("fails");
    lab.job("job", &format!("printf 'a \\033[1mbold\\033[0m word\\n'; test ! -e {}", fails.display()));
    let (daemon, _worker) = (lab.daemon(), lab.local_worker("w", &["--keep"]));
    for fail in [false, true, true, false, false] {
        let _ = if fail { std::fs::write(&fails, "") } else { std::fs::remove_file(&fails) };
        lab.run("job");
        settled(&lab);
    }
    assert!(!daemon.said().contains("failed:"), "{}", daemon.said());
    let mails = std::fs::read_to_string(mails).expect("the mails");
    let subjects: Vec<&str> = mails.lines().filter(|line| line.starts_with("Subject: ")).collect();
    assert_eq!(
        subjects,
        ["Subject: job fails on debian-12: exited 1", "Subject: job is built again on debian-12"],
        "{mails}"
    );
    assert!(mails.contains("To: ops@example.org\n") && mails.contains("a [1mbold[0m word\n"), "{mails}");
}

#[test]
fn a_record_is_sent_to_another_server() {
    let lab = Lab::new();
    let key = lab.key("archive");
    let sshd = lab.open_sshd(&key);
    let incoming = lab.path("incoming");
    std::fs::create_dir(&incoming).expect("a directory");
    let options =
        format!("-oBatchMode=yes -i {} -oUserKnownHostsFile={}", key.display(), lab.path("known_hosts").display());
    install(
        &lab,
        "upload-record",
        &[
            ("builder@archive.example.org", &sshd.url().replace("ssh://", "sftp://")),
            ("directory='incoming'", &format!("directory='{}'", incoming.display())),
            ("-oBatchMode=yes", &options),
        ],
    );
    lab.job("job", "echo printed; mkdir d; echo content > d/artifact");
    let (daemon, _worker) = (lab.daemon(), lab.local_worker("w", &["--keep"]));
    let id = lab.run("job");
    wait_for("it has arrived", || incoming.join(format!("{id}.tar")).exists());
    settled(&lab);
    assert!(!daemon.said().contains("failed:"), "{}", daemon.said());
    let unpacked = Finished::of(Command::new("tar").arg("-xf").arg(format!("{id}.tar")).current_dir(&incoming));
    assert_eq!(unpacked.code, 0, "{unpacked:?}");
    let there = |file: &str| std::fs::read_to_string(incoming.join(&id).join(file)).expect("a file of the record");
    assert_eq!((there("console.log").as_str(), there("artifacts/d/artifact").as_str()), ("printed\n", "content\n"));
    assert!(there("result.toml").contains("exited"));
}
