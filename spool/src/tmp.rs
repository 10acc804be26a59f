//! Things in the making: locked while their maker lives, so that what is unlocked in `tmp/` is left from a crash.

use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::layout::Layout;
use crate::lock::Lock;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file or directory in `tmp/` that is removed again unless it was moved away.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    handle: Lock,
    published: bool,
}

impl Draft {
    /// A new empty directory.
    pub fn directory(layout: &Layout) -> Result<Draft> {
        Draft::locked(layout, |path| {
            disk::make_dir(path)?;
            disk::open_dir(path).at("open", path)
        })
    }

    /// A new file with this content, durable but for its name.
    pub fn file(layout: &Layout, bytes: &[u8], mode: u32) -> Result<Draft> {
        let draft = Draft::locked(layout, |path| disk::create_new(path, mode))?;
        let mut handle: &File = draft.handle();
        std::io::Write::write_all(&mut handle, bytes).at("write", &draft.path)?;
        draft.handle.sync_data().at("sync", &draft.path)?;
        Ok(draft)
    }

    /// A new empty file to be written through [`Draft::handle`].
    pub fn empty_file(layout: &Layout, mode: u32) -> Result<Draft> {
        Draft::locked(layout, |path| disk::create_new(path, mode))
    }

    /// A sweep may take the entry between its making and its lock; then another one is made.
    fn locked(layout: &Layout, make: impl Fn(&Path) -> Result<File>) -> Result<Draft> {
        for _ in 0..100 {
            let path = fresh_path(layout);
            let handle = match make(&path) {
                // A directory that went between its making and its opening; where tmp/ itself is gone, there is an end.
                Err(e) if e.kind() == Kind::NoInput && layout.tmp().is_dir() => continue,
                made => made?,
            };
            if let Some(handle) = Lock::try_alone(handle)
                && handle.metadata().is_ok_and(|meta| meta.nlink() > 0)
                && path.exists()
            {
                return Ok(Draft { path, handle, published: false });
            }
        }
        Err(Error::new(Kind::Internal, "nothing can be kept in tmp/ for long enough to lock it"))
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file or directory.
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// What to say when somebody has removed it meanwhile: nothing was published.
    pub fn vanished(&self) -> Error {
        Error::new(Kind::Internal, format!("{} was removed while it was made", self.path.display()))
    }

    /// It has another name now, so `tmp/` need not be cleaned of it.
    pub fn published(mut self) {
        self.published = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            let _ = disk::remove_tree(&self.path);
        }
    }
}

/// A name in `tmp/` that no other process uses.
pub fn fresh_path(layout: &Layout) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The time keeps a later process with the same number from meeting what an earlier one left.
    let now = crate::clock::now().as_millisecond();
    layout.tmp().join(format!("{}.{now}.{count}", std::process::id()))
}

/// Replaces or makes a file atomically. Its content is durable on return, its name is not.
pub fn put_file(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = Draft::file(layout, bytes, 0o644)?;
    disk::rename_over(draft.path(), path)?;
    draft.published();
    Ok(())
}

/// Replaces or makes a file atomically, and not durably: a power cut may leave it empty, or as it was.
pub fn put_file_unsynced(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = Draft::empty_file(layout, 0o644)?;
    std::io::Write::write_all(&mut draft.handle(), bytes).at("write", draft.path())?;
    disk::rename_over(draft.path(), path)?;
    draft.published();
    Ok(())
}

/// Replaces or makes a file atomically and durably.
pub fn replace_file(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<()> {
    put_file(layout, path, bytes)?;
    disk::sync_dir(path.parent().unwrap_or(layout.root()))
}

/// Replaces or makes a symbolic link atomically and durably.
pub fn replace_symlink(layout: &Layout, path: &Path, target: &Path) -> Result<()> {
    // It can't be locked: a sweep that takes it before it has its name makes this fail, and nothing else.
    let draft = fresh_path(layout);
    disk::symlink(target, &draft)?;
    disk::rename_over(&draft, path)?;
    disk::sync_dir(path.parent().unwrap_or(layout.root()))
}

/// Replaces or makes files atomically, each. Durable as soon as the system gets to it, or at once when there
/// are few; until then a power cut may leave one empty or as it was.
pub fn replace_files(layout: &Layout, files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    if files.len() <= disk::FEW {
        return files.iter().try_for_each(|(path, bytes)| replace_file(layout, path, bytes));
    }
    files.iter().try_for_each(|(path, bytes)| put_file_unsynced(layout, path, bytes))
}

/// Moves a tree out of sight into `tmp/`, durably, and then removes it; a crash in between leaves it to the sweep.
pub fn discard(layout: &Layout, path: &Path, parent: &Path) -> Result<bool> {
    let target = fresh_path(layout);
    if disk::rename_new(path, &target)? != disk::Moved::Yes {
        return Ok(false);
    }
    disk::sync_dir(parent)?;
    disk::remove_tree(&target)?;
    Ok(true)
}

/// Removes from `tmp/` whatever no living process is making. Returns how many entries went.
pub fn sweep(layout: &Layout) -> Result<usize> {
    let mut removed = 0;
    for name in disk::names(&layout.tmp())? {
        let path = layout.tmp().join(name);
        if let Some(_lock) = seize(&path) {
            disk::remove_tree(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether nobody is making this any more.
pub(crate) fn is_left_over(path: &Path) -> bool {
    seize(path).is_some()
}

/// Locks what nobody is making any more. The lock must be held until it is removed: somebody may have made it a moment ago
/// and come to the lock only now. What is neither a file nor a directory has none.
fn seize(path: &Path) -> Option<Option<Lock>> {
    let meta = path.symlink_metadata().ok()?;
    if !meta.is_dir() && !meta.is_file() {
        return Some(None);
    }
    Lock::try_alone(File::open(path).ok()?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Moved;
    use crate::spool::Spool;
    use std::sync::atomic::AtomicBool;

    /// What was made while a sweep went by is there to be published.
    #[test]
    fn a_sweep_takes_nothing_from_who_is_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sweeper = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    sweep(spool.layout()).unwrap();
                }
            });
            let target = dir.path().join("published");
            let publish = || {
                let draft = Draft::empty_file(spool.layout(), 0o644).unwrap();
                let moved = disk::rename_new(draft.path(), &target).unwrap();
                draft.published();
                disk::remove_file(&target).unwrap();
                moved
            };
            let taken = (0..50_000).find(|_| publish() != Moved::Yes);
            over.store(true, Ordering::SeqCst);
            sweeper.join().unwrap();
            assert_eq!(taken, None);
        });
    }
}
