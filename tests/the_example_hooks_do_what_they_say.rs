//! The hooks that are shipped as examples.

use harness::{Finished, Lab, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

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

/// A mail server for one mail. Returns its address, and what it was told, line by line.
fn mail_server() -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
        let mut told: Vec<String> = Vec::new();
        let mut in_mail = false;
        write!(stream, "220 here\r\n").expect("answered");
        for line in lines.map(|line| line.expect("a line")) {
            in_mail = line != "." && (in_mail || line == "DATA");
            let answer = match line.as_str() {
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 well",
            };
            if !in_mail || line == "DATA" {
                write!(stream, "{answer}\r\n").expect("answered");
            }
            told.push(line);
        }
        told
    };
    (address, thread::spawn(serve))
}

/// As in the confined unit, where sendmail can't queue anything.
#[test]
fn a_mail_goes_to_a_server_that_is_named() {
    let lab = Lab::new();
    let (address, told) = mail_server();
    let settings = [("server=''", &*format!("server='smtp://{address}'")), ("to='root'", "to='ops@example.org'")];
    install(&lab, "mail-on-change", &[&settings[..], &[("/usr/sbin/sendmail", "/bin/false")]].concat());
    lab.job("job", "echo before; echo .; echo after; exit 1");
    let (daemon, _worker) = (lab.daemon(), lab.local_worker("w", &["--keep"]));
    lab.run("job");
    settled(&lab);
    assert!(!daemon.said().contains("failed:"), "{}", daemon.said());
    let told = told.join().expect("a mail");
    for line in ["RCPT TO:<ops@example.org>", "Subject: job fails on debian-12: exited 1", "before", "..", "after"] {
        assert!(told.iter().any(|said| said == line), "{line}: {told:#?}");
    }
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

/// The head of a request, and its body.
type Request = (String, Vec<u8>);

/// A web server for so many requests, which it answers so, one after the other. Returns its address, and what it got.
fn web_server(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = move || {
        let mut got = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            let mut body = vec![0; length.parse().expect("a number")];
            reader.read_exact(&mut body).expect("a body");
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("answered");
            got.push((head, body));
        }
        got
    };
    (address, thread::spawn(serve))
}

#[test]
fn a_build_is_uploaded_to_builder_web_until_it_is_there() {
    let lab = Lab::new();
    // Out of order for a moment, then there at last, and there already.
    let (address, server) = web_server(&["503 Service Unavailable", "201 Created", "409 Conflict", "401 Unauthorized"]);
    let credentials = lab.script("credentials", "user = \"alice:a secret:with all\"\n");
    let programs = harness::binary("builder").display().to_string();
    let config = lab.config().display().to_string();
    install(
        &lab,
        "builder-web",
        &[
            ("https://builds.example.org/upload", &format!("http://{address}/upload")),
            ("/etc/builder/builder-web.curl", credentials.to_str().expect("UTF-8")),
            ("builder export", &format!("BUILDER_CONFIG='{config}' {programs} export")),
        ],
    );
    lab.job("job", "echo printed; mkdir bin; echo content > bin/hello");
    let (daemon, worker) = (lab.daemon(), lab.local_worker("w", &[]));
    let id = lab.run("job");
    wait_for("the hook has run", || daemon.said().contains("builder-web ran"));
    assert_eq!(worker.ended(), 0);
    settled(&lab);
    let again = || {
        let mut hook = Command::new(lab.path("hooks.d/builder-web"));
        Finished::of(hook.arg(lab.build(&id).dir()).env("BUILDER_BUILD", &id).env("BUILDER_SPOOL", lab.root()))
    };
    let done = again();
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let refused = again();
    assert!(refused.code == 1 && refused.stderr.contains("answered 401, and has not taken"), "{refused:?}");
    let got = server.join().expect("it ends");
    let exported = lab.program("builder").args(["export", "--full", &id]).output().expect("builder").stdout;
    assert_eq!(got.len(), 4);
    for (head, body) in &got {
        assert!(head.starts_with("POST /upload HTTP/1.1\r\n"), "{head}");
        // alice:a secret:with all
        assert!(head.contains("\r\nAuthorization: Basic YWxpY2U6YSBzZWNyZXQ6d2l0aCBhbGw=\r\n"), "{head}");
        assert!(!body.is_empty() && *body == exported);
    }
    let known = |text: &str| text.contains("a secret");
    assert!(!known(&daemon.said()) && !known(&refused.stderr));
}
