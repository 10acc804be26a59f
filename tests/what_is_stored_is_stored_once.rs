//! Artifacts of any size in bounded memory; the second time nothing is sent and nothing grows.

use harness::{Lab, Running, Sshd, eventually};
use spool::find::Build;
use std::path::Path;

/// What a process may have had in memory at its largest, in KiB.
const MOST: u64 = 32 << 10;

fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// The disk that a directory takes, each inode once, in KiB.
fn usage(dir: &Path) -> u64 {
    let du = harness::Finished::of(std::process::Command::new("du").arg("-sk").arg(dir));
    du.stdout.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Runs a job once while all of `serve` are looked at. Returns their largest memory in KiB and how often
/// one of them served an upload.
fn run_measured<'l>(lab: &'l Lab, worker: &Running, job: &str) -> (Build<'l>, u64, bool) {
    let id = lab.run(job);
    let (mut most, mut uploads) = (0, false);
    let build = eventually("the build is over", || {
        let found = harness::Finished::of(
            std::process::Command::new("pgrep").args(["-f", &format!("serve --spool {}", lab.root().display())]),
        );
        for pid in found.stdout.lines().filter_map(|pid| pid.parse::<u32>().ok()) {
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if program.ends_with("builder-run") {
                most = most.max(peak(pid).unwrap_or(0));
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                uploads |= environment.windows(13).any(|bytes| bytes == b"internal-sftp");
            }
        }
        let build = lab.build(&id);
        matches!(build.place, spool::place::Place::Ended(_)).then_some(build)
    });
    (build, most.max(peak(worker.pid()).unwrap_or(0)), uploads)
}

fn lab_with_worker() -> (Lab, Sshd, Running) {
    let lab = Lab::new();
    let sshd = lab.sshd();
    let key = lab.add_worker("w0");
    let worker = sshd.worker(&lab, "w0", &key, &["--keep"]);
    (lab, sshd, worker)
}

fn twice(script: &str, artifacts: u64) {
    let (lab, _sshd, worker) = lab_with_worker();
    lab.job("big", script);
    let (build, most, uploads) = run_measured(&lab, &worker, "big");
    let result = build.result().expect("readable").expect("there");
    assert_eq!((result.outcome.exit_code(), result.artifacts), (0, artifacts), "{:?}", result.outcome);
    assert!(most > 0 && most < MOST, "{most} KiB");
    assert!(uploads, "it came over SFTP");
    let before = usage(&lab.root().join("store"));
    let (again, most, uploads) = run_measured(&lab, &worker, "big");
    let second = again.result().expect("readable").expect("there");
    assert_eq!(second.output, result.output);
    assert!(most < MOST, "{most} KiB");
    assert!(!uploads, "nothing was sent again");
    let grown = usage(&lab.root().join("store")) - before;
    assert!(grown < 64, "the store has grown by {grown} KiB");
    assert!(lab.ok(&["show", again.id.as_str()]).contains("Reproduced by 1 build"));
    lab.check();
}

#[test]
fn a_gibibyte_is_sent_once() {
    // Not zeros, and not the same everywhere, and quick to make.
    twice("openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 </dev/zero 2>/dev/null | head -c 1073741824 > large", 1);
}

#[test]
fn five_thousand_small_files_are_sent_once() {
    twice("for n in $(seq 5000); do printf \"%010000d\" $n > file$n; done", 5000);
}

#[test]
fn a_build_that_is_removed_leaves_no_garbage_and_what_others_have_stays() {
    let lab = Lab::new();
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.job("a", "echo shared > f; echo alone > g");
    lab.job("b", "echo shared > f");
    let (a, b) = (lab.run("a"), lab.run("b"));
    let (a, b) = (lab.finished(&a), lab.finished(&b));
    std::fs::remove_dir_all(a.dir()).expect("removed by hand");
    let (objects, _) = lab.spool.store().collect_garbage().expect("collected").gone;
    assert!(objects >= 2, "the file of its own and the manifest: {objects}");
    assert_eq!(std::fs::read_to_string(b.dir().join("artifacts/f")).expect("the other's"), "shared\n");
    lab.check();
}

#[test]
fn where_no_further_link_is_possible_a_copy_takes_the_name() {
    let lab = Lab::new();
    let object = lab.path("first");
    let digest = lab.spool.store().keep(b"content", &object).expect("kept");
    // ext4 allows 65,000 links; others allow more, and then this shows nothing new.
    let mut links = 0;
    while links < 65_100 && std::fs::hard_link(&object, lab.path(&format!("l{links}"))).is_ok() {
        links += 1;
    }
    assert!(lab.spool.store().link_to(&digest, &lab.path("another")).expect("no error"), "after {links} links");
    assert_eq!(std::fs::read(lab.path("another")).expect("the copy"), b"content");
    assert_eq!(std::fs::read(&object).expect("the old one"), b"content");
}
