//! On a Debian that is booted the README's section "Installation" does what it says, line by line, and nothing is lost when
//! builderd is killed, when the package is upgraded while a build runs, and when it is purged.

#![cfg(target_os = "linux")]

use harness::debian::{Debian, System, installation, package, package_again, root};
use harness::is_superuser;

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
