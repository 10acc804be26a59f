//! Where it is measured.

use harness::{Finished, Lab};
use std::path::PathBuf;
use std::process::Command;

/// The place and the patience of a run.
pub struct Site {
    /// Where spools are made.
    pub dir: PathBuf,
    /// How often each measurement is repeated.
    pub rounds: usize,
}

impl Site {
    /// A spool here, with the configuration that a server has by default.
    pub fn lab(&self) -> Lab {
        let lab = Lab::below(&self.dir);
        std::fs::write(lab.config(), "").expect("a configuration");
        lab
    }

    /// One line: cores, kernel, file system.
    pub fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut findmnt = Command::new("findmnt");
        let mounted = Finished::of(findmnt.args(["-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T"]).arg(&self.dir)).stdout;
        let words: Vec<&str> = mounted.split_whitespace().collect();
        let weakness = spool::durability::weakness(&self.dir).map_or("", |_| ", which loses what was synced");
        format!("{cores} cores, Linux {kernel}, {}{weakness}, {} rounds\n", words.join(" "), self.rounds)
    }
}
