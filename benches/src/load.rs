//! Files that no store has seen before.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A directory of files of the same size.
pub struct Load {
    /// Where they are.
    pub dir: PathBuf,
    /// How many.
    pub files: usize,
    round: u64,
}

impl Load {
    /// Makes them.
    pub fn make(dir: PathBuf, files: usize, bytes: usize) -> Load {
        std::fs::create_dir(&dir).expect("a directory");
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for n in 0..files {
            let mut to = BufWriter::new(File::create(dir.join(n.to_string())).expect("a file"));
            for _ in 0..bytes / 8 {
                to.write_all(&noise.next().to_le_bytes()).expect("a file");
            }
            to.flush().expect("a file");
        }
        Load { dir, files, round: 0 }
    }

    /// Gives each of them a content that it never had.
    pub fn freshen(&mut self) {
        self.round += 1;
        for n in 0..self.files {
            let file = File::options().write(true).open(self.dir.join(n.to_string())).expect("a file");
            file.write_all_at(&self.round.to_le_bytes(), 0).expect("a file");
        }
    }
}

/// Numbers that do not compress (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
