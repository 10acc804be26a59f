//! The limit: the system calls that a durable transition can't do without, and nothing else.

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Directories as a spool has them, and no more.
pub struct Bare {
    root: PathBuf,
    count: AtomicU64,
}

/// A build's files are about as long as ours.
const REQUEST: &[u8] = &[b'r'; 100];
const LEASE: &[u8] = &[b'l'; 110];
const RESULT: &[u8] = &[b'R'; 220];

impl Bare {
    /// Fresh directories below `root`.
    pub fn new(root: PathBuf) -> Bare {
        for dir in ["tmp", "new/p", "active", "done/m", "store"] {
            std::fs::create_dir_all(root.join(dir)).expect("a directory");
        }
        std::fs::write(root.join("store/script"), "true\n").expect("a script");
        Bare { root, count: AtomicU64::new(0) }
    }

    /// The script of every build.
    pub fn script(&self) -> PathBuf {
        self.root.join("store/script")
    }

    /// Puts a build into the queue, durably. Returns its name.
    pub fn enqueue(&self) -> String {
        let name = format!("50-20261124T094701.123Z-hello@debian-12-{:06}", self.count.fetch_add(1, Ordering::Relaxed));
        let draft = self.root.join("tmp").join(&name);
        std::fs::create_dir(&draft).expect("mkdir");
        write_synced(&draft.join("build.toml"), REQUEST);
        std::fs::hard_link(self.script(), draft.join("script")).expect("link");
        sync(&open(&draft));
        rename(&draft, &self.root.join("new/p").join(&name));
        sync(&open(&self.root.join("new/p")));
        name
    }

    /// Takes it.
    pub fn claim(&self, name: &str) -> File {
        let queued = self.root.join("new/p").join(name);
        let dir = open(&queued);
        rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).expect("flock");
        let active = self.root.join("active").join(name);
        rename(&queued, &active);
        let mut lease = File::create_new(active.join("lease.toml")).expect("create");
        lease.write_all(LEASE).expect("write");
        dir
    }

    /// Ends it, durably.
    pub fn finish(&self, name: &str, dir: File) {
        let active = self.root.join("active").join(name);
        write_synced(&active.join("result.toml"), RESULT);
        std::fs::remove_file(active.join("lease.toml")).expect("unlink");
        sync(&dir);
        let month = self.root.join("done/m");
        rename(&active, &month.join(name));
        sync(&open(&month));
    }
}

fn open(dir: &Path) -> File {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty()).expect("open").into()
}

fn sync(file: &File) {
    file.sync_all().expect("fsync");
}

fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create_new(path).expect("create");
    file.write_all(bytes).expect("write");
    file.sync_data().expect("fdatasync");
}

fn rename(from: &Path, to: &Path) {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).expect("rename");
}
