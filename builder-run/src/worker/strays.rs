//! What a script leaves running, wherever in the process tree it hid.
//!
//! On Linux the worker is the reaper of its orphans (prctl(2), PR_SET_CHILD_SUBREAPER): whoever lost its
//! parent becomes the worker's child, and can be told by that. Elsewhere the process group has to do.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The worker's own children, who are to stay.
#[derive(Default)]
pub struct Household {
    ours: Mutex<BTreeSet<i32>>,
}

impl Household {
    /// Takes the orphans in from now on; whoever is there now belongs to the house.
    pub fn open(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        *self.members() = children();
    }

    /// These belong to the house, too.
    pub fn take_in(&self, processes: &[u32]) {
        self.members().extend(processes.iter().filter_map(|pid| i32::try_from(*pid).ok()));
    }

    fn members(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills and reaps everybody else, until nobody is left. That may meet an ssh that is about to connect, which is
    /// then tried again.
    pub fn turn_out(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let strays: Vec<i32> = children().difference(&self.members()).copied().collect();
            if strays.is_empty() || Instant::now() > deadline {
                return;
            }
            for pid in strays.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn children() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    found
}

#[cfg(not(target_os = "linux"))]
fn children() -> BTreeSet<i32> {
    BTreeSet::new()
}
