//! From `builder add` to the record, over a real sshd; builderd comes and goes meanwhile.

use harness::{Lab, PLATFORM, wait_for};
use spool::place::{End, Place};
use std::os::unix::fs::PermissionsExt;

const SCRIPT: &str = "#!/bin/sh\necho to stdout; echo to stderr >&2\nmkdir bin; printf 'hello\\n' > bin/hello; chmod +x bin/hello\nprintf 'odd' > 'a b'\nln -s /etc/passwd link\n";

#[test]
fn a_build_over_ssh_leaves_its_record_and_is_reproduced() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    let _worker = sshd.worker(&lab, "jail1", &key, &["--keep"]);
    lab.job("hello", SCRIPT);
    let first = lab.run("hello");
    let build = lab.finished(&first);
    assert_eq!(build.place, Place::Ended(End::Done), "{:?}", build.result());
    assert_eq!(lab.ok(&["log", &first]), "to stdout\nto stderr\n");
    assert_eq!(std::fs::read_to_string(build.dir().join("artifacts/bin/hello")).expect("the artifact"), "hello\n");
    let second = lab.run("hello");
    lab.finished(&second);
    let record = lab.ok(&["show", &second]);
    for text in [
        "Built on platform debian-12",
        "Execution result: exited 0",
        "bin/hello",
        "SHA256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "Reproduced by 1 build",
        "link: a symbolic link",
    ] {
        assert!(record.contains(text), "no {text:?} in\n{record}");
    }
    lab.ok(&["get", &first, "-o", "out"]);
    let mode = |path| std::fs::metadata(lab.path(path)).expect("a copy").permissions().mode() & 0o111;
    assert_eq!((mode("out/bin/hello") != 0, mode("out/a b")), (true, 0), "the execute bit is back where it was");
    lab.check();
}

#[test]
fn everything_but_time_works_while_builderd_is_down() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    lab.job("slow", "echo begun; while [ ! -e \"$HOME/../../go\" ]; do sleep 0.05; done; echo over");
    let _worker = lab.local_worker("w", &["--keep"]);
    let id = lab.run("slow");
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("begun"));
    daemon.kill();
    lab.job("other", "echo other");
    let other = lab.run("other");
    let _daemon = lab.daemon();
    std::fs::write(lab.path("work.w/go"), "").expect("the sign");
    assert_eq!(lab.builder(&["watch", &id]).code, 0);
    assert_eq!(lab.ok(&["log", &id]), "begun\nover\n");
    assert_eq!(lab.finished(&other).place, Place::Ended(End::Done));
    assert!(lab.build(&id).attempts().expect("attempts").list.is_empty(), "it was never given to another worker");
}

#[test]
fn a_watcher_and_a_script_agree_on_the_exit_code() {
    let lab = Lab::new();
    let _worker = lab.local_worker("w", &["--keep"]);
    for (name, script, code) in [("seven", "exit 7", 7), ("killed", "kill -9 $$", 137), ("fine", "true", 0)] {
        lab.job(name, script);
        let id = lab.run(name);
        assert_eq!(lab.builder(&["watch", &id]).code, code, "{name}");
    }
}

#[test]
fn a_due_job_is_fired_once_by_any_number_of_daemons() {
    let lab = Lab::new();
    let script = lab.script("x.sh", "true");
    let script = script.to_str().expect("UTF-8");
    let add = |name: &str, seconds| {
        let at = (spool::clock::now() + std::time::Duration::from_secs(seconds)).to_string();
        lab.ok(&["add", name, script, "--platform", PLATFORM, "--at", &at])
    };
    assert_eq!(add("later", 3600), "", "nothing before its time");
    add("timed", 1);
    let daemon = lab.daemon();
    wait_for("it is fired", || lab.spool.open_builds().expect("builds").len() == 1);
    let _worker = lab.local_worker("w", &["--keep"]);
    wait_for("it is over", || lab.ended().len() == 1);
    daemon.kill();
    // The note that it was fired is lost, as in a crash between firing and noting.
    std::fs::remove_file(lab.root().join("timers/timed")).expect("the note");
    assert_eq!(harness::Finished::of(lab.program("builderd").arg("--once")).code, 0);
    assert_eq!((lab.spool.open_builds().expect("builds").len(), lab.ended().len()), (0, 1));
}

#[test]
fn a_script_that_can_not_be_started_says_why() {
    let lab = Lab::new();
    lab.job("strange", "#!/nowhere/interpreter\ntrue\n");
    let id = lab.run("strange");
    let worker = lab.local_worker("w", &["--keep"]);
    assert_eq!(lab.builder(&["watch", &id]).code, 70, "{}", worker.said());
    let record = lab.ok(&["show", &id]);
    assert!(record.contains("Execution result: aborted: can't start") && record.contains("No such file"), "{record}");
    assert!(lab.build(&id).attempts().expect("attempts").list.is_empty(), "another worker could not start it either");
}

#[test]
fn a_script_that_is_over_at_once_has_its_inputs_in_the_record() {
    let lab = Lab::new();
    lab.script("builder.toml", "grace_seconds = 60\n");
    let over = lab.path("over");
    lab.job("quick", &format!("touch {}", over.display()));
    let id = lab.run("quick");
    // The server can't look for inputs in the store before the script is over.
    let shards: Vec<_> = (0..=255u8)
        .map(|shard| std::fs::File::open(lab.spool.layout().shard(&format!("{shard:02x}"))).expect("a shard"))
        .inspect(|shard| shard.lock().expect("its lock"))
        .collect();
    let _worker = lab.local_worker("w", &["--keep"]);
    wait_for("the script is over", || over.exists());
    drop(shards);
    let build = lab.finished(&id);
    let environment = std::fs::read_to_string(build.dir().join("environment")).expect("the environment");
    assert!(environment.contains("BUILDER_JOB=quick\n"), "{environment}");
    assert!(build.result().expect("readable").expect("there").input.is_some());
}

#[test]
fn a_script_that_prints_without_a_pause_can_be_cancelled() {
    let lab = Lab::new();
    lab.job("loud", "while :; do echo y; done");
    let id = lab.run("loud");
    let _worker = lab.local_worker("w", &["--keep"]);
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("y"));
    lab.ok(&["cancel", &id]);
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").outcome, spool::record::Outcome::Cancelled);
}

#[test]
fn cancelling_ends_a_queued_and_a_running_build_and_keeps_what_was_printed() {
    let lab = Lab::new();
    lab.job("long", "echo begun; sleep 1000");
    let queued = lab.run("long");
    lab.ok(&["cancel", &queued]);
    assert_eq!(
        lab.finished(&queued).result().expect("readable").expect("there").outcome,
        spool::record::Outcome::Cancelled
    );
    let _worker = lab.local_worker("w", &["--keep"]);
    let running = lab.run("long");
    wait_for("the script prints", || lab.ok(&["log", &running]).contains("begun"));
    lab.ok(&["cancel", &running]);
    let build = lab.finished(&running);
    assert_eq!(build.result().expect("readable").expect("there").outcome, spool::record::Outcome::Cancelled);
    assert_eq!(lab.ok(&["log", &running]), "begun\n");
    assert_eq!(spool::disk::names(&lab.root().join("cancel")).expect("requests"), Vec::<String>::new());
}
