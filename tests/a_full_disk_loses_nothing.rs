//! Small file systems of their own on loop devices: full, with nothing but the reserve left, and mounted read-only.

use harness::{Finished, Lab, PLATFORM, Running, signal, wait_for};
use rustix::process::Signal;
use spool::place::{End, Place};
use spool::record::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system in a file; unmounted when this is dropped.
struct Disk {
    _dir: tempfile::TempDir,
    mount: PathBuf,
}

fn run(program: &str, words: &[&str]) {
    let done = Finished::of(Command::new(program).args(words));
    assert_eq!(done.code, 0, "{program} {words:?}: {}", done.stderr);
}

/// File systems, the program and words that make one, and the megabytes that it needs.
const KINDS: [(&str, &[&str], u64); 3] =
    [("ext4", EXT4, 24), ("xfs", &["mkfs.xfs", "-q"], 300), ("btrfs", &["mkfs.btrfs", "-q"], 512)];
const EXT4: &[&str] = &["mkfs.ext4", "-q", "-m", "0"];

impl Disk {
    /// An ext4 with a journal.
    fn new(megabytes: u64) -> Disk {
        Disk::made("ext4", EXT4, megabytes)
    }

    fn made(kind: &str, mkfs: &[&str], megabytes: u64) -> Disk {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("an image");
        let mount = dir.path().join("mount");
        std::fs::create_dir(&mount).expect("a directory");
        let (image, target) = (image.to_str().expect("UTF-8"), mount.to_str().expect("UTF-8"));
        run(mkfs[0], &[&mkfs[1..], &[image]].concat());
        run("mount", &["-t", kind, "-o", "loop", image, target]);
        Disk { _dir: dir, mount }
    }

    fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}"), self.mount.to_str().expect("UTF-8")]);
    }

    fn fill(&self) -> PathBuf {
        let ballast = self.mount.join("ballast");
        let filled = Finished::of(
            Command::new("dd").args(["if=/dev/zero", "bs=4k", "status=none"]).arg(format!("of={}", ballast.display())),
        );
        assert_ne!(filled.code, 0, "the disk is full now");
        ballast
    }

    /// Takes all room but half of the reserve, which is a sixteenth of so small a disk.
    fn fill_to_the_reserve(&self) -> PathBuf {
        self.fill_up_to(|all| all / 32)
    }

    /// Takes all room but so many bytes.
    fn fill_up_to(&self, left: impl Fn(u64) -> u64) -> PathBuf {
        let ballast = self.mount.join("ballast");
        let (mut size, mut most) = (0, u64::MAX);
        let taken = std::fs::File::create(&ballast).expect("a file");
        wait_for("the disk is full but for the reserve", || {
            let stat = rustix::fs::statvfs(&self.mount).expect("what is free");
            let (free, left) = (stat.f_bavail * stat.f_frsize, left(stat.f_blocks * stat.f_frsize));
            if free > left {
                // What btrfs says is free is not always to be had in one piece.
                let more = (free - left).clamp(64 << 10, most.max(64 << 10));
                match rustix::fs::fallocate(&taken, rustix::fs::FallocateFlags::empty(), size, more) {
                    Ok(()) => (size, most) = (size + more, more.saturating_mul(2)),
                    Err(_) => most = more / 2,
                }
                taken.sync_all().expect("durable");
            }
            free <= left
        });
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

fn jobs(root: &Path) -> Vec<String> {
    spool::disk::names(&root.join("jobs")).expect("the jobs").into_iter().filter(|name| name != ".lock").collect()
}

#[test]
fn add_on_a_full_disk_is_refused_and_what_was_acknowledged_stays() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    let lab = Lab::below(&disk.mount);
    lab.job("before", "true");
    let queued = lab.run("before");
    let script = lab.script("big.sh", &format!("true # {}", "x".repeat(20_000)));
    let ballast = disk.fill();
    let refused = lab.builder(&["add", "after", script.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    refused.refused(75, "make room");
    assert_eq!(jobs(lab.root()), ["before.toml"]);
    assert_eq!(lab.build(&queued).place.word(), "queued");
    std::fs::remove_file(ballast).expect("room again");
    lab.ok(&["add", "after", script.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.finished(&queued);
    harness::wait_for("the other is over, too", || lab.ended().len() == 2);
    lab.check();
}

#[test]
fn a_read_only_spool_is_readable_and_refuses_in_one_line() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    let lab = Lab::below(&disk.mount);
    lab.job("job", "true");
    let id = lab.run("job");
    disk.remount("ro");
    assert!(lab.ok(&["ls"]).contains("job"));
    lab.ok(&["show", &id]);
    let script = lab.path("job.sh");
    lab.builder(&["add", "other", script.to_str().expect("UTF-8"), "--platform", PLATFORM]).refused(73, "read-only");
    lab.builder(&["rm", "job"]).refused(73, "read-only");
    disk.remount("rw");
    assert_eq!(jobs(lab.root()), ["job.toml"]);
}

#[test]
fn an_ext4_with_a_journal_is_trusted_and_tmpfs_is_not() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    assert_eq!(spool::durability::weakness(&disk.mount), None);
    let told = spool::durability::weakness(Path::new("/dev/shm")).expect("a warning");
    assert!(told.contains("tmpfs") && !told.contains('\n'), "{told}");
    let lab = Lab::below(Path::new("/dev/shm"));
    let daemon = Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!((daemon.code, daemon.stderr.matches("tmpfs").count()), (0, 1), "{daemon:?}");
    let init = lab.builder(&["init"]);
    assert_eq!((init.code, init.stderr.matches("tmpfs").count()), (0, 1), "{init:?}");
}

/// Whether the kernel has a file system, or can load it. Where it has not, it says so.
fn is_supported(kind: &str) -> bool {
    use std::io::Write;
    let known = || {
        std::fs::read_to_string("/proc/filesystems")
            .expect("a list")
            .lines()
            .any(|line| line.ends_with(&format!("\t{kind}")))
    };
    let there = known() || (Command::new("modprobe").arg(kind).output().is_ok() && known());
    if !there {
        let _ = writeln!(std::io::stderr(), "NOT TESTED: this kernel has no {kind}");
    }
    there
}

/// A lab with its spool on a small disk, and everything else where there is room.
fn lab_on(disk: &Disk, when_full: &str) -> Lab {
    let lab = Lab::with_spool_below(&disk.mount);
    lab.configure(&format!("[limits]\nwhen_full = \"{when_full}\"\n"));
    lab
}

/// A script that says that it has begun, and goes on when there is a file `go` in the lab.
fn held(lab: &Lab, rest: &str) -> String {
    format!("echo begun; while [ ! -e {} ]; do sleep 0.05; done; {rest}", lab.path("go").display())
}

const PRINTS: &str = "head -c 300000 /dev/zero | tr '\\0' x; echo";
const LEAVES: &str = "head -c 1500000 /dev/urandom >large";

/// Two builds that run: one is to print, the other to leave something. Their ids, and their workers.
fn two_that_run(lab: &Lab) -> ([String; 2], [Running; 2]) {
    lab.job("prints", &held(lab, PRINTS));
    lab.job("leaves", &held(lab, LEAVES));
    let ids = ["prints", "leaves"].map(|job| lab.run(job));
    let workers = ["v", "w"].map(|name| lab.local_worker(name, &["--keep"]));
    wait_for("both run", || ids.iter().all(|id| lab.ok(&["log", id]).contains("begun")));
    (ids, workers)
}

fn is_aborted_for_no_space(lab: &Lab, id: &str) {
    let outcome = lab.outcome(id);
    assert!(matches!(&outcome, Outcome::Aborted { reason } if reason.starts_with("no space: ")), "{outcome}");
    assert_eq!(lab.build(id).place, Place::Ended(End::Failed));
}

fn builds_end_on_the_reserve(kind: &str, mkfs: &[&str], megabytes: u64) {
    eprintln!("on {kind}");
    let disk = Disk::made(kind, mkfs, megabytes);
    let lab = lab_on(&disk, "abort");
    let _daemon = lab.daemon();
    let (ids, workers) = two_that_run(&lab);
    lab.job("waits", "true");
    lab.job("goes", "true");
    let (waits, goes) = (lab.run("waits"), lab.run("goes"));
    let ballast = disk.fill_to_the_reserve();
    let script = lab.script("s", "true");
    lab.builder(&["add", "new", script.to_str().expect("UTF-8"), "--platform", PLATFORM]).refused(75, "make room");
    lab.builder(&["run", "prints"]).refused(75, "make room");
    lab.builder(&["set", "prints", "--every", "daily"]).refused(75, "make room");
    std::fs::write(lab.path("go"), "").expect("the sign");
    ids.iter().for_each(|id| is_aborted_for_no_space(&lab, id));
    // Builds that wait are not handed out, and they and their jobs can go.
    lab.ok(&["cancel", &goes]);
    lab.ok(&["rm", "goes"]);
    assert_eq!(lab.build(&waits).place.word(), "queued");
    assert!(lab.spool.check(true).expect("a check").findings.is_empty());
    assert_eq!(lab.ok(&["worker", "ls", "--json"]).matches("quarantine\": \"").count(), 0);
    drop(workers);
    std::fs::remove_file(ballast).expect("room again");
    // btrfs counts what was removed as free only after its next commit, which comes after 30 s by itself.
    run("sync", &["--file-system", disk.mount.to_str().expect("UTF-8")]);
    let _worker = lab.local_worker("x", &["--keep"]);
    assert_eq!(lab.finished(&waits).place, Place::Ended(End::Done));
    lab.ok(&["add", "new", script.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    ["prints", "leaves"].map(|job| lab.run(job)).iter().for_each(|id| {
        assert_eq!(lab.finished(id).place, Place::Ended(End::Done));
    });
    wait_for("the new one is over, too", || lab.spool.open_builds().expect("readable").is_empty());
    lab.check();
}

#[test]
fn on_ext4_builds_end_for_want_of_space_and_everything_goes_on_when_there_is_room() {
    if harness::is_superuser() {
        let (kind, mkfs, megabytes) = KINDS[0];
        builds_end_on_the_reserve(kind, mkfs, megabytes);
    }
}

#[test]
fn on_xfs_and_btrfs_it_is_the_same() {
    if harness::is_superuser() {
        for (kind, mkfs, megabytes) in KINDS.into_iter().skip(1).filter(|(kind, ..)| is_supported(kind)) {
            builds_end_on_the_reserve(kind, mkfs, megabytes);
        }
    }
}

#[test]
fn builds_wait_for_room_where_that_is_configured_and_lose_nothing() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    let lab = lab_on(&disk, "wait");
    let _daemon = lab.daemon();
    let (ids, workers) = two_that_run(&lab);
    let one_more = |job: &str, worker: &str| {
        lab.job(job, &held(&lab, PRINTS));
        let (id, worker) = (lab.run(job), lab.local_worker(worker, &[]));
        wait_for("it runs, too", || lab.ok(&["log", &id]).contains("begun"));
        (id, worker)
    };
    let (cancelled, third) = one_more("cancelled", "x");
    let (orphan, fourth) = one_more("orphan", "y");
    let ballast = disk.fill_to_the_reserve();
    std::fs::write(lab.path("go"), "").expect("the sign");
    wait_for("all wait", || {
        workers.iter().chain([&third, &fourth]).all(|worker| worker.said().contains(" waits for room"))
    });
    lab.ok(&["cancel", &cancelled]);
    assert_eq!(lab.outcome(&cancelled), Outcome::Cancelled);
    // A worker that dies meanwhile is missed as always, after longer than anybody may be silent.
    fourth.kill();
    wait_for("its build is queued again", || lab.build(&orphan).place.word() == "queued");
    assert!(ids.iter().all(|id| lab.build(id).place == Place::Active && lab.build(id).is_served()));
    // Their grace time begins when the wait is over.
    let later = spool::clock::now() + jiff::SignedDuration::from_secs(3);
    wait_for("the lease is kept", || lab.build(&ids[0]).last_heard().is_some_and(|heard| heard > later));
    // One that was away meanwhile goes on where its server stopped hearing it.
    let served = lab.servers("v");
    signal(&served, Signal::STOP);
    wait_for("its worker notices", || workers[0].said().contains("the server was silent"));
    signal(&served, Signal::CONT);
    wait_for("it is back, and waits again", || workers[0].said().matches(" waits for room").count() > 1);
    // A worker that is killed meanwhile is missed as always, and its build is queued for another.
    let fourth = lab.local_worker("y", &[]);
    fourth.kill();
    std::fs::remove_file(ballast).expect("room again");
    let [printed, left] = ids.each_ref().map(|id| lab.finished(id));
    assert!([&printed, &left].iter().all(|build| build.place == Place::Ended(End::Done)));
    assert!([&printed, &left].iter().all(|build| build.attempts().expect("readable").list.is_empty()));
    let log = lab.ok(&["log", printed.id.as_str()]);
    assert_eq!(log, format!("begun\n{}\n", "x".repeat(300_000)));
    assert_eq!(lab.finished(&orphan).place, Place::Ended(End::Done));
    assert_eq!(left.result().expect("readable").expect("a result").artifact_bytes, 1_500_000);
    lab.check();
}

#[test]
fn an_upload_that_meets_the_reserve_half_way_waits_there() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    let lab = lab_on(&disk, "wait");
    lab.job("leaves", &held(&lab, "head -c 3000000 /dev/urandom >large"));
    let id = lab.run("leaves");
    let worker = lab.local_worker("w", &[]);
    wait_for("it runs", || lab.ok(&["log", &id]).contains("begun"));
    let ballast = disk.fill_up_to(|all| all / 16 + 1_000_000);
    std::fs::write(lab.path("go"), "").expect("the sign");
    wait_for("its upload waits", || worker.said().contains("an upload waits for room"));
    let free = rustix::fs::statvfs(&disk.mount).map(|stat| stat.f_bavail * stat.f_frsize).expect("what is free");
    assert!(free > 500_000, "{free} bytes are left");
    std::fs::remove_file(ballast).expect("room again");
    assert_eq!(lab.finished(&id).place, Place::Ended(End::Done));
    lab.check();
}

#[test]
fn a_disk_without_inodes_is_full_and_builds_end_on_those_that_are_kept() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::made("ext4", &[EXT4, &["-N", "1024"]].concat(), 24);
    let lab = lab_on(&disk, "abort");
    let (ids, _workers) = two_that_run(&lab);
    let ballast = disk.mount.join("files");
    std::fs::create_dir(&ballast).expect("a directory");
    let mut number = 0;
    wait_for("few inodes are left", || {
        std::fs::write(ballast.join(number.to_string()), "").expect("a file");
        number += 1;
        rustix::fs::statvfs(&disk.mount).expect("what is free").f_favail < 40
    });
    lab.builder(&["run", "prints"]).refused(75, "inodes are free");
    std::fs::write(lab.path("go"), "").expect("the sign");
    ids.iter().for_each(|id| is_aborted_for_no_space(&lab, id));
    std::fs::remove_dir_all(ballast).expect("room again");
    assert_eq!(lab.finished(&lab.run("leaves")).place, Place::Ended(End::Done));
    lab.check();
}

/// Others have used up the reserve: then an end has to wait, and nothing is lost by that.
#[test]
fn on_a_disk_that_is_full_to_the_last_byte_nothing_is_lost() {
    if !harness::is_superuser() {
        return;
    }
    let disk = Disk::new(24);
    let lab = lab_on(&disk, "abort");
    let _daemon = lab.daemon();
    let (ids, _workers) = two_that_run(&lab);
    lab.job("waits", "true");
    let waits = lab.run("waits");
    let ballast = disk.fill();
    std::fs::write(lab.path("go"), "").expect("the sign");
    lab.builder(&["run", "prints"]).refused(75, "make room");
    lab.ok(&["show", &waits]);
    let begun = Instant::now();
    wait_for("the grace time is over twice", || begun.elapsed() > Duration::from_secs(5));
    assert!(ids.iter().all(|id| lab.build(id).place == Place::Active && lab.build(id).is_served()));
    assert!(lab.spool.check(true).expect("a check").findings.is_empty());
    let room_again = spool::clock::now();
    std::fs::remove_file(ballast).expect("room again");
    // An end has the moment at which it was written: one of long ago is not counted.
    for id in &ids {
        let result = lab.finished(id).result().expect("readable").expect("a result");
        assert!(result.finished >= room_again, "{id}: {} is before {room_again}", result.finished);
    }
    assert_eq!(lab.finished(&waits).place, Place::Ended(End::Done));
    lab.check();
}
