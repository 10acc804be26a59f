//! A sandbox is fresh for each build and holds what runs in it.

use harness::cellar::Cellar;
use harness::{Finished, wait_for};
use spool::record::Outcome;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Writes wherever a script might, and removes what it finds; then says what of an earlier build is there.
const SPOILS: &str = "#!/bin/sh
for place in /etc /tmp /var/tmp /usr/bin /run /dev/shm / \"$HOME\" \"$TMPDIR\"; do
    [ -e \"$place/trace\" ] && echo \"a trace in $place\"
    echo x >\"$place/trace\" || echo \"can't write $place\"
done
[ -d /usr/bin/again ] && echo \"made anew before\"
rm -r /usr/bin && mkdir -p /usr/bin/again && echo evil >/etc/os-release && chmod 0 /var/lib/dpkg
echo output >output.txt
";

/// The files of a directory with their modes and contents, as a text.
fn listing(directory: &std::path::Path) -> String {
    let mut sh = Command::new("sh");
    let all = "find . -printf '%p %m %u %l\\n' | sort; find . -type f -exec sha256sum {} + | sort";
    let listed = Finished::of(sh.args(["-c", all]).current_dir(directory));
    assert_eq!(listed.code, 0, "{listed:?}");
    listed.stdout
}

/// What a script printed. Where /run is on a disk, nspawn leaves a directory of its own there, and says so.
fn said(cellar: &Cellar, id: &str) -> String {
    let log = cellar.log(id);
    log.split_inclusive('\n').filter(|line| !line.contains("/run/systemd/nspawn")).collect()
}

fn is_fresh_for_each_build(cellar: &Cellar, kind: &str) {
    let before = listing(&cellar.root());
    for job in ["one", "two"] {
        let id = cellar.built(kind, job, SPOILS, &[]);
        assert_eq!(said(cellar, &id), "", "{job}");
        let manifest = cellar.lab.build(&id).manifest().expect("readable");
        assert_eq!(manifest.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["output.txt"]);
    }
    assert_eq!(listing(&cellar.root()), before);
}

#[test]
fn each_build_has_a_fresh_root() {
    is_fresh_for_each_build(&Cellar::ordinary(), "bwrap");
}

/// Where a root belongs to somebody else, its files can't be changed at all, and /tmp can be written to all the same.
#[test]
fn a_root_of_somebody_else_is_only_read() {
    let cellar = Cellar::ordinary();
    if !harness::is_superuser() {
        return;
    }
    let given = Finished::of(Command::new("chown").args(["-Rh", "0:0"]).arg(cellar.root()));
    assert_eq!(given.code, 0, "{given:?}");
    let script = "#!/bin/sh\necho x >/etc/trace && echo changed\nrm /etc/os-release && echo removed\n\
        echo x >/tmp/x && echo x >/var/tmp/x && echo x >/run/x && echo written\n";
    let log = cellar.log(&cellar.built("bwrap", "job", script, &[]));
    assert!(log.contains("written\n") && !log.contains("changed") && !log.contains("removed"), "{log}");
}

/// What a script says when it has reached the network of this machine.
fn reach(port: u16, name: &str) -> String {
    format!(
        "#!/bin/sh\nnc -w 5 127.0.0.1 {port} </dev/null && echo reached\n\
         grep -q @{name} /proc/net/unix && echo sees\ncat /etc/resolv.conf\ntrue\n"
    )
}

fn keeps_the_network(cellar: &Cellar, kind: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let name = format!("builder-test-{port}");
    let _abstract =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("an abstract socket");
    let script = reach(port, &name);
    let log = cellar.log(&cellar.built(kind, "alone", &script, &[]));
    assert!(!log.contains("reached") && !log.contains("sees") && !log.contains("nameserver"), "{log}");
    listener.set_nonblocking(true).expect("a mode");
    assert_eq!(listener.accept().expect_err("nobody").kind(), ErrorKind::WouldBlock);
    listener.set_nonblocking(false).expect("a mode");
    let answering = std::thread::spawn(move || listener.accept().map(drop).expect("somebody"));
    cellar.lab.job_with("social", &script, &["--every", "never", "--network"]);
    let id = cellar.lab.run("social");
    let worker = cellar.boxed(kind, &[]);
    cellar.lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    let log = said(cellar, &id);
    assert!(log.starts_with("reached\nsees\n"), "{log}");
    assert_eq!(log["reached\nsees\n".len()..], std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    answering.join().expect("an answer");
}

#[test]
fn there_is_no_network_unless_the_job_says_so() {
    keeps_the_network(&Cellar::ordinary(), "bwrap");
}

#[test]
fn a_script_finds_nothing_of_its_worker() {
    let cellar = Cellar::ordinary();
    let key = cellar.file("key", "the worker's key\n");
    cellar.file("work.other", "another build\n");
    let script = format!(
        "#!/bin/sh\nfor path in '{}' '{}' '{}' '{}' ../console ../root ../../lock /home /proc/1/root/etc/shadow; do\n\
         [ -e \"$path\" ] && echo \"found $path\"\ndone\n\
         echo evil >\"$0\" || echo refused\n\
         mount -t tmpfs none /tmp && echo mounted\nunshare -U true && echo namespaces\nchroot / true && echo changed root\n\
         echo 1 >/proc/sys/kernel/panic && echo kernel\nmknod /tmp/disk b 254 0 && echo device\n\
         hostname\nid -u\ncat /proc/[0-9]*/comm | grep -c builder\n",
        key.display(),
        cellar.lab.root().display(),
        cellar.lab.config().display(),
        cellar.lab.path("work.other").display(),
    );
    let id = cellar.built("bwrap", "job", &script, &["--identity", key.to_str().expect("UTF-8")]);
    let log = cellar.log(&id);
    let said: Vec<&str> = log.lines().filter(|line| !line.contains(": ")).collect();
    assert_eq!(said, ["refused", "builder", "1000", "0"], "{log}");
    assert!(cellar.lab.root().join("format").is_file());
}

#[test]
fn the_record_is_of_the_root_and_not_of_the_machine() {
    let cellar = Cellar::ordinary();
    let id = cellar.built("bwrap", "job", "#!/bin/sh\ntrue\n", &["--env", "GREETING=it's $HOME"]);
    let build = cellar.lab.build(&id);
    assert_eq!(std::fs::read_to_string(build.dir().join("packages")).expect("packages"), "inside 4.2 all\n");
    assert!(std::fs::read_to_string(build.dir().join("environment")).expect("it").contains("GREETING=it's $HOME\n"));
    let page = cellar.lab.ok(&["show", &id]);
    assert!(page.contains("System: A small system, Linux ") && page.contains(", bwrap 0."), "{page}");
    // A package more is seen by the next build.
    let status = cellar.root().join("var/lib/dpkg/status");
    let more = std::fs::read_to_string(&status).expect("it").replace("inside", "another");
    let text = std::fs::read_to_string(&status).expect("it") + &more;
    std::fs::write(&status, text).expect("written");
    let id = cellar.built("bwrap", "again", "#!/bin/sh\ntrue\n", &[]);
    let packages = std::fs::read_to_string(cellar.lab.build(&id).dir().join("packages")).expect("packages");
    assert_eq!(packages, "another 4.2 all\ninside 4.2 all\n");
}

#[test]
fn circumstances_are_varied_inside() {
    let cellar = Cellar::ordinary();
    let script = "#!/bin/sh\numask\necho \"$PWD $HOME $LC_ALL $TZ\"\nenv | grep -c LD_PRELOAD\necho same >same\n";
    let first = cellar.built("bwrap", "job", script, &[]);
    cellar.lab.ok(&["verify", &first, "--vary=all", "--no-wait"]);
    let worker = cellar.boxed("bwrap", &[]);
    assert_eq!(worker.ended(), 0);
    let rebuilt = cellar.lab.ended().into_iter().find(|build| build.id.is_rebuild()).expect("a rebuild");
    let varied = rebuilt.result().expect("readable").expect("a result").varied;
    // There is no libfaketime in the root, wherever else there may be one.
    assert_eq!(varied.keys().filter(|what| *what == "time").count(), 0, "{varied:?}");
    assert_eq!((varied.len(), varied["locale"].as_str(), varied["umask"].as_str()), (7, "LC_ALL=C", "0002"));
    let log = cellar.log(rebuilt.id.as_str());
    let work = cellar.lab.path("work/w");
    let said = format!("0002\n{0}/again/output {0}/again/dwelling C GMT+12\n0\n", work.display());
    assert_eq!(log, said);
    assert!(cellar.log(&first).starts_with("0022\n"), "{}", cellar.log(&first));
}

/// Starts more processes than there may be, and says how many there are.
const FORKS: &str = "#!/bin/sh\ni=0\nwhile [ $i -lt 200 ]; do sleep 100 & i=$((i + 1)); echo $i; done\n";

#[test]
fn there_are_no_more_processes_than_allowed() {
    let cellar = Cellar::ordinary();
    // The same user's other processes don't count: there may be many.
    let _other: Vec<_> = (0..30)
        .map(|n| {
            let mut sleep = Command::new("sleep");
            sleep.arg("100");
            if harness::is_superuser() {
                sleep.uid(65534);
            }
            harness::Running::start("sleep", &mut sleep, &cellar.lab.path(&format!("sleep.{n}")))
        })
        .collect();
    let id = cellar.built("bwrap", "forks", FORKS, &["--tasks", "25"]);
    let log = cellar.log(&id);
    let most = log.lines().filter_map(|line| line.parse::<u32>().ok()).max().unwrap_or(0);
    assert!((10..25).contains(&most), "{log}");
    assert!(matches!(cellar.lab.outcome(&id), Outcome::Exited { code: 1.. }));
}

/// Where there is a cgroup for the worker, memory is limited; elsewhere it says that it can't be, and takes no build.
#[test]
fn a_limit_that_nothing_keeps_is_refused() {
    let cellar = Cellar::ordinary();
    cellar.lab.job("eats", "#!/bin/sh\nhead -c 400000000 /dev/zero | tail -c 400000000 >/dev/null && echo eaten\n");
    let id = cellar.lab.run("eats");
    let root = cellar.root();
    let words = ["--sandbox", "bwrap", "--root", root.to_str().expect("UTF-8"), "--memory", "100MB"];
    let worker = cellar.worker(&words);
    let said = cellar.lab.path("worker.log");
    if worker.ended() == 78 {
        let said = std::fs::read_to_string(said).expect("a log");
        assert!(said.contains("the limits can't be kept: ") && said.contains("Delegate=yes"), "{said}");
        assert!(matches!(cellar.lab.build(&id).place, spool::place::Place::Queued(_)), "no build was taken");
    } else {
        cellar.lab.finished(&id);
        assert!(!cellar.log(&id).contains("eaten"));
    }
}

/// What a script says that fills the places, and then makes files without an end.
fn filled(cellar: &Cellar, kind: &str, places: &[&str]) -> String {
    let script = format!(
        "#!/bin/sh\nfor path in {}; do\n\
         dd if=/dev/zero of=$path bs=64k count=100000 2>&1 | grep -o 'No space left'\nrm -f $path\ndone\n\
         i=0; while [ $i -lt 50000 ] && true >/tmp/$i; do i=$((i + 1)); done 2>&- ; [ $i -lt 50000 ] && echo 'no more files'\n\
         dd if=/dev/zero of=/dev/null-too count=1 2>&- || echo 'nothing in /dev'\n",
        places.join(" ")
    );
    let log = cellar.log(&cellar.built(kind, "fills", &script, &["--changes", "3MB"]));
    assert_eq!(log.matches("No space left\n").count(), places.len(), "{log}");
    assert!(log.contains("no more files\n"), "{log}");
    log
}

#[test]
fn what_fills_the_root_fills_nothing_else() {
    let log = filled(&Cellar::ordinary(), "bwrap", &["/fill", "/tmp/fill", "/run/fill", "/dev/shm/fill"]);
    assert!(log.contains("nothing in /dev\n"), "{log}");
    if let Some(cellar) = Cellar::of_superuser() {
        filled(&cellar, "nspawn", &["/fill", "/tmp/fill", "/dev/shm/fill"]);
    }
}

/// The superuser of a build in nspawn has the same number outside, and what it leaves is executed by nobody.
fn lets_nobody_else_in(cellar: &Cellar, kind: &str) {
    let script = "#!/bin/sh\ncp /bin/busybox \"$TMPDIR/sh\" && chmod 4755 \"$TMPDIR/sh\" && echo ready\n\
        while ! [ -e go ]; do sleep 0.1; done\nrm go\n";
    cellar.lab.job("leaves", script);
    let id = cellar.lab.run("leaves");
    let worker = cellar.boxed(kind, &[]);
    wait_for("it has left it", || cellar.log(&id).contains("ready"));
    let room = cellar.lab.path("work/w/build");
    let mut left = Command::new(room.join("tmp/sh"));
    let ran = left.args(["sh", "-c", "id -u"]).uid(12345).gid(12345).output();
    assert_eq!(ran.expect_err("refused").kind(), ErrorKind::PermissionDenied);
    let mode = |path: &std::path::Path| path.metadata().expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode(&room.join("tmp/sh")), mode(&cellar.lab.path("work/w"))), (0o4755, 0o700));
    std::fs::write(room.join("output/go"), "").expect("a file");
    cellar.lab.finished(&id);
    assert_eq!(worker.ended(), 0);
}

#[test]
fn what_a_build_leaves_is_out_of_others_reach() {
    let cellar = Cellar::ordinary();
    lets_nobody_else_in(&cellar, "bwrap");
    if let Some(cellar) = Cellar::of_superuser() {
        lets_nobody_else_in(&cellar, "nspawn");
    }
    let (work, root) = (cellar.lab.path("work/w"), cellar.root().display().to_string());
    for mode in [0o711, 0o750] {
        std::fs::set_permissions(&work, PermissionsExt::from_mode(mode)).expect("its mode");
        let hint = format!("lets other users in, and files of builds out; `chmod go-rwx {}`", work.display());
        cellar.refused(&["--sandbox", "bwrap", "--root", &root], 64, &hint);
    }
}

#[test]
fn a_command_gets_the_directory_the_script_and_whether_there_is_a_network() {
    let cellar = Cellar::ordinary();
    let wrapper = "sh -c 'echo \"$0 $# $BUILDER_NETWORK\"; cd \"$1\"; exec \"$2\"' 'two words' {dir} {script}";
    cellar.lab.job("job", "#!/bin/sh\necho \"$BUILDER_JOB in $PWD, $BUILDER_NETWORK\"\necho x >x\nexit 7\n");
    let id = cellar.lab.run("job");
    assert_eq!(cellar.worker(&["--sandbox", wrapper]).ended(), 0);
    let room = cellar.lab.path("work/w/build");
    assert_eq!(cellar.log(&id), format!("two words 2 no\njob in {}/output, \n", room.display()));
    assert_eq!(cellar.lab.outcome(&id), Outcome::Exited { code: 7 });
    assert_eq!(cellar.lab.build(&id).manifest().expect("readable").len(), 1);
}

#[test]
fn in_nspawn_the_superuser_of_a_build_is_nobody_outside() {
    let Some(cellar) = Cellar::of_superuser() else { return };
    is_fresh_for_each_build(&cellar, "nspawn");
    keeps_the_network(&cellar, "nspawn");
    let script = "#!/bin/sh\nid -u\nchown 55 /etc/os-release && echo chowned\numask\n\
        echo 1 >/proc/sys/kernel/panic && echo kernel\nmknod /tmp/disk b 254 0 && echo device\n\
        date -s 2001-01-01\n";
    let log = cellar.log(&cellar.built("nspawn", "job", script, &[]));
    let said: Vec<&str> = log.lines().filter(|line| !line.contains(": ")).collect();
    assert_eq!(said[..3], ["0", "chowned", "0022"], "{log}");
    assert!(!log.contains("kernel\n") && !log.contains("device\n"), "{log}");
    assert!(log.contains("can't set date"), "{log}");
}
