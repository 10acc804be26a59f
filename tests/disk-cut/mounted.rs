//! File systems of the kernel's, on loop devices.

use harness::Finished;
use std::path::Path;
use std::process::Command;

/// A kind of file system.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// As mount(8) calls it.
    pub name: &'static str,
    mkfs: &'static [&'static str],
    /// The bytes that the smallest one needs.
    pub size: u64,
}

/// Those that a spool may be on.
pub const KINDS: [Kind; 3] = [
    Kind { name: "ext4", mkfs: &["mkfs.ext4", "-q", "-m", "0"], size: 64 << 20 },
    Kind { name: "xfs", mkfs: &["mkfs.xfs", "-q"], size: 300 << 20 },
    Kind { name: "btrfs", mkfs: &["mkfs.btrfs", "-q"], size: 256 << 20 },
];

impl Kind {
    /// Makes one in a file.
    pub fn make(self, file: &Path) {
        let made = Finished::of(Command::new(self.mkfs[0]).args(&self.mkfs[1..]).arg(file));
        assert_eq!(made.code, 0, "{made:?}");
    }
}

/// A file that is mounted; unmounted, with its loop device let go, when this is dropped.
pub struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    /// Mounts a file, which lets the file system replay its journal. Says what mount(8) said when it can't be mounted.
    pub fn new(kind: Kind, file: &Path) -> Result<Mounted, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", kind.name, "-o", "loop,noatime"]).arg(file).arg(dir.path());
        let mounted = Finished::of(&mut mount);
        if mounted.code == 0 { Ok(Mounted { dir }) } else { Err(mounted.stderr) }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Finished::of(Command::new("umount").arg(self.dir.path()));
        if unmounted.code != 0 {
            eprintln!("{}", unmounted.stderr);
        }
    }
}
