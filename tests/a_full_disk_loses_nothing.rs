//! Small file systems of their own on loop devices: full, and mounted read-only.

use harness::{Finished, Lab, PLATFORM};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An ext4 with a journal in a file; unmounted when this is dropped.
struct Disk {
    _dir: tempfile::TempDir,
    mount: PathBuf,
}

fn run(program: &str, words: &[&str]) {
    let done = Finished::of(Command::new(program).args(words));
    assert_eq!(done.code, 0, "{program} {words:?}: {}", done.stderr);
}

impl Disk {
    fn new(megabytes: u64) -> Disk {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("an image");
        let mount = dir.path().join("mount");
        std::fs::create_dir(&mount).expect("a directory");
        let (image, target) = (image.to_str().expect("UTF-8"), mount.to_str().expect("UTF-8"));
        run("mkfs.ext4", &["-q", "-m", "0", image]);
        run("mount", &["-o", "loop", image, target]);
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
