//! Room on the spool's file system, and the reserve that nothing new may use.
//!
//! Below the reserve nothing is added, queued or handed out, and running builds get no room for their console and their
//! artifacts. What is left is for ends and removals: so builds get to their ends on a disk that is full for everything
//! else, and a disk gets room again. It is asked for, not set aside: others who write on the same file system can use
//! it up, and then an end waits until it can be written.

use crate::error::{At, Error, Kind, Result};
use crate::spool::Spool;
use crate::tmp::Draft;
use crate::upload::Area;
use rustix::fs::StatVfs;
use serde::Serialize;
use std::io;
use std::time::Duration;

/// What is kept free, at the most: no more than a sixteenth of a small file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

impl Default for Reserve {
    fn default() -> Reserve {
        Reserve { bytes: 64 << 20, inodes: 1000 }
    }
}

/// The spool's file system.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// Bytes altogether.
    pub bytes: u64,
    /// Those that the spool's owner can use.
    pub free_bytes: u64,
    /// Inodes altogether; 0 where none are counted.
    pub inodes: u64,
    /// Those that the spool's owner can use.
    pub free_inodes: u64,
    /// Why nothing new is begun, when only the reserve is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
}

/// What is free, and what there is altogether; a file system that counts no inodes has none altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    all_bytes: u64,
    inodes: u64,
    all_inodes: u64,
}

impl Room {
    fn of(stat: &StatVfs) -> Room {
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Room {
            bytes: bytes(stat.f_bavail),
            all_bytes: bytes(stat.f_blocks),
            inodes: stat.f_favail,
            all_inodes: stat.f_files,
        }
    }

    /// What is short, in a few words; nothing when there is room.
    fn is_short(self, reserve: Reserve) -> Option<String> {
        let bytes = reserve.bytes.min(self.all_bytes / 16);
        let inodes = reserve.inodes.min(self.all_inodes / 16);
        if self.bytes < bytes {
            return Some(format!("{} kB are free, and {} kB are kept", self.bytes / 1000, bytes / 1000));
        }
        (self.inodes < inodes).then(|| format!("{} inodes are free, and {inodes} are kept", self.inodes))
    }
}

impl Spool {
    /// How much there is, and is free.
    pub fn disk(&self) -> Result<Disk> {
        let root = self.layout().root();
        let room = Room::of(&rustix::fs::statvfs(root).at("look at", root)?);
        Ok(Disk {
            bytes: room.all_bytes,
            free_bytes: room.bytes,
            inodes: room.all_inodes,
            free_inodes: room.inodes,
            short: room.is_short(self.reserve()),
        })
    }

    /// Makes sure that there is room for more than ends and removals.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when there is not.
    pub fn make_sure_of_room(&self) -> Result<()> {
        let root = self.layout().root();
        let stat = rustix::fs::statvfs(root).at("look at", root)?;
        match Room::of(&stat).is_short(self.reserve()) {
            None => Ok(()),
            Some(short) => Err(Error::new(
                Kind::TryAgain,
                format!("the file system of {} is full: {short} for builds to end", root.display()),
            )
            .hint("make room on that file system and try again")),
        }
    }
}

impl Spool {
    /// Whether a build can get to its end, as far as room goes: as much is written as an end writes, and more.
    pub fn has_room_for_an_end(&self) -> bool {
        !Draft::file(self.layout(), &[0; 64 << 10], 0o600).is_err_and(|e| e.kind() == Kind::TryAgain)
    }
}

/// How often somebody who waits for room looks.
pub const LOOK: Duration = Duration::from_millis(500);

impl Area {
    /// Whether there is room for more.
    pub fn has_room(&self, reserve: Reserve) -> io::Result<bool> {
        Ok(Room::of(&rustix::fs::fstatvfs(&self.directory)?).is_short(reserve).is_none())
    }

    /// Waits until there is. Whether the build waits as well is for its server to say.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the area is removed meanwhile, because the build is over.
    pub fn wait_for_room(&self, reserve: Reserve) -> io::Result<()> {
        loop {
            if self.has_room(reserve)? {
                return Ok(());
            }
            if rustix::fs::fstat(&self.directory)?.st_nlink == 0 {
                return Err(io::ErrorKind::NotFound.into());
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_of_bytes_and_inodes_and_small_disks_keep_less() {
        let reserve = Reserve { bytes: 100_000, inodes: 100 };
        let large = Room { bytes: 100_000, all_bytes: 10_000_000, inodes: 100, all_inodes: 10_000 };
        let short = |room: Room| room.is_short(reserve);
        assert_eq!(short(large), None);
        assert_eq!(short(Room { bytes: 99_999, ..large }).as_deref(), Some("99 kB are free, and 100 kB are kept"));
        assert_eq!(short(Room { inodes: 99, ..large }).as_deref(), Some("99 inodes are free, and 100 are kept"));
        assert_eq!(short(Room { bytes: 1_000, all_bytes: 16_000, ..large }), None);
        assert!(short(Room { bytes: 999, all_bytes: 16_000, ..large }).is_some());
        // btrfs counts no inodes, and a tmpfs without a size no blocks.
        assert_eq!(short(Room { inodes: 0, all_inodes: 0, ..large }), None);
        assert_eq!(short(Room { bytes: 0, all_bytes: 0, ..large }), None);
        assert_eq!(Room { bytes: 0, inodes: 0, ..large }.is_short(Reserve { bytes: 0, inodes: 0 }), None);
    }
}
