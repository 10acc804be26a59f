//! The Debian package: it has all of it, lintian finds no fault, the same files give the same bytes; on a system that is booted
//! from systemd the README's section "Installation" does what it says, line by line, and nothing is lost when builderd is
//! killed, when the package is upgraded while a build runs, and when it is purged; a system that is odd is left as it is.

#![cfg(target_os = "linux")]

use harness::debian::{Debian, entered, installation, package, package_again, root};
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

/// What a container image is made of, and what an administrator may have done before.
#[test]
fn a_system_that_is_not_booted_or_odd_gets_what_it_can_have() {
    if !is_superuser() {
        return;
    }
    let ran = |script: &str| {
        let finished = entered(&package(), script);
        assert_eq!(finished.code, 0, "{script}: {}", finished.stdout);
        finished.stdout
    };
    let said = ran("dpkg --install builder_*.deb
        stat -c '%U %a' /var/lib/builder /var/lib/builder/.ssh/builder-server /etc/builder/secrets /etc/builder/workers
        printf '#!/bin/sh\\nexit 0\\n' > job.sh; builder add job job.sh --platform debian-12 --every daily
        dpkg --install builder_*.deb
        cd /; setpriv --reuid builder --regid builder --init-groups \\
            /usr/libexec/builder/builder-run worker --local /var/lib/builder --platform debian-12
        builder check; builder latest job; cd; DEBIAN_FRONTEND=noninteractive dpkg --purge builder; ls /var/lib/builder/done/*");
    assert!(said.contains("builder 750\nbuilder 600\nbuilder 700\nroot 700\n"), "{said}");
    assert!(
        said.contains("builder: kept with all that is in them: /var/lib/builder; `rm -r /var/lib/builder && "),
        "{said}"
    );
    assert!(!said.contains("/etc/builder"), "nothing is left there: {said}");
    assert!(said.trim_end().rsplit('\n').next().is_some_and(|build| build.contains("-job@debian-12-")), "{said}");

    let said = ran("useradd robur; mkdir -p /var/lib/builder/new; chown -R robur: /var/lib/builder
        dpkg --install builder_*.deb; stat -c '%U' /var/lib/builder /var/lib/builder/new; ls /var/lib/builder
        chown -R -h builder: /var/lib/builder; dpkg-reconfigure builder; test -s /var/lib/builder/format; echo mended");
    assert!(said.contains("/var/lib/builder belongs to robur and stays as it is"), "{said}");
    assert!(said.contains("\nrobur\nrobur\nnew\n") && said.ends_with("mended\n"), "{said}");

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
    let ran = |script: &str| {
        let finished = entered(&package(), script);
        assert_eq!(finished.code, 0, "{script}: {}", finished.stdout);
        finished.stdout
    };
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
    assert_eq!(said.matches("and no worker gets in").count(), 2, "it is tried again: {said}");
    assert!(said.contains(&format!("\n{drop_in}\n")), "as soon as it is understood it is back: {said}");
    assert!(
        said.contains("and no worker gets in: line 9: no such word") && said.contains("builder.conf.disabled"),
        "{said}"
    );
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

#[test]
fn the_installation_section_does_what_it_says_and_nothing_is_lost() {
    if !is_superuser() {
        return;
    }
    let Some(debian) = Debian::boots() else { return };
    let [_, install, worker, job, purge] = installation();
    let follow = |lines: &[&str]| lines.iter().map(|line| debian.ok(line)).collect::<Vec<_>>();

    debian.put(&package());
    assert_eq!(follow(&install).last().map(String::as_str), Some("active"));
    debian.ok(
        "systemctl is-enabled builderd; sshd -T -C user=builder,host=a,addr=::1 | grep -i 'keyscommanduser builder'",
    );
    debian.ok("test -s /var/lib/builder/.ssh/builder-server");
    follow(&worker);
    let said = follow(&job);
    assert!(
        said[3].contains("Built on platform debian-12 by worker jail1") && said[3].contains("exited 0"),
        "{said:?}"
    );
    assert!(said[4].contains("was given out") && said[4].contains("is over: exited 0"), "{said:?}");
    the_journal_knows(&debian);
    settings_that_are_wrong_change_nothing(&debian);

    let long = a_build_that_waits(&debian);
    builderd_is_killed(&debian);
    debian.ok("builder run hello");
    an_upgrade_takes_nothing_away(&debian, &install);
    debian.ok("touch /run/go");
    debian.waits(&format!("builder show {long} | grep 'exited 0'"));
    debian.waits("builder history hello | grep -c 'exited 0' | grep -x 2");
    debian.ok(&format!("! test -e /var/lib/builder/done/*/{long}/attempts.toml"));
    debian.ok("systemctl stop builder-worker@jail1; builder check --deep");

    each_build_has_a_sandbox(&debian);
    each_build_has_a_container(&debian);
    for program in ["docker", "podman"] {
        each_build_is_run_by(&debian, program);
    }
    a_purge_leaves_the_spool(&debian, &purge, &install);
}

/// Each line that is about a build can be found by its job, its platform and its worker; so can what was refused.
fn the_journal_knows(debian: &Debian) {
    debian.ok("builder add soon hello.sh --platform debian-12 --at @$(($(date +%s) + 2))");
    for fields in [
        "BUILDER_JOB=soon BUILDER_PLATFORM=debian-12 _SYSTEMD_UNIT=builderd.service",
        "BUILDER_JOB=soon BUILDER_PLATFORM=debian-12 BUILDER_WORKER=jail1 SYSLOG_IDENTIFIER=builder-run",
        "BUILDER_JOB=soon _SYSTEMD_UNIT=builder-worker@jail1.service",
    ] {
        debian.waits(&format!("journalctl --quiet --no-pager {fields} | grep build="));
    }
    let refused = debian
        .sh("ssh -i /etc/builder/workers/jail1.key -o UserKnownHostsFile=/etc/builder/workers/known_hosts \
         builder@localhost reboot");
    assert_eq!(refused.code, 77, "{refused:?}");
    debian.waits("journalctl --quiet --no-pager BUILDER_WORKER=jail1 PRIORITY=4 | grep \"can't run .reboot\"");
}

fn settings_that_are_wrong_change_nothing(debian: &Debian) {
    let pid = debian.pid("builderd");
    // Longer than this test waits for anything: what is given back is not what has lapsed.
    let more = "retry_seconds = 7\\ngrace_seconds = 600\\n";
    debian.ok(&format!("printf '{more}' >> /etc/builder/builder.toml; systemctl reload builderd"));
    let refused = debian.sh("echo 'spol = \"/x\"' >> /etc/builder/builder.toml; systemctl reload builderd");
    assert_eq!(refused.code, 1, "{refused:?}");
    debian.waits("journalctl --quiet --no-pager --unit builderd | grep 'spol'");
    let said = debian.sh("dpkg-reconfigure builder").stderr;
    assert!(said.contains("spol") && said.contains("builderd is not started"), "{said}");
    assert_eq!(debian.pid("builderd"), pid, "it goes on");
    debian.ok("sed -i '/^spol/d' /etc/builder/builder.toml; systemctl reload builderd");
}

/// A build that runs until /run/go is there. Returns its id.
fn a_build_that_waits(debian: &Debian) -> String {
    debian.ok("printf '#!/bin/sh\\nwhile ! [ -e /run/go ]; do sleep 0.1; done\\n' > long.sh");
    debian.ok("builder add long long.sh --platform debian-12 --every never");
    let id = debian.ok("builder run long");
    debian.waits(&format!("test -d /var/lib/builder/active/{id}"));
    id
}

fn builderd_is_killed(debian: &Debian) {
    let pid = debian.pid("builderd");
    debian.ok("systemctl kill --signal=KILL builderd");
    debian.waits(&format!(
        "systemctl is-active builderd && test $(systemctl show --property=MainPID --value builderd) != {pid}"
    ));
}

fn an_upgrade_takes_nothing_away(debian: &Debian, install: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let (worker, daemon) = (debian.pid("builder-worker@jail1"), debian.pid("builderd"));
    let running = debian.ok("ls /var/lib/builder/active");
    debian.ok("rm builder_*.deb");
    debian.put(&package_again("2", directory.path()));
    install.iter().for_each(|line| drop(debian.ok(line)));
    assert!(debian.ok("dpkg-query --show builder").ends_with("-2"));
    assert_eq!(debian.pid("builder-worker@jail1"), worker, "the worker goes on");
    assert_ne!(debian.pid("builderd"), daemon, "builderd is the new one");
    assert_eq!(debian.ok("ls /var/lib/builder/active"), running);
    debian.ok("grep -x 'retry_seconds = 7' /etc/builder/builder.toml");
}

/// bubblewrap(1), with what the worker's unit leaves it.
fn each_build_has_a_sandbox(debian: &Debian) {
    debian.ok("mkdir /srv/root; mount --bind /var/lib/machines/debian-12 /srv/root; cd /etc/builder/workers
         cp jail1.env boxed.env; cp jail1.key boxed.key
         echo 'OPTIONS=--platform debian-12 --sandbox bwrap --root /srv/root' >> boxed.env; cd
         printf '#!/bin/sh\\nset -e; echo $(hostname) $(id -u); echo x > /tmp/x; test ! -e /etc/builder\\n' > boxed.sh
         builder add boxed boxed.sh --platform debian-12 --every never; systemctl start builder-worker@boxed");
    let said = debian.ok("builder run boxed --wait 2>&1; builder log boxed");
    assert!(said.contains("exited 0") && said.contains("builder 1000"), "{said}");
    debian.ok("systemctl stop builder-worker@boxed");
}

/// systemd-nspawn(1): what a build changes is gone with it, and one whose worker is stopped goes back into its queue.
fn each_build_has_a_container(debian: &Debian) {
    debian.ok("cp /etc/builder/workers/jail1.env /etc/builder/workers/box.env
         echo IMAGE=/var/lib/machines/debian-12 >> /etc/builder/workers/box.env
         cp /etc/builder/workers/jail1.key /etc/builder/workers/box.key
         printf '#!/bin/sh\\ncat /mark; set -e; echo $$ > /mark; test ! -e /etc/builder\\n' > box.sh
         builder add box box.sh --platform debian-12 --every never; systemctl start builder-worker-nspawn@box");
    for _ in 0..2 {
        let said = debian.ok("builder run box --wait 2>&1; builder log box");
        assert!(said.contains("exited 0") && said.contains("/mark: No such file"), "{said}");
    }
    debian.ok("rm -f /run/go");
    let id = debian.ok("builder run long");
    debian.waits(&format!("test -d /var/lib/builder/active/{id}"));
    debian.ok("systemctl stop builder-worker-nspawn@box");
    debian.waits(&format!("test -d /var/lib/builder/new/debian-12/*{id}"));
    debian.ok("builder cancel long");
}

/// A stand-in that notes what it is told, and does of it what can be done without a container.
fn each_build_is_run_by(debian: &Debian, program: &str) {
    debian.ok(&format!(
        r#"cat > /usr/bin/{program} <<'END'
#!/bin/sh
echo "$*" >> /run/{program}
[ "$1" = run ] || exit 0
shift
for word; do
    case $word in
    --volume=*:ro)
        word=${{word%:ro}} to=${{word##*:}} from=${{word%:*}}
        mkdir -p "$(dirname "$to")"
        [ "${{from#--volume=}}" = "$to" ] || install -m 600 "${{from#--volume=}}" "$to" ;;
    -*) ;;
    *) break ;;
    esac
    shift
done
[ "$1" = localhost/debian-12-ssh ] || exit 125
shift
exec "$@"
END
chmod 755 /usr/bin/{program}
cd /etc/builder/workers; cp box.key {program}.key
printf 'IMAGE=localhost/debian-12-ssh\nSERVER=ssh://builder@localhost\nOPTIONS=--platform debian-12\n' > {program}.env
systemctl start builder-worker-{program}@{program}"#
    ));
    for _ in 0..2 {
        debian.ok("builder run hello --wait");
    }
    debian.ok(&format!("systemctl stop builder-worker-{program}@{program}"));
    let told = debian.ok(&format!("cat /run/{program}"));
    let runs: Vec<&str> = told.lines().filter(|line| line.starts_with("run --rm ")).collect();
    assert!(runs.len() >= 2, "a container for each build: {told}");
    assert!(runs.iter().all(|run| run.contains(&format!(" --name=builder-{program} "))), "{told}");
    assert_eq!(told.lines().last(), Some(&*format!("rm --force builder-{program}")), "none is left");
}

fn a_purge_leaves_the_spool(debian: &Debian, purge: &[&str], install: &[&str]) {
    debian.ok("rm -f /run/go; systemctl start builder-worker@jail1");
    let id = debian.ok("builder run long");
    debian.waits(&format!("test -d /var/lib/builder/active/{id}"));
    assert_eq!(debian.ok("ls /var/lib/builder/active"), id);
    let before = debian.ok("cd /var/lib/builder; find done failed jobs store -type f | sort | xargs sha256sum");
    let mut said = String::new();
    for line in purge {
        said += &debian.ok(&format!("{line} 2>&1"));
    }
    assert!(said.contains("builder: builds that run: 1; "), "{said}");
    assert!(
        said.contains("kept with all that is in them: /var/lib/builder /etc/builder; `rm -r /var/lib/builder "),
        "{said}"
    );
    assert_eq!(debian.ok("cd /var/lib/builder; find done failed jobs store -type f | sort | xargs sha256sum"), before);
    debian.ok("! systemctl is-active builderd; ! ls /etc/systemd/system/*.wants | grep builder");
    debian.ok(
        "! test -e /etc/ssh/sshd_config.d/builder.conf; sshd -t; ! dpkg-query --show builder; getent passwd builder",
    );
    for line in install {
        debian.ok(line);
    }
    debian.ok("touch /run/go; systemctl start builder-worker@jail1");
    debian.waits(&format!("builder show {id} | grep 'exited 0'"));
    debian.ok("builder check --deep");
    assert!(root().join("etc").exists());
}
