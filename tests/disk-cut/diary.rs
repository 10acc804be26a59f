//! When what was promised, by the steps of the record.

use harness::power::{DIARY, Promise};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A promise that was given or taken back.
pub struct Entry {
    /// Given: no later than after so many steps. Taken back: no earlier.
    pub at: usize,
    /// Whether it was given.
    pub given: bool,
    /// What.
    pub promise: Promise,
}

/// Reads along in the diary of a life.
pub struct Reader {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Entry>>,
}

impl Reader {
    /// Begins; `steps` says how many there are now.
    pub fn start(directory: PathBuf, steps: impl Fn() -> usize + Send + 'static) -> Reader {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let thread = std::thread::spawn(move || {
            let (mut entries, mut before) = (Vec::new(), 0);
            loop {
                // In this order: what is written after it was over is not missed.
                let over = until.load(Ordering::SeqCst);
                let written = std::fs::read_to_string(directory.join(DIARY)).unwrap_or_default();
                let now = steps();
                let whole = written.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                for line in whole.skip(entries.len()) {
                    let words: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
                    let given = words[1] == "+";
                    let promise = words[2].parse().expect("a promise");
                    entries.push(Entry { at: if given { now } else { before }, given, promise });
                }
                if over {
                    return entries;
                }
                before = now;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Reader { over, thread }
    }

    /// Ends, and returns all of it.
    pub fn finish(self) -> Vec<Entry> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("a diary that can be read")
    }
}

/// What is promised after so many steps.
pub fn promised(entries: &[Entry], moment: usize) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    for entry in entries {
        match entry.given {
            true if entry.at <= moment => promises.push(entry.promise.clone()),
            true => {}
            // Once somebody may have begun to break it, it counts no more, whenever it was given.
            false if entry.at <= moment => promises.retain(|promise| *promise != entry.promise),
            false => {}
        }
    }
    promises
}
