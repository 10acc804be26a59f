//! What a build leaves in its sandbox, or breaks of it, hinders no later one; and a sandbox that can't be made takes no build.

use harness::cellar::Cellar;
use harness::wait_for;
use spool::record::Outcome;
use std::os::unix::fs::PermissionsExt;

/// An upgrade of the package does that while the worker waits.
#[test]
fn a_worker_whose_program_is_gone_makes_sandboxes() {
    let cellar = Cellar::ordinary();
    let worker = cellar.boxed("bwrap", &[]);
    wait_for("it waits", || cellar.lab.ok(&["worker", "ls"]).contains("  connected"));
    std::fs::remove_file(cellar.lab.path("bin/builder-run")).expect("the program");
    cellar.lab.job("job", "#!/bin/sh\ntrue\n");
    let id = cellar.lab.run("job");
    cellar.lab.finished(&id);
    assert_eq!((cellar.lab.outcome(&id), worker.ended()), (Outcome::Exited { code: 0 }, 0));
}

/// A directory that takes more file descriptors to remove than the worker has.
#[test]
fn a_deep_directory_hinders_no_later_build() {
    let cellar = Cellar::ordinary();
    let deep = "#!/bin/sh\ncd \"$TMPDIR\"; i=0\n\
        while [ $i -lt 1500 ]; do mkdir d && cd -P d || exit 1; i=$((i + 1)); done\n";
    for (job, script) in [("deep", deep), ("later", "#!/bin/sh\ntrue\n")] {
        let id = cellar.built("bwrap", job, script, &[]);
        assert_eq!(cellar.lab.outcome(&id), Outcome::Exited { code: 0 }, "{job}: {}", cellar.log(&id));
        assert!(!cellar.lab.path("work/w/build").exists(), "{job}");
    }
}

/// For how long the processes of [`family`] sleep: a number that nobody else's have.
fn sleep() -> String {
    format!("{}", 100_000_000 + std::process::id())
}

/// Something that runs, and what it has started: in the group, in a session of its own, and by somebody who has gone.
fn family_script() -> String {
    let sleep = sleep();
    format!(
        "#!/bin/sh\nsleep {sleep} &\nsetsid sleep {sleep} &\n(setsid sh -c 'sleep {sleep} & exit' &)\n\
         trap 'echo asked to end' TERM\necho ready; while :; do sleep 0.1; done\n"
    )
}

/// How many of what it has started there are.
fn family() -> usize {
    let end = format!("sleep\0{}\0", sleep());
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.ends_with(end.as_bytes())).count()
}

fn kills_all(cellar: &Cellar, kind: &str) {
    cellar.lab.job("family", &family_script());
    let id = cellar.lab.run("family");
    let worker = cellar.boxed(kind, &["--kill-after", "1"]);
    let is_ready = || cellar.log(&id).contains("ready") && family() == 3;
    wait_for("the build runs", is_ready);
    cellar.lab.ok(&["cancel", &id]);
    cellar.lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    assert_eq!(family(), 0);
    assert_eq!(cellar.lab.outcome(&id), Outcome::Cancelled);
    cellar.lab.ok(&["set", "family", "--timeout", "2s"]);
    let id = cellar.lab.run("family");
    let worker = cellar.boxed(kind, &["--kill-after", "1"]);
    cellar.lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    assert_eq!(family(), 0);
    assert_eq!(cellar.lab.outcome(&id), Outcome::TimedOut);
    assert!(cellar.log(&id).contains("asked to end"), "{}", cellar.log(&id));
    cellar.lab.ok(&["set", "family", "--timeout", "1h"]);
    let id = cellar.lab.run("family");
    let worker = cellar.boxed(kind, &[]);
    wait_for("the build runs", || cellar.log(&id).contains("ready") && family() == 3);
    worker.kill();
    wait_for("nothing outlives the worker", || family() == 0);
}

/// One after the other, since both count what runs on this machine.
#[test]
fn an_end_is_the_end_of_all_that_runs_inside() {
    kills_all(&Cellar::ordinary(), "bwrap");
    if let Some(cellar) = Cellar::of_superuser() {
        kills_all(&cellar, "nspawn");
    }
}

#[test]
fn a_sandbox_that_can_t_be_made_takes_no_build() {
    let cellar = Cellar::ordinary();
    cellar.lab.job("job", "#!/bin/sh\ntrue\n");
    let id = cellar.lab.run("job");
    let root = cellar.root().display().to_string();
    let lab = cellar.lab.path("").display().to_string();
    let key = cellar.root().join("etc/key");
    std::fs::write(&key, "a key").expect("a file");
    let key = key.display().to_string();
    let table: [(&[&str], i32, &str); 10] = [
        (&["--sandbox", "bwrap"], 64, "--sandbox needs a root; --root DIR names one"),
        (&["--sandbox", "bwrap", "--root", "/nonexistent"], 66, "can't find /nonexistent"),
        (&["--sandbox", "bwrap", "--root", "/"], 64, "has the worker's own files in it"),
        (&["--sandbox", "bwrap", "--root", &lab], 64, "has the worker's own files in it"),
        (&["--sandbox", "bwrap", "--root", &root, "--identity", &key], 64, "has the worker's key in it"),
        (&["--sandbox", "bwrap", "--root", "/usr/share"], 78, "the sandbox can't be made: bwrap: execvp"),
        (&["--sandbox", "docker run"], 64, "does not say what it is to run: {script}"),
        (&["--sandbox", "/nonexistent {script}"], 78, "the sandbox can't be started: /nonexistent"),
        (&["--sandbox", "sh -c 'echo no >&2; echo not today >&2' {script}"], 78, "can't be made: not today"),
        (&["--sandbox", "true {script}"], 78, "a script did not find its directory in it"),
    ];
    for (words, code, says) in table {
        cellar.refused(words, code, says);
    }
    for odd in [':', ',', '\\'] {
        let work = cellar.lab.path(&format!("work/a{odd}b")).display().to_string();
        let says = format!("has {odd:?} in its path, which mount(8) and systemd-nspawn(1) would misread");
        cellar.refused(&["--sandbox", "bwrap", "--root", &root, "--work", &work], 64, &says);
    }
    cellar.refused(&["--root", &root], 64, "--sandbox");
    cellar.refused(&["--cpus", "many"], 64, "--cpus `many` is no number of processors");
    cellar.refused(&["--sandbox", "nspawn", "--root", &root], 64, "needs the superuser");
    assert!(matches!(cellar.lab.build(&id).place, spool::place::Place::Queued(_)));
    if let Some(cellar) = Cellar::of_superuser() {
        let root = cellar.root().display().to_string();
        cellar.refused(&["--sandbox", "bwrap", "--root", &root], 64, "is not for the superuser");
    }
}

/// A worker that would fail build after build, each in no time, is the worst that a queue can meet.
#[test]
fn a_sandbox_that_breaks_gives_its_build_back() {
    let cellar = Cellar::ordinary();
    let broken = cellar.lab.path("broken");
    let soon = cellar.file("soon", "");
    // What the worker tries is well until a build comes.
    let wrapper = format!(
        "#!/bin/sh\ncase $1 in */trial/*) ;; *) [ ! -e '{soon}' ] || mv '{soon}' '{broken}' ;; esac\n\
         [ -e '{broken}' ] || exec \"$1\"\necho out of order >&2\nexit 1\n",
        soon = soon.display(),
        broken = broken.display(),
    );
    let wrapper = cellar.file("wrapper", &wrapper);
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).expect("its mode");
    let kind = format!("{} {{script}}", wrapper.display());
    cellar.lab.job("job", "#!/bin/sh\necho ran\n");
    let id = cellar.lab.run("job");
    let _worker = cellar.worker(&["--sandbox", &kind, "--keep"]);
    wait_for("the worker says so", || {
        std::fs::read_to_string(cellar.lab.path("worker.log")).unwrap_or_default().contains("out of order; ")
    });
    assert_eq!(cellar.lab.ended().len(), 0, "no build has failed by it");
    std::fs::remove_file(&broken).expect("mended");
    cellar.lab.finished(&id);
    assert_eq!(cellar.lab.outcome(&id), Outcome::Exited { code: 0 });
}
