//! The system calls that change a spool, each with what it guarantees.
//!
//! Nothing else in builder renames, links, removes or syncs within a spool.
#![allow(clippy::disallowed_methods)]

use crate::error::{At, Result};
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// More new files than this are made durable by one syncfs(2) instead of an fsync(2) each.
pub(crate) const FEW: usize = 8;

/// What a no-replace operation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It was carried out.
    Yes,
    /// The source is gone: somebody else was first.
    SourceGone,
    /// The target is there already; nothing was changed.
    TargetExists,
}

/// Opens a directory, for locking, syncing or as a base; never follows a last symlink.
pub fn open_dir(path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

/// Makes the entries of a directory durable. Says nothing about the content of the files in it.
pub fn sync_dir(path: &Path) -> Result<()> {
    open_dir(path).at("open", path)?.sync_all().at("sync", path)
}

/// Makes the content of an open file durable. Says nothing about its name.
pub fn sync_content(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Writes a file that must not exist yet. Its content is durable on return, its name is not.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = create_new(path, mode)?;
    file.write_all(bytes).at("write", path)?;
    file.sync_data().at("sync", path)
}

/// Creates a file that must not exist yet, readable and writable, and not durable.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode);
    options.open(path).at("create", path)
}

/// Gives an open file another content. Nothing is durable, and a crash leaves any part of it.
pub fn overwrite(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(bytes)
}

/// Opens a file for adding to its end, and makes it when it is missing. Nothing is durable.
pub fn open_for_appending(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new().append(true).create(true).mode(mode).open(path).at("open", path)
}

/// Sets permissions. False when there is nothing, or a symlink, which is never followed.
pub fn set_mode(path: &Path, mode: u32) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_symlink() => {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).at("set the mode of", path)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Opens a file whose lock is what matters, and makes it when it is missing.
pub fn open_lock_file(path: &Path) -> Result<File> {
    lock_file(path, 0o644)
}

/// As [`open_lock_file`], for a lock that nobody but the owner can take.
pub fn open_private_lock_file(path: &Path) -> Result<File> {
    lock_file(path, 0o600)
}

fn lock_file(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(mode);
    options.open(path).at("open", path)
}

/// Makes a directory; one that exists is fine. Says whether it is new (and its parent needs a sync).
pub fn make_dir(path: &Path) -> Result<bool> {
    make_dir_with(path, 0o755)
}

/// As [`make_dir`], with these permissions at the most: the umask takes some away.
pub fn make_dir_with(path: &Path, mode: u32) -> Result<bool> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(e) => Err(e).at("create", path),
    }
}

/// Makes a directory below an existing one, durably. One that is there and empty may have been made just now by somebody
/// else, who has not got to the sync yet; whoever puts something in has.
pub fn make_dir_synced(path: &Path) -> Result<()> {
    if (make_dir(path)? || is_empty_dir(path))
        && let Some(parent) = path.parent()
    {
        sync_dir(parent)?;
    }
    Ok(())
}

/// Renames without ever replacing anything: whoever is first wins. Not durable before the parents are synced.
pub fn rename_new(from: &Path, to: &Path) -> Result<Moved> {
    match rename_noreplace(from, to) {
        Ok(()) => Ok(Moved::Yes),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Moved::TargetExists),
        Err(Errno::NOENT) if from.symlink_metadata().is_err() => Ok(Moved::SourceGone),
        Err(e) => Err(e).at("move a build to", to),
    }
}

fn rename_noreplace(from: &Path, to: &Path) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        other => return other,
    }
    // Without renameat2: a directory never replaces one that has content, and all of ours have.
    // For a file, a link is the operation that never replaces.
    if from.is_dir() {
        rustix::fs::rename(from, to)
    } else {
        rustix::fs::link(from, to)?;
        rustix::fs::unlink(from)
    }
}

/// Renames over whatever is there. Atomic; not durable before the parent is synced.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).at("replace", to)
}

/// What [`link`] met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// The name is there now.
    Yes,
    /// The source is gone.
    SourceGone,
    /// The file system allows no further link to this file (EMLINK), or none at all.
    Refused,
}

/// Gives a file a second name. Not durable before the parent is synced.
pub fn link(from: &Path, to: &Path) -> Result<Linked> {
    match rustix::fs::link(from, to) {
        Ok(()) => Ok(Linked::Yes),
        Err(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::OPNOTSUPP) => Ok(Linked::Refused),
        Err(Errno::NOENT) if from.symlink_metadata().is_err() => Ok(Linked::SourceGone),
        Err(e) => Err(e).at("link", to),
    }
}

/// Makes a symbolic link.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    rustix::fs::symlink(target, path).at("create", path)
}

/// Where a symbolic link leads; nothing when there is none.
pub fn link_target(path: &Path) -> Option<PathBuf> {
    std::fs::read_link(path).ok()
}

/// Removes a file; one that is gone is fine. Not durable.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

/// Removes a directory if it is empty; anything else is left alone without an error.
pub fn remove_dir_if_empty(path: &Path) {
    let _ = std::fs::remove_dir(path);
}

/// Removes a file or a directory with all below it, without following symlinks; what is gone is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let result = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

/// Whether two handles or paths are the same file.
pub fn same_file(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Lets the system begin to write a part of a file to the disk, so that there is less left for the sync at the
/// end. Guarantees nothing (sync_file_range(2)).
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
        // SAFETY: it takes numbers only, and the file is open.
        #[allow(unsafe_code)]
        unsafe {
            libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, length);
}

/// Makes everything on the spool's file system durable: one call instead of a sync for each of many files.
pub fn sync_all_of(path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let dir = open_dir(path).at("open", path)?;
        rustix::fs::syncfs(&dir).at("sync the file system of", path)
    }
    #[cfg(not(target_os = "linux"))]
    {
        walkdir::WalkDir::new(path).contents_first(true).into_iter().try_for_each(|entry| {
            let path = entry.map_err(io::Error::from).at("read", path)?.into_path();
            File::open(&path).at("open", &path)?.sync_all().at("sync", &path)
        })
    }
}

/// Whether nothing is in a directory; one that can't be read has nothing. Does not read all of a full one.
pub fn is_empty_dir(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// The names in a directory that are UTF-8; a missing directory has none.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    each_entry(path, |entry| names.extend(entry.file_name().into_string()))?;
    Ok(names)
}

fn each_entry(path: &Path, mut with: impl FnMut(&DirEntry)) -> Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).at("read", path),
    };
    for entry in entries {
        with(&entry.at("read", path)?);
    }
    Ok(())
}

/// As [`names`], in the order in which most file systems have what is behind them on the disk: who reads it all in another
/// order waits for the disk.
pub fn names_as_stored(path: &Path) -> Result<Vec<String>> {
    use std::os::unix::fs::DirEntryExt;
    let mut entries = Vec::new();
    each_entry(path, |entry| {
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((entry.ino(), name));
        }
    })?;
    entries.sort_unstable();
    Ok(entries.into_iter().map(|(_, name)| name).collect())
}

/// The content of a file, or nothing when it does not exist; longer than `limit` bytes is an error.
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use std::io::Read;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).at("read", path),
    };
    // Most of what is read here is small, and then one read is enough to have it all.
    let mut bytes = Vec::with_capacity(4096);
    file.take(limit + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge)).at("read", path);
    }
    Ok(Some(bytes))
}
