//! A measurement that fails is gone at once; somebody must end its servers and take its file system away.
//!
//! So the program runs itself as its child, in a directory that it made, and tidies up behind it.

use harness::Finished;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names the directory to the child.
const VARIABLE: &str = "BUILDER_BENCHES_DIR";

/// How large the file system in a file is, in MiB, and when there are many builds; and for how many bytes it has an inode.
const SIZE: usize = 7 << 10;
const LARGE: usize = 11 << 10;
const INODE: usize = 16 << 10;
const MANY: usize = 4 << 10;

/// Whether this is the child.
pub fn is_supervised() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The child's directory.
pub fn directory() -> PathBuf {
    PathBuf::from(std::env::var_os(VARIABLE).unwrap_or_default())
}

/// Runs this program again, in a directory below `base` that goes afterwards with all that is in it.
pub fn run(base: &Path, on_loop: bool, many_builds: bool) -> ExitCode {
    // Ctrl-C reaches the child as well; this process outlives it, to tidy up.
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let dir = tempfile::Builder::new().prefix("benches.").tempdir_in(base).expect("a directory for the measurements");
    let mount = on_loop.then(|| Mount::new(dir.path(), many_builds));
    let place = mount.as_ref().map_or(dir.path(), |mount| &mount.point);
    let program = std::env::current_exe().expect("this program's path");
    let mut child =
        Command::new(program).args(std::env::args_os().skip(1)).env(VARIABLE, place).spawn().expect("itself");
    let status = child.wait();
    end_orphans();
    let ok = status.is_ok_and(|status| status.success());
    ExitCode::from(u8::from(!ok))
}

/// Kills what the child left behind; on its end the orphans became this process's children.
fn end_orphans() {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let pids = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        if pids.trim().is_empty() {
            return;
        }
        for pid in pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// An ext4 with a journal, in a file; it is unmounted when this is dropped.
struct Mount {
    point: PathBuf,
}

impl Mount {
    /// The file's blocks are written first, and the tables at once, so that nothing of this is measured later.
    fn new(dir: &Path, many_builds: bool) -> Mount {
        let (size, inode) = if many_builds { (LARGE, MANY) } else { (SIZE, INODE) };
        let (image, point) = (dir.join("ext4.img"), dir.join("ext4"));
        std::fs::create_dir(&point).expect("a mount point");
        let fill = format!("dd if=/dev/zero of={} bs=1M count={size} conv=fsync status=none", image.display());
        let make = format!(
            "mkfs.ext4 -q -F -i {inode} -O has_journal -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 {}",
            image.display()
        );
        let mount = format!("mount -o loop,nodiscard {} {}", image.display(), point.display());
        for line in [fill, make, mount] {
            let done = Finished::of(Command::new("sh").arg("-c").arg(&line));
            assert_eq!(done.code, 0, "{line}: {}", done.stderr);
        }
        Mount { point }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Finished::of(Command::new("umount").arg(&self.point));
        if done.code != 0 {
            eprintln!("{} is mounted still: {}", self.point.display(), done.stderr.trim());
        }
    }
}
