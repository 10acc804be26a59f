//! Locks of flock(2) on files and directories. One goes when it is dropped, and with its process however that dies.
//!
//! Closing alone would not do: a process that is being forked somewhere in this one has all handles of it, and with them its
//! locks, until it has become another program. So each is let go of by name.

#![allow(clippy::disallowed_methods)]

use crate::error::{At, Result};
use fs2::FileExt;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

/// How often somebody who only looks is waited for, and how long each time.
const LOOKS: u32 = 20;
const A_LOOK: Duration = Duration::from_millis(10);

/// An open file or directory that is locked.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// For itself alone, or nothing when somebody has it.
    pub fn try_alone(file: File) -> Option<Lock> {
        FileExt::try_lock_exclusive(&file).is_ok().then_some(Lock(file))
    }

    /// As [`Lock::try_alone`], when nobody else has it alone. Who asks whether somebody has it shares it for an instant, and is
    /// waited for.
    pub fn try_despite_lookers(file: File) -> Option<Lock> {
        for _ in 0..LOOKS {
            if FileExt::try_lock_exclusive(&file).is_ok() {
                return Some(Lock(file));
            }
            if is_taken(&file) {
                return None;
            }
            std::thread::sleep(A_LOOK);
        }
        None
    }

    /// For itself alone, after everybody who has it.
    pub fn alone(file: File, path: &Path) -> Result<Lock> {
        FileExt::lock_exclusive(&file).at("lock", path)?;
        Ok(Lock(file))
    }

    /// With others who share it, after who has it alone.
    pub fn shared(file: File, path: &Path) -> Result<Lock> {
        FileExt::lock_shared(&file).at("lock", path)?;
        Ok(Lock(file))
    }
}

impl Deref for Lock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = FileExt::unlock(&self.0);
    }
}

/// Whether somebody has this for himself alone. It must not be locked by this very handle.
pub fn is_taken(file: &File) -> bool {
    // Nobody can share what somebody has alone.
    if FileExt::try_lock_shared(file).is_err() {
        return true;
    }
    let _ = FileExt::unlock(file);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clone shares the lock, as the handle does that a forked process has.
    #[test]
    fn what_is_let_go_of_is_free_though_a_forked_process_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let looked = open();
        let takes: [fn(File) -> Option<Lock>; 3] =
            [Lock::try_alone, Lock::try_despite_lookers, |file| Lock::alone(file, Path::new("it")).ok()];
        for take in takes {
            assert!(!is_taken(&looked));
            let lock = take(open()).expect("nobody has it, whoever has looked");
            let forked = lock.try_clone().unwrap();
            assert!(is_taken(&looked));
            drop(lock);
            assert!(!is_taken(&looked), "it is free");
            drop(forked);
        }
    }
}
