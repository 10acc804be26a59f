//! Whatever a script starts is gone when the build is over.

use harness::{Lab, PLATFORM, wait_for};
use spool::record::Outcome;
use std::path::Path;

fn alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_default();
    !pid.trim().is_empty() && Path::new(&format!("/proc/{}", pid.trim())).exists()
}

#[test]
fn children_that_ignore_term_and_children_with_a_session_of_their_own_die() {
    let lab = Lab::new();
    let (stubborn, escaped) = (lab.path("stubborn"), lab.path("escaped"));
    let text = format!(
        "trap '' TERM\n(trap '' TERM; echo $BASHPID > {}; while :; do sleep 1; done) &\nsetsid sh -c 'echo $$ > {}; trap \"\" TERM; while :; do sleep 1; done' &\nwhile :; do sleep 1; done\n",
        stubborn.display(),
        escaped.display()
    );
    let script = lab.script("stubborn.sh", &format!("#!/bin/bash\n{text}"));
    lab.ok(&[
        "add",
        "stubborn",
        script.to_str().expect("UTF-8"),
        "--platform",
        PLATFORM,
        "--every",
        "never",
        "--timeout",
        "1s",
    ]);
    let id = lab.run("stubborn");
    let _worker = lab.local_worker("w", &["--keep", "--kill-after", "1"]);
    wait_for("both children live", || alive(&stubborn) && alive(&escaped));
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").outcome, Outcome::TimedOut);
    assert!(!alive(&stubborn), "the child that ignores TERM is gone");
    assert!(!alive(&escaped), "the child with its own session is gone");
    assert_eq!(lab.builder(&["watch", &id]).code, 124);
}

#[test]
fn a_background_child_that_holds_the_output_does_not_hold_the_build() {
    let lab = Lab::new();
    let pid = lab.path("pid");
    lab.job(
        "holder",
        &format!(
            "sh -c 'echo $$ > {}; exec sleep 1000' &\nwhile [ ! -s {} ]; do sleep 0.01; done\necho last words\nexit 3",
            pid.display(),
            pid.display()
        ),
    );
    let id = lab.run("holder");
    let _worker = lab.local_worker("w", &["--keep"]);
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").outcome, Outcome::Exited { code: 3 });
    assert_eq!(lab.ok(&["log", &id]), "last words\n");
    assert!(!alive(&pid));
}

#[test]
fn each_build_finds_the_same_fresh_directory() {
    let lab = Lab::new();
    let worker = lab.local_worker("w", &["--keep"]);
    lab.job("one", "pwd; echo \"$HOME $TMPDIR\"; chmod 0 \"$TMPDIR\"; touch \"$HOME/left\"; echo x > here");
    lab.job("two", "pwd; echo \"$HOME $TMPDIR\"; ls -A . \"$HOME\" \"$TMPDIR\" | grep -c -e left -e here; true");
    let (one, two) = (lab.run("one"), lab.run("two"));
    lab.finished(&one);
    lab.finished(&two);
    let (one, two) = (lab.ok(&["log", &one]), lab.ok(&["log", &two]));
    assert_eq!(format!("{one}0\n"), two, "{}", worker.said());
}

#[test]
fn a_worker_leaves_its_lock_and_nothing_else_also_after_one_that_was_killed() {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("w0");
    lab.job("long", "echo begun; sleep 1000");
    let id = lab.run("long");
    let killed = sshd.worker(&lab, "w0", &key, &[]);
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("begun"));
    killed.kill();
    let left = || spool::disk::names(&lab.path("work.w0")).expect("the work directory");
    assert!(left().contains(&"ssh0".to_owned()), "{:?}", left());
    lab.ok(&["cancel", &id]);
    lab.job("short", "true");
    lab.run("short");
    wait_for("a worker gets in once the server has noticed", || sshd.worker(&lab, "w0", &key, &[]).ended() == 0);
    assert_eq!(left(), ["lock"]);
}

#[test]
fn a_worker_that_is_told_to_stop_gives_its_build_back() {
    let lab = Lab::new();
    lab.job("long", "echo begun; sleep 1000");
    let id = lab.run("long");
    let worker = lab.local_worker("w", &["--keep"]);
    wait_for("the script prints", || lab.ok(&["log", &id]).contains("begun"));
    worker.terminate();
    assert_eq!(worker.ended(), 0);
    wait_for("the build is queued again", || matches!(lab.build(&id).place, spool::place::Place::Queued(_)));
    assert_eq!(lab.build(&id).attempts().expect("attempts").list.len(), 1);
    assert!(
        std::fs::read_dir(lab.path("work.w"))
            .expect("the work directory")
            .flatten()
            .all(|entry| entry.file_name() == "lock")
    );
}
