//! What tells whether a directory is as it was.

use jiff::{SignedDuration, Timestamp};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// For so long a directory must have been left alone: file systems note times no finer than to the second.
pub const SETTLED: SignedDuration = SignedDuration::from_secs(2);

/// A directory's identity and when its names last changed: another one after each change. Two changes within the grain of
/// the file system's clock look the same, so a stamp tells something only once it is [`Stamp::is_settled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The inode.
    pub inode: i64,
    /// When names came or went, in nanoseconds since 1970.
    pub modified: i64,
    /// The same of anything about it; nobody can set this one back.
    pub changed: i64,
    /// Its link count: many file systems count the directories in it.
    pub links: i64,
}

impl Stamp {
    /// A directory's stamp now; nothing when it is not there.
    pub fn of(dir: &Path) -> Option<Stamp> {
        let meta = dir.symlink_metadata().ok().filter(|meta| meta.is_dir())?;
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Some(Stamp {
            inode: meta.ino() as i64,
            modified: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            links: meta.nlink() as i64,
        })
    }

    /// Whether a change at `now` or later can't leave the same stamp.
    pub fn is_settled(&self, now: Timestamp) -> bool {
        let newest = Timestamp::from_nanosecond(self.modified.max(self.changed).into()).unwrap_or(Timestamp::MAX);
        now.duration_since(newest) >= SETTLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_stamp_settles_with_time_and_a_change_gives_another() {
        let dir = tempfile::tempdir().unwrap();
        let before = Stamp::of(dir.path()).unwrap();
        let now = clock::now();
        assert!(!before.is_settled(now) && before.is_settled(now + SETTLED + SETTLED));
        assert!(!before.is_settled(now - SETTLED), "a clock that was set back settles nothing");
        // A hand can set one of the times back, and not the other.
        let mut names = 0..1_000_000;
        while Stamp::of(dir.path()).unwrap().changed == before.changed {
            std::fs::create_dir(dir.path().join(names.next().unwrap().to_string())).unwrap();
        }
        let meta = std::fs::File::open(dir.path()).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(before.modified as u64);
        meta.set_modified(old).unwrap();
        let after = Stamp::of(dir.path()).unwrap();
        assert_eq!(after.modified, before.modified);
        assert_ne!(after, before);
        assert_eq!(Stamp::of(&dir.path().join("missing")), None);
    }
}
