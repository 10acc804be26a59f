//! On a Debian that is booted the README's section "Installation" does what it says, line by line, and nothing is lost when
//! builderd is killed, when the package is upgraded while a build runs, and when it is purged.

#![cfg(target_os = "linux")]

use harness::debian::{Debian, System, installation, package, package_again};
use harness::is_superuser;

/// This machine's release.
#[test]
fn the_installation_section_does_what_it_says_and_nothing_is_lost() {
    let Some(debian) = is_superuser().then(|| Debian::boots(None)).flatten() else { return };
    the_installation_does_what_it_says(&debian);
    the_journal_knows(&debian);
    settings_that_are_wrong_change_nothing(&debian);
    nothing_is_lost(&debian);
    each_build_has_a_sandbox(&debian);
    each_build_has_a_container(&debian);
    for program in ["docker", "podman"] {
        each_build_is_run_by(&debian, program);
    }
    a_purge_leaves_the_spool(&debian);
}

/// A later release takes the package that was made here.
#[test]
fn the_installation_section_does_what_it_says_on_debian_13() {
    let Some(debian) = is_superuser().then(|| Debian::boots(Some("trixie"))).flatten() else { return };
    the_installation_does_what_it_says(&debian);
    the_doctor_names_what_to_do(&debian);
    nothing_is_lost(&debian);
    each_build_has_a_sandbox(&debian);
    each_build_has_a_container(&debian);
    confined_as_it_is_it_launches_what_the_manual_lets_it(&debian);
    a_purge_leaves_the_spool(&debian);
}

fn follow(debian: &Debian, lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| debian.ok(line)).collect()
}

fn the_installation_does_what_it_says(debian: &Debian) {
    let [_, install, worker, job, _] = installation();
    debian.put(&package());
    assert_eq!(follow(debian, &install).last().map(String::as_str), Some("active"));
    debian.ok(
        "systemctl is-enabled builderd; sshd -T -C user=builder,host=a,addr=::1 | grep -i 'keyscommanduser builder'",
    );
    debian.ok("test -s /var/lib/builder/.ssh/builder-server");
    follow(debian, &worker);
    let said = follow(debian, &job);
    assert!(
        said[3].contains("Built on platform debian-12 by worker jail1") && said[3].contains("exited 0"),
        "{said:?}"
    );
    assert!(said[4].contains("was given out"), "{said:?}");
    // The journal hears of an end when the spool has it.
    debian.waits(&format!("{} | grep 'is over: exited 0'", job[4]));
    let units = "builderd.service builder-worker@jail1.service builder-worker-nspawn@jail1.service";
    assert_eq!(debian.ok(&format!("systemd-analyze verify --man=no {units} 2>&1")), "");
    debian.ok("systemd-analyze security --no-pager --threshold=20 builderd.service");
}

/// Killed, and upgraded while a build runs.
fn nothing_is_lost(debian: &Debian) {
    // Longer than this test waits for anything: what is given back is not what has lapsed.
    debian.ok("echo grace_seconds = 600 >> /etc/builder/builder.toml; systemctl reload builderd");
    let long = a_build_that_waits(debian);
    builderd_is_killed(debian);
    debian.ok("builder run hello");
    an_upgrade_takes_nothing_away(debian);
    debian.ok("touch /run/go");
    debian.waits(&format!("builder show {long} | grep 'exited 0'"));
    debian.waits("builder history hello | grep -c 'exited 0' | grep -x 2");
    debian.ok(&format!("! test -e /var/lib/builder/done/*/{long}/attempts.toml"));
    debian.ok("systemctl stop builder-worker@jail1; builder check --deep");
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

fn an_upgrade_takes_nothing_away(debian: &Debian) {
    let [_, install, ..] = installation();
    let directory = tempfile::tempdir().expect("a directory");
    let (worker, daemon) = (debian.pid("builder-worker@jail1"), debian.pid("builderd"));
    let running = debian.ok("ls /var/lib/builder/active");
    debian.ok("rm builder_*.deb");
    debian.put(&package_again("2", directory.path()));
    follow(debian, &install);
    assert!(debian.ok("dpkg-query --show builder").ends_with("-2"));
    assert_eq!(debian.pid("builder-worker@jail1"), worker, "the worker goes on");
    assert_ne!(debian.pid("builderd"), daemon, "builderd is the new one");
    assert_eq!(debian.ok("ls /var/lib/builder/active"), running);
    debian.ok("grep -x 'grace_seconds = 600' /etc/builder/builder.toml");
}

/// bubblewrap(1), with what the worker's unit leaves it, and as on a machine of its own: a container's /proc/sys is read-only.
fn each_build_has_a_sandbox(debian: &Debian) {
    debian.ok("umount --recursive --lazy /proc/sys");
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

/// A stand-in that notes what it is told, and does of it what can be done without a container; who is not the superuser has the
/// engine do it.
fn stand_in(debian: &Debian, program: &str) {
    debian.ok(&format!(
        r#"cat > /usr/bin/{program} <<'END'
#!/bin/sh
[ "$(id -u)" = 0 ] || exec /usr/bin/ask-engine "$@"
echo "$*" >> /run/{program}
[ "$1 $2" != "container inspect" ] || {{ systemctl --quiet is-active "$5" && exec echo true; exit 1; }}
[ "$1" = run ] || exit 0
shift
apart=
for word; do
    case $word in
    --detach) apart="systemd-run --quiet --collect" ;;
    --name=*) name=${{word#*=}} ;;
    --mount=type=bind,*,readonly)
        from=${{word#*,source=}} to=${{word#*,target=}}
        from=${{from%%,*}} to=${{to%%,*}}
        [ -e "$from" ] || exit 125
        if [ -n "$apart" ]; then
            apart="$apart --unit=$name --property=BindReadOnlyPaths=$from:$to"
        elif [ "$from" != "$to" ]; then
            mkdir -p "$(dirname "$to")"
            install -m 600 "$from" "$to"
        fi ;;
    -*) ;;
    *) break ;;
    esac
    shift
done
[ "$1" = localhost/debian-12-ssh ] || exit 125
shift
exec $apart "$@"
END
chmod 755 /usr/bin/{program}"#
    ));
}

fn each_build_is_run_by(debian: &Debian, program: &str) {
    stand_in(debian, program);
    debian.ok(&format!(
        "cd /etc/builder/workers; cp jail1.key {program}.key
         printf 'IMAGE=localhost/debian-12-ssh\nSERVER=ssh://builder@localhost\nOPTIONS=--platform debian-12\n' > {program}.env
         systemctl start builder-worker-{program}@{program}"
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

/// Docker's engine, as its command reaches it: at a socket that is its group's.
fn an_engine(debian: &Debian) {
    stand_in(debian, "docker");
    debian.ok(r#"groupadd docker; cat > /usr/bin/ask-engine <<'END'
#!/usr/bin/perl
use IO::Socket::UNIX;
my $engine = IO::Socket::UNIX->new(Peer => "/run/docker.sock") or print(STDERR "docker: /run/docker.sock: $!\n"), exit 1;
print $engine "@ARGV\n";
my @said = <$engine>;
my $code = pop @said;
print @said;
exit $code;
END
cat > /etc/systemd/system/docker.socket <<'END'
[Socket]
ListenStream=/run/docker.sock
SocketMode=0660
SocketGroup=docker
Accept=yes
END
cat > /etc/systemd/system/docker@.service <<'END'
[Service]
StandardInput=socket
ExecStart=/bin/sh -c 'read -r words; /usr/bin/docker $words 2>&1; echo $?'
END
chmod 755 /usr/bin/ask-engine; systemctl daemon-reload; systemctl start docker.socket"#);
}

/// The drop-ins that the section SERVICE MANAGERS of builderd(8) has, for hooks and launches that need more.
fn documented_drop_ins() -> Vec<&'static str> {
    let manual = include_str!("../man/builderd.8");
    let section = manual.split("\n.Sh ").find(|section| section.starts_with("SERVICE MANAGERS\n")).expect("a section");
    let blocks = section.split("\n.Bd -literal -offset indent\n").skip(1);
    let blocks = blocks.map(|block| block.split("\n.Ed\n").next().expect("a block"));
    blocks.filter(|block| block.starts_with("[Service]\n")).collect()
}

/// Neither a hook gets at the network nor a launch at docker's socket before the manual's drop-ins are there; then both do, the
/// launch with the example's own settings, and no container is left.
fn confined_as_it_is_it_launches_what_the_manual_lets_it(debian: &Debian) {
    an_engine(debian);
    debian.ok(r#"cat > /etc/builder/hooks.d/far <<'END'
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/22 && read -r said <&3 && echo "$said"
END
chmod 755 /etc/builder/hooks.d/far; cd /etc/builder/workers; mkdir docker-1; cp known_hosts docker-1
ssh-keygen -q -t ed25519 -N '' -f docker-1/key; builder worker add docker-1 --platform debian-12 < docker-1/key.pub
(sed -n 's/^#     //p' /usr/share/builder/launch/docker; echo retry_seconds = 1) > launch.toml
sed -i 's/server.example.org/localhost/; s,builder-worker:debian-12,localhost/debian-12-ssh,; s/^limit = .*/limit = 1/' launch.toml
systemctl start builder-worker@jail1; builder run hello --wait; systemctl stop builder-worker@jail1
cp ../builder.toml before.toml; cat launch.toml >> ../builder.toml; systemctl reload builderd"#);
    let journal = "journalctl --quiet --no-pager --unit builderd";
    debian.waits(&format!("{journal} | grep 'hooks.d/far failed'"));
    let id = debian.ok("builder run hello");
    debian.waits("builder status | grep 'launch.* failed: .*: docker: /run/docker.sock: Permission denied'");
    let drop_ins = documented_drop_ins();
    assert_eq!(drop_ins.len(), 2, "{drop_ins:?}");
    for (number, drop_in) in drop_ins.iter().enumerate() {
        let directory = "/etc/systemd/system/builderd.service.d";
        debian.ok(&format!("mkdir -p {directory}; cat > {directory}/{number}.conf <<'END'\n{drop_in}\nEND"));
    }
    debian.ok("systemctl daemon-reload; systemctl restart builderd");
    debian.waits(&format!("builder show {id} | grep 'by worker docker-1'"));
    debian.waits(&format!("{journal} | grep 'hooks.d/far ran'"));
    debian.waits("! systemctl --quiet is-active builder-docker-1");
    debian.ok(&format!("builder show {id} | grep 'exited 0'"));
    let told = debian.ok("cat /run/docker");
    assert_eq!(told.lines().filter(|line| line.starts_with("run --detach --rm ")).count(), 1, "{told}");
    debian.ok("rm -r /etc/systemd/system/builderd.service.d /etc/builder/hooks.d/far; cd /etc/builder/workers
         cp before.toml ../builder.toml; systemctl daemon-reload; systemctl restart builderd");
}

/// The packaged sshd is asked, and what is said to mend it does.
fn the_doctor_names_what_to_do(debian: &Debian) {
    let doctor = |code: i32| {
        let said = debian.sh("builder doctor");
        assert_eq!(said.code, code, "{said:?}");
        let faults = said.stdout.lines().filter_map(|line| line.strip_prefix("  mend  ")).map(str::to_owned);
        (faults.collect::<Vec<_>>(), said.stdout)
    };
    let asked = "sshd asks /usr/libexec/builder/builder-run for keys, and is told those of 1 worker\n";
    assert!(doctor(0).1.contains(asked));
    debian.waits("builder doctor | grep 'it is connected to ssh://builder@localhost now'");

    debian.ok("systemctl stop builder-worker@jail1; cd /etc/ssh/sshd_config.d; mv builder.conf /root
         printf 'AuthorizedKeysFile /etc/ssh/keys/%%u\nAllowUsers root\n' > mine.conf; systemctl reload ssh");
    let (faults, _) = doctor(1);
    let [keys, users, worker] = &faults[..] else { panic!("{faults:?}") };
    assert!(keys.starts_with("sshd does not know the workers' keys; its settings need `"), "{keys}");
    assert!(worker.starts_with("can't connect to ssh://builder@localhost"), "{worker}");
    let needed = [keys, users].map(|fault| fault.split_once("its settings need ").expect("what it needs").1);
    let settings: Vec<&str> = needed.iter().flat_map(|needed| needed.split('`').skip(1).step_by(2)).collect();
    debian.ok(&format!(
        "printf '%s\\n' '{}' >> /etc/ssh/sshd_config.d/mine.conf; systemctl reload ssh",
        settings.join("' '")
    ));
    assert!(doctor(0).1.contains("lets it in, and takes what it makes"));
    debian.ok("cd /etc/ssh/sshd_config.d; rm mine.conf; mv /root/builder.conf .; systemctl reload ssh");

    debian.ok("builder worker rm jail1");
    let (faults, _) = doctor(1);
    assert!(faults.len() == 1 && faults[0].contains("and the worker's key on the server"), "{faults:?}");
    let [_, _, worker, ..] = installation();
    debian.ok(worker[1]);
    debian.ok("builder doctor; systemctl start builder-worker@jail1");
}

fn a_purge_leaves_the_spool(debian: &Debian) {
    let [_, install, _, _, purge] = installation();
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
        said.contains("kept with all that is in them: /var/lib/builder /var/lib/builder-worker /etc/builder; `rm -r "),
        "{said}"
    );
    assert_eq!(debian.ok("cd /var/lib/builder; find done failed jobs store -type f | sort | xargs sha256sum"), before);
    debian.ok("! systemctl is-active builderd; ! ls /etc/systemd/system/*.wants | grep builder");
    debian.ok(
        "! test -e /etc/ssh/sshd_config.d/builder.conf; sshd -t; ! dpkg-query --show builder; getent passwd builder",
    );
    follow(debian, &install);
    debian.ok("touch /run/go; systemctl start builder-worker@jail1");
    debian.waits(&format!("builder show {id} | grep 'exited 0'"));
    debian.ok("builder check --deep");
    assert!(debian.root().join("etc").exists());
}
