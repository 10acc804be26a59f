//! The syncs of `spool-layout.md`, in its order and before the acknowledgement, as strace(1) sees them.
//!
//! That they are the right ones is not shown here; that none is left out or comes too late is.

use harness::{Finished, Lab, PLATFORM};
use std::process::Command;

const CALLS: &str = "trace=fsync,fdatasync,syncfs,/rename,write,linkat,link,/unlink";

/// The calls that a program of ours and its children make, each with the paths of its files.
fn traced(lab: &Lab, program: &str, words: &[&str]) -> Vec<String> {
    let file = lab.path("trace");
    let ours = lab.program(program);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "100", "-e", CALLS, "-o"]).arg(&file).arg(ours.get_program()).args(words);
    strace.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(lab.path(""));
    let ran = Finished::of(&mut strace);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = std::fs::read_to_string(file).expect("the trace");
    text.lines().filter(|line| !line.contains("= -1 ")).map(str::to_owned).collect()
}

/// Checks that these calls were made, in this order, whatever came in between. A step is the call's name and parts
/// of its line, where `SPOOL` stands for the spool.
fn in_order(lab: &Lab, trace: &[String], steps: &[&[&str]]) {
    let root = lab.root().display().to_string();
    let mut rest = trace.iter();
    for (n, step) in steps.iter().enumerate() {
        let parts: Vec<String> = step.iter().map(|part| part.replace("SPOOL", &root)).collect();
        let found = rest.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "step {n}, {parts:?}, does not follow in\n{}", trace.join("\n"));
    }
}

#[test]
fn add_and_run_answer_after_their_syncs() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    let words = ["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "daily"];
    let enqueue: &[&[&str]] = &[
        &["fdatasync(", "SPOOL/tmp/", "/build.toml>"],
        &["fdatasync(", "SPOOL/tmp/"],
        &["rename", "SPOOL/tmp/", "SPOOL/store/sha256/"],
        &["fsync(", "SPOOL/store/sha256/"],
        &["link", "SPOOL/store/sha256/", "/script\""],
        &["fsync(", "SPOOL/tmp/"],
        &["fsync(", "SPOOL/new>"],
        &["rename", "SPOOL/tmp/", "SPOOL/new/debian-12/50-", "NOREPLACE"],
        &["fsync(", "SPOOL/new/debian-12>"],
    ];
    let job: &[&[&str]] = &[
        &["fdatasync(", "SPOOL/tmp/"],
        &["rename", "SPOOL/tmp/", "SPOOL/jobs/job.toml", "NOREPLACE"],
        &["fsync(", "SPOOL/jobs>"],
    ];
    let timer: &[&[&str]] = &[
        &["fdatasync(", "SPOOL/tmp/"],
        &["rename", "SPOOL/tmp/", "SPOOL/timers/job"],
        &["fsync(", "SPOOL/timers>"],
        &["write(1<", "-job@debian-12-"],
    ];
    in_order(&lab, &traced(&lab, "builder", &words), &[job, enqueue, timer].concat());
    lab.job("asked", "true");
    let again: &[&[&str]] = &[
        &["fdatasync(", "SPOOL/tmp/", "/build.toml>"],
        &["link", "SPOOL/store/sha256/", "/script\""],
        &["fsync(", "SPOOL/tmp/"],
        &["rename", "SPOOL/tmp/", "SPOOL/new/debian-12/10-", "NOREPLACE"],
        &["fsync(", "SPOOL/new/debian-12>"],
        &["write(1<", "-asked@debian-12-"],
    ];
    in_order(&lab, &traced(&lab, "builder", &["run", "asked"]), again);
    let removed: &[&[&str]] = &[
        &["rename", "SPOOL/new/debian-12/10-", "SPOOL/active/"],
        &["rename", "SPOOL/active/", "SPOOL/tmp/"],
        &["fsync(", "SPOOL/active>"],
        &["fsync(", "SPOOL/new/debian-12>"],
        &["unlink", "SPOOL/good/asked.toml"],
        &["fsync(", "SPOOL/good>"],
        &["unlink", "SPOOL/jobs/asked.toml"],
        &["fsync(", "SPOOL/jobs>"],
        &["write(1<", "removed job asked"],
    ];
    in_order(&lab, &traced(&lab, "builder", &["rm", "asked"]), removed);
}

#[test]
fn many_jobs_that_are_due_at_once_are_synced_together_and_before_they_count_as_fired() {
    let lab = Lab::new();
    for n in 0..20 {
        let script = lab.script("s", &format!("echo {n}"));
        let words = ["--platform", PLATFORM, "--at", "2020-01-01T00:00:00Z"];
        lab.ok(&[&["add", &format!("job{n}"), script.to_str().expect("UTF-8")][..], &words].concat());
    }
    for build in lab.spool.open_builds().expect("builds") {
        lab.ok(&["cancel", build.id.as_str()]);
    }
    for n in 0..20 {
        // Another script for each, which the store has not got, and a moment that has passed meanwhile.
        let script = lab.script("s", &format!("echo new {n}"));
        lab.ok(&["set", &format!("job{n}"), "--script", script.to_str().expect("UTF-8")]);
        let file = lab.root().join(format!("jobs/job{n}.toml"));
        let text = std::fs::read_to_string(&file).expect("the job");
        std::fs::write(&file, text.replace("2020-01-01", "2020-01-02")).expect("the job");
    }
    let fired: &[&[&str]] = &[
        &["syncfs(", "SPOOL>"],
        &["rename", "SPOOL/tmp/", "SPOOL/store/sha256/"],
        &["link", "SPOOL/store/sha256/", "/script\""],
        &["syncfs(", "SPOOL>"],
        &["rename", "SPOOL/tmp/", "SPOOL/new/debian-12/50-", "NOREPLACE"],
        &["fsync(", "SPOOL/new/debian-12>"],
        &["rename", "SPOOL/tmp/", "SPOOL/timers/job"],
    ];
    in_order(&lab, &traced(&lab, "builderd", &["--once"]), fired);
    assert_eq!(lab.spool.open_builds().expect("builds").len(), 20);
}

#[test]
fn a_finish_is_answered_after_its_syncs() {
    let lab = Lab::new();
    lab.job("few", "echo printed; mkdir d; echo artifact > d/a");
    lab.job("many", "for n in $(seq 20); do echo $n > f$n; done");
    let work = lab.path("work");
    let worker = ["worker", "--local", "spool", "--platform", PLATFORM, "--work", work.to_str().expect("UTF-8")];
    let id = lab.run("few");
    let end: &[&[&str]] = &[
        &["fdatasync(", "/result.toml>"],
        &["fsync(", "SPOOL/active/", &id],
        &["fsync(", "SPOOL/owed>"],
        &["unlink", "/lease.toml"],
        &["rename", "SPOOL/active/", "SPOOL/done/", "NOREPLACE"],
        &["fsync(", "SPOOL/done/20"],
        &["write(", "finished"],
    ];
    let few: &[&[&str]] = &[
        &["sync(", "/upload/"],
        &["rename", "/upload/", "SPOOL/store/sha256/"],
        &["fsync(", "SPOOL/store/sha256/"],
        &["link", "SPOOL/store/sha256/", "/artifacts/d/a"],
        &["link", "SPOOL/store/sha256/", "/manifest"],
        &["sync(", "/console.log>"],
        &["sync(", "/console.times>"],
        &["fsync(", "/artifacts/d>"],
        &["fsync(", "/artifacts>"],
    ];
    in_order(&lab, &traced(&lab, "builder-run", &worker), &[few, end].concat());
    let id = lab.run("many");
    let many: &[&[&str]] = &[
        &["syncfs(", "SPOOL>"],
        &["rename", "/upload/", "SPOOL/store/sha256/"],
        &["link", "SPOOL/store/sha256/", "/artifacts/f"],
        &["link", "SPOOL/store/sha256/", "/manifest"],
        &["syncfs(", "SPOOL>"],
        &["fdatasync(", "/result.toml>"],
        &["fsync(", "SPOOL/active/", &id],
        &["rename", "SPOOL/active/", "SPOOL/done/", "NOREPLACE"],
        &["fsync(", "SPOOL/done/20"],
        &["write(", "finished"],
    ];
    in_order(&lab, &traced(&lab, "builder-run", &worker), many);
}
