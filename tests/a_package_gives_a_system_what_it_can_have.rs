//! The package for Debian and Ubuntu has all of it and no fault, and gives also a system that is odd, or not booted, what that can
//! have.

#![cfg(target_os = "linux")]

use harness::debian::{entered, package, package_again};
use harness::{Finished, Lab, PLATFORM, Running, copy_of, is_superuser, wait_for};
use spool::record::Outcome;
use std::path::Path;
use std::process::Command;

fn listed(arguments: &[&str]) -> String {
    let mut dpkg = Command::new("dpkg-deb");
    let listed = Finished::of(dpkg.arg(arguments[0]).arg(package()).args(&arguments[1..]));
    assert_eq!(listed.code, 0, "{listed:?}");
    listed.stdout
}

#[test]
fn it_has_all_of_it() {
    let contents = listed(&["--contents"]);
    let mut wanted: Vec<String> = [
        "/usr/bin/builder",
        "/usr/sbin/builderd",
        "/usr/libexec/builder/builder-run",
        "/usr/libexec/builder/worker-root",
        "/usr/lib/sysusers.d/builder.conf",
        "/usr/lib/tmpfiles.d/builder.conf",
        "/etc/ssh/sshd_config.d/builder.conf",
        "/etc/builder/builder.toml",
        "/usr/share/bash-completion/completions/builder",
        "/usr/share/zsh/vendor-completions/_builder",
        "/usr/share/fish/vendor_completions.d/builder.fish",
        "/usr/share/doc/builder/copyright",
    ]
    .map(str::to_owned)
    .to_vec();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |directory: &str| {
        let names = std::fs::read_dir(repository.join(directory)).expect("a directory").flatten();
        names.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect::<Vec<_>>()
    };
    let units = names("systemd").into_iter().filter(|name| name.ends_with(".service"));
    wanted.extend(units.map(|name| format!("/usr/lib/systemd/system/{name}")));
    wanted.extend(names("templates").iter().map(|name| format!("/usr/share/builder/templates/{name}")));
    for (directory, place) in [("hooks", "doc/builder/examples/hooks"), ("launch", "builder/launch")] {
        wanted.extend(names(directory).iter().map(|name| format!("/usr/share/{place}/{name}")));
    }
    let section = |name: &str| name.rsplit('.').next().expect("a section").to_owned();
    wanted.extend(names("man").iter().map(|name| format!("/usr/share/man/man{}/{name}.gz", section(name))));
    assert!(wanted.len() > 25, "{wanted:?}");
    for one in &wanted {
        let line = contents.lines().find(|line| line.ends_with(&format!(" .{one}")));
        let line = line.unwrap_or_else(|| panic!("{one} is not in it"));
        assert!(line.contains(" root/root "), "{line}");
        let program = ["bin/", "libexec", "hooks", "launch"].iter().any(|part| one.contains(part));
        assert_eq!(line.starts_with("-rwxr-xr-x"), program, "{line}");
    }
    assert_eq!(listed(&["--info", "conffiles"]), "/etc/builder/builder.toml\n/etc/ssh/sshd_config.d/builder.conf\n");
    let depends = listed(&["--field", "Depends"]);
    assert!(depends.contains("libc6 (>= ") && depends.contains("openssh-client"), "{depends}");
}

#[test]
fn lintian_finds_no_fault() {
    let found =
        Finished::of(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(package()));
    assert_eq!((found.code, found.stdout.as_str()), (0, ""), "{found:?}");
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = |path: &Path| std::fs::read(path).expect("a package");
    assert!(bytes(&package_again("1", directory.path())) == bytes(&package()), "two packages");
    assert!(bytes(&package_again("2", directory.path())) != bytes(&package()), "another revision");
}

/// An upgrade removes the program that runs.
#[test]
fn a_worker_whose_program_was_replaced_goes_on() {
    let lab = Lab::new();
    let program = copy_of("builder-run", lab.root().parent().expect("the lab"));
    lab.job("job", &format!("while ! [ -e {} ]; do sleep 0.05; done; echo x > x", lab.path("go").display()));
    let id = lab.run("job");
    let mut worker = Command::new(&program);
    worker
        .env("BUILDER_CONFIG", lab.config())
        .args(["worker", "--platform", PLATFORM, "--local"])
        .arg(lab.root())
        .arg("--work")
        .arg(lab.path("work"));
    let worker = Running::start("worker", &mut worker, &lab.path("worker.log"));
    wait_for("it runs", || lab.build(&id).place.word() == "active");
    std::fs::remove_file(&program).expect("the old one");
    std::fs::write(lab.path("go"), "").expect("a file");
    assert_eq!(lab.outcome(&id), Outcome::Exited { code: 0 }, "{}", worker.said());
    assert_eq!(lab.finished(&id).result().expect("a result").expect("a result").artifacts, 1, "{}", worker.said());
}

/// What a script prints in a fresh system that is not booted, with the package at hand.
fn ran(script: &str) -> String {
    let finished = entered(&package(), script);
    assert_eq!(finished.code, 0, "{script}: {}", finished.stdout);
    finished.stdout
}

/// What a container image is made of, and what an administrator may have done before.
#[test]
fn a_system_that_is_not_booted_or_odd_gets_what_it_can_have() {
    if !is_superuser() {
        return;
    }
    let said = ran("dpkg --install builder_*.deb
        stat -c '%U %a' /var/lib/builder /var/lib/builder/.ssh/builder-server /etc/builder/secrets /etc/builder/workers
        printf '#!/bin/sh\\nexit 0\\n' > job.sh; builder add job job.sh --platform debian-12 --every daily
        dpkg --install builder_*.deb
        cd /; setpriv --reuid builder --regid builder --init-groups \\
            /usr/libexec/builder/builder-run worker --local /var/lib/builder --platform debian-12
        builder check; builder latest job; cd; DEBIAN_FRONTEND=noninteractive dpkg --purge builder; ls /var/lib/builder/done/*");
    assert!(said.contains("builder 750\nbuilder 600\nbuilder 700\nroot 711\n"), "{said}");
    assert!(
        said.contains("builder: kept with all that is in them: /var/lib/builder; `rm -r /var/lib/builder && "),
        "{said}"
    );
    assert!(!said.contains("/etc/builder"), "nothing is left there: {said}");
    assert!(said.trim_end().rsplit('\n').next().is_some_and(|build| build.contains("-job@debian-12-")), "{said}");

    let said = ran(
        "useradd robur; mkdir -p /var/lib/builder/new; chown -R robur: /var/lib/builder
        dpkg --install builder_*.deb; stat -c '%U' /var/lib/builder /var/lib/builder/new; ls /var/lib/builder
        chown -R -h builder: /var/lib/builder/; dpkg-reconfigure builder; test -s /var/lib/builder/format; echo mended",
    );
    assert!(said.contains("/var/lib/builder belongs to robur and stays as it is"), "{said}");
    assert!(said.contains("\nrobur\nrobur\nnew\n") && said.ends_with("mended\n"), "{said}");

    // The same behind a symlink to another disk.
    let said = ran("useradd robur; mkdir -p /srv/farm/new; chown -R robur: /srv/farm; ln -s /srv/farm /var/lib/builder
        dpkg --install builder_*.deb; ls /srv/farm; chown -R -h builder: /var/lib/builder/; dpkg-reconfigure builder
        stat -c '%U %a' /srv/farm/format; DEBIAN_FRONTEND=noninteractive dpkg --purge builder");
    assert!(
        said.contains("/var/lib/builder belongs to robur and stays as it is") && said.contains("\nnew\n"),
        "{said}"
    );
    assert!(said.contains("\nbuilder 644\n") && !said.contains("not all of"), "{said}");
    assert!(
        said.contains(
            "kept with all that is in them: /var/lib/builder /srv/farm; `rm -r /var/lib/builder /srv/farm && "
        )
    );

    let said = ran("touch /var/lib/builder; chown 0:0 /var/lib/builder; useradd --system builder
        chown builder: /var/lib/builder; dpkg --install builder_*.deb; dpkg --status builder | grep ^Status
        rm /var/lib/builder; dpkg-reconfigure builder; test -s /var/lib/builder/format; echo mended");
    assert!(said.contains("when that is mended: `dpkg-reconfigure builder`"), "{said}");
    assert!(said.contains("Status: install ok installed") && said.ends_with("mended\n"), "{said}");
}

/// A configuration that sshd does not take is never left, nor is anybody else's touched.
#[test]
fn sshd_is_never_left_with_a_configuration_that_it_does_not_take() {
    if !is_superuser() {
        return;
    }
    let drop_in = "/etc/ssh/sshd_config.d/builder.conf";
    let said = ran(
        "dpkg --install builder_*.deb; sshd -t; sshd -T -C user=builder,host=a,addr=192.0.2.1 | grep -i keyscommand",
    );
    assert!(said.contains("authorizedkeyscommanduser builder"), "{said}");
    let said = ran(&format!(
        "printf '#!/bin/sh\\n[ ! -e {drop_in} ] || {{ echo line 9: no such word; exit 255; }}\\n' > /usr/sbin/sshd
         dpkg --install builder_*.deb; sshd -t; ls /etc/ssh/sshd_config.d
         dpkg-reconfigure builder; ls /etc/ssh/sshd_config.d; printf '#!/bin/sh\n' > /usr/sbin/sshd; dpkg-reconfigure builder
         ls {drop_in}; dpkg --purge builder; ls /etc/ssh/sshd_config.d; echo end"
    ));
    assert_eq!(said.matches("says whether workers get in without it").count(), 2, "it is tried again: {said}");
    assert!(said.contains(&format!("\n{drop_in}\n")), "as soon as it is understood it is back: {said}");
    assert!(said.contains("builder.conf.disabled now: line 9: no such word"), "{said}");
    assert!(said.ends_with("\nend\n") && !said.ends_with("disabled\nend\n"), "{said}");
    let said = ran(&format!(
        "echo Nonsense yes >> /etc/ssh/sshd_config; dpkg --install builder_*.deb; ls {drop_in}; tail -n 1 /etc/ssh/sshd_config"
    ));
    assert!(
        said.contains("sshd's configuration has a fault") && said.ends_with(&format!("{drop_in}\nNonsense yes\n")),
        "{said}"
    );
    let said = ran(&format!(
        "useradd --create-home --uid 1500 builder; dpkg --install builder_*.deb; ls {drop_in}.disabled; getent passwd builder"
    ));
    assert!(said.contains("the user builder is a person") && said.contains("/home/builder"), "{said}");
    let said = ran(&format!("rm /usr/sbin/sshd; dpkg --install --force-depends builder_*.deb; ls {drop_in}"));
    assert!(said.ends_with(&format!("{drop_in}\n")) && !said.contains("builder: "), "{said}");
}

/// syslogd is a line of perl, which hears one message.
#[test]
fn what_sshd_starts_tells_syslog_where_there_is_no_journal() {
    if !is_superuser() {
        return;
    }
    let heard = entered(
        &package(),
        r#"dpkg --install builder_*.deb >/dev/null
        mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 444 /dev/urandom c 1 9
        perl -MSocket -e 'socket(S, AF_UNIX, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_un("/dev/log")) || die;
            chmod 0666, "/dev/log"; fork && exit; recv(S, $heard, 9999, 0); open(F, ">/heard"); print F "$heard\n"'
        SSH_ORIGINAL_COMMAND=reboot /usr/libexec/builder/builder-run serve --worker jail1 || echo refused with $?
        while [ ! -s /heard ]; do sleep 0.1; done; cat /heard"#,
    );
    let last = heard.stdout.trim_end().rsplit('\n').next().unwrap_or_default();
    assert!(last.starts_with("<28>builder-run[") && last.contains("]: this key can't run `reboot`"), "{heard:?}");
    assert!(heard.stdout.contains("refused with 77") && heard.stdout.contains("builder-run: this key"), "{heard:?}");
}
