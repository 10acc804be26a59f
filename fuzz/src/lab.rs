//! A directory with something in it that nobody may touch.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What the witness holds.
const TESTIMONY: &[u8] = b"nobody was here\n";

/// A directory, in memory where the system has one there.
pub struct Lab {
    dir: TempDir,
    /// What may lie in it, besides the witness.
    expected: Vec<&'static str>,
}

impl Lab {
    /// With directories of these names.
    pub fn new(expected: &[&'static str]) -> Lab {
        let memory = Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => TempDir::new_in(memory),
            false => TempDir::new(),
        };
        let lab = Lab { dir: dir.expect("a directory"), expected: expected.to_vec() };
        fs::write(lab.path("witness"), TESTIMONY).expect("a witness");
        for name in expected {
            fs::create_dir(lab.path(name)).expect("a directory");
        }
        lab
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Nothing has come, gone or changed beside what was expected.
    pub fn is_untouched(&self) {
        assert_eq!(fs::read(self.path("witness")).expect("the witness"), TESTIMONY);
        let mut names = names(self.dir.path());
        names.retain(|name| name != "witness");
        let mut expected = self.expected.clone();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

/// What lies in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}
