//! Looking at what lies in a spool without trusting any of it: nothing is opened before it is known to be a file.

use super::finding::{Cure, Finding, Invariant};
use crate::digest::Sha256;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::layout::Layout;
use crate::spool::Spool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// No record is longer than this, in bytes.
const LONGEST: u64 = 1 << 30;

/// What something has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A directory, mode 0755.
    Directory,
    /// A file, mode 0644.
    File,
    /// A file that only the owner reads, mode 0600.
    Private,
    /// A content of the store or a link to it, mode 0444.
    Content,
    /// A socket, whose mode is its maker's affair.
    Socket,
    /// A symbolic link, which has no mode.
    Link,
}

impl Shape {
    fn word(self) -> &'static str {
        match self {
            Shape::Directory => "a directory",
            Shape::Socket => "a socket",
            Shape::Link => "a symlink",
            _ => "a file",
        }
    }

    fn mode(self) -> Option<u32> {
        match self {
            Shape::Directory => Some(0o755),
            Shape::File => Some(0o644),
            Shape::Private => Some(0o600),
            Shape::Content => Some(0o444),
            Shape::Socket | Shape::Link => None,
        }
    }

    fn fits(self, meta: &Metadata) -> bool {
        match self {
            Shape::Directory => meta.is_dir(),
            Shape::Socket => meta.file_type().is_socket(),
            Shape::Link => meta.is_symlink(),
            _ => meta.is_file(),
        }
    }
}

/// Whether a path from the root on goes through directories only, and so stays within the spool.
pub fn is_real(layout: &Layout, dir: &Path) -> bool {
    let below = dir.ancestors().take_while(|above| *above != layout.root());
    dir.starts_with(layout.root())
        && below.into_iter().all(|one| one.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
}

fn entry(path: &Path) -> Result<Option<Entry>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let meta = unless_absent(path.symlink_metadata()).at("look at", path)?;
    Ok(meta.map(|meta| Entry { path: path.to_owned(), name, meta }))
}

/// Nothing for what is gone or can't be reached.
fn unless_absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match result {
        Err(e) if matches!(e.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(None),
        other => other.map(Some),
    }
}

fn what_it_is(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_symlink() => "a symlink",
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_socket() => "a socket",
        () if kind.is_fifo() => "a fifo",
        () => "a device",
    }
}

/// Something in a directory, as it was when it was looked at; symlinks are not followed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// What it is called; a name that is not UTF-8 has U+FFFD in it, and fits nothing.
    pub name: String,
    /// What it is.
    pub meta: Metadata,
}

impl Entry {
    /// Device and inode: what a hard link shares.
    pub fn identity(&self) -> (u64, u64) {
        (self.meta.dev(), self.meta.ino())
    }
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Builds, wherever they are.
    pub builds: usize,
    /// Jobs.
    pub jobs: usize,
    /// Workers that were added.
    pub workers: usize,
    /// Contents of the store.
    pub contents: usize,
    /// Those of them that nothing links to; builderd removes them.
    pub garbage: usize,
    /// Leftovers in `tmp/` and `cancel/`; builderd removes them.
    pub leftovers: usize,
}

/// What one look has found out and the next need not again. That of one spool is of use for another one that has the same
/// builds.
#[derive(Debug, Default)]
pub struct Memory {
    /// Digests by device, inode, size and time of change: a content that is linked often is read once.
    digests: BTreeMap<(u64, u64, u64, i64, i64), Sha256>,
    /// Seals whose signatures fit: of each the digest of both together.
    pub(super) good_seals: BTreeSet<Sha256>,
}

/// A look at a spool, and what it has found so far.
pub struct Eye<'s> {
    /// The spool.
    pub spool: &'s Spool,
    /// Whether contents are read.
    pub deep: bool,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// What there is.
    pub counts: Counts,
    /// Objects of the store that are not what their name says, by identity.
    pub rotten: BTreeSet<(u64, u64)>,
    owner: u32,
    /// What is known from before.
    pub memory: Memory,
    /// The directory that was found to be within the spool last.
    real: RefCell<PathBuf>,
}

impl<'s> Eye<'s> {
    /// A fresh look; what was hashed before need not be hashed again.
    pub fn new(spool: &'s Spool, deep: bool, memory: Memory) -> Result<Eye<'s>> {
        let (owner, _) = spool.owner()?;
        let (found, counts, rotten) = (Vec::new(), Counts::default(), BTreeSet::new());
        Ok(Eye { spool, deep, found, counts, rotten, owner, memory, real: RefCell::default() })
    }

    /// The maker of paths.
    pub fn layout(&self) -> &'s Layout {
        self.spool.layout()
    }

    /// Ends the look.
    pub fn into_parts(self) -> (Vec<Finding>, Counts, Memory) {
        (self.found, self.counts, self.memory)
    }

    /// Notes that something is wrong.
    pub fn find(&mut self, invariant: Invariant, path: &Path, wrong: impl Into<String>, cure: Cure) {
        self.found.push(Finding { invariant, path: path.to_owned(), wrong: wrong.into(), cure });
    }

    /// Notes that something is not what it must be, and belongs out of the way.
    pub fn damaged(&mut self, invariant: Invariant, path: &Path, wrong: impl Into<String>) {
        self.find(invariant, path, wrong, Cure::SetAside(path.to_owned()));
    }

    /// Notes something that the layout does not list.
    pub fn foreign(&mut self, entry: &Entry) {
        self.damaged(Invariant::Listed, &entry.path, format!("{} that is not listed here", what_it_is(&entry.meta)));
    }

    /// What lies in a directory, by name. A directory that is none, is gone, or can't be entered has nothing; why that
    /// is so is found elsewhere.
    pub fn entries(&self, dir: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let meta = unless_absent(dir.symlink_metadata()).at("look at", dir)?;
        let stays = || dir == self.layout().root() || dir.parent().is_some_and(|parent| self.is_real(parent));
        if !meta.is_some_and(|meta| meta.is_dir()) || !stays() {
            return Ok(entries);
        }
        for name in unless_absent(std::fs::read_dir(dir)).at("read", dir)?.into_iter().flatten() {
            entries.extend(entry(&name.at("read", dir)?.path())?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// What lies at a path; nothing when there is nothing.
    pub fn entry(&self, path: &Path) -> Result<Option<Entry>> {
        match path.parent().is_some_and(|parent| self.is_real(parent)) {
            true => entry(path),
            false => Ok(None),
        }
    }

    /// As [`is_real`]. What lies in one directory is asked about one after the other, so the last answer is kept.
    pub fn is_real(&self, dir: &Path) -> bool {
        let known = *self.real.borrow() == dir;
        if !known && is_real(self.layout(), dir) {
            self.real.replace(dir.to_owned());
            return true;
        }
        known
    }

    /// Whether something is of this shape, ours, and has its mode. False when there is no sense in looking into it.
    pub fn fits(&mut self, entry: &Entry, shape: Shape) -> bool {
        // A symlink goes away whoever it belongs to; a directory can be moved by its owner only.
        if entry.meta.uid() != self.owner && !entry.meta.is_symlink() {
            let (theirs, owner) = (entry.meta.uid(), self.owner);
            let cure = Cure::Human(format!(
                "as the superuser say `chown -h {owner} {}`, if you trust it",
                entry.path.display()
            ));
            self.find(Invariant::Owned, &entry.path, format!("it belongs to user {theirs}, not to user {owner}"), cure);
            return false;
        }
        if !shape.fits(&entry.meta) {
            let wrong = format!("{} in the place of {}", what_it_is(&entry.meta), shape.word());
            self.damaged(Invariant::Listed, &entry.path, wrong);
            return false;
        }
        if let Some(mode) = shape.mode()
            && entry.meta.mode() & 0o7777 & !0o2000 != mode
        {
            let wrong = format!("its mode is {:04o}, not {mode:04o}", entry.meta.mode() & 0o7777);
            self.find(Invariant::Open, &entry.path, wrong, Cure::Mode(mode));
        }
        true
    }

    /// The content of a file that fits; nothing when it is gone, or can't be opened, which its mode tells, or read.
    pub fn bytes(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        match disk::read_if_there(&entry.path, LONGEST) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == Kind::NoPermission => None,
            Err(e) => {
                self.unreadable(entry, &e);
                None
            }
        }
    }

    /// A failing disk must not keep a check from what can be read.
    fn unreadable(&mut self, entry: &Entry, why: &Error) {
        let cure = Cure::Human("the disk may be failing: copy the spool to another one while it can be read".into());
        self.find(Invariant::Content, &entry.path, why.to_string(), cure);
    }

    /// A record that can be read; why it can't is noted, with what is to be done about it.
    pub fn record<T: DeserializeOwned>(&mut self, entry: &Entry, invariant: Invariant, cure: Cure) -> Option<T> {
        let bytes = self.bytes(entry)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text".to_owned());
        match text.and_then(|text| toml::from_str(text).map_err(|e| e.message().replace('\n', " "))) {
            Ok(record) => Some(record),
            Err(why) => {
                let why = if bytes.is_empty() { "it is empty".to_owned() } else { format!("it can't be read: {why}") };
                self.find(invariant, &entry.path, why, cure);
                None
            }
        }
    }

    /// The digest of a file; nothing when it is gone, or can't be opened or read.
    pub fn digest(&mut self, entry: &Entry) -> Option<Sha256> {
        let meta = &entry.meta;
        let key = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        if let Some(known) = self.memory.digests.get(&key) {
            return Some(*known);
        }
        let read = unless_absent(File::open(&entry.path)).and_then(|file| file.map(Sha256::of_reader).transpose());
        match read.at("read", &entry.path) {
            Ok(read) => read.map(|(digest, _)| *self.memory.digests.entry(key).or_insert(digest)),
            Err(e) => {
                self.unreadable(entry, &e);
                None
            }
        }
    }

    /// Looks at something that may move on meanwhile: what is found counts only when it is still there, the same.
    pub fn steadily(&mut self, entry: &Entry, look: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = self.found.len();
        look(self)?;
        let still = entry.path.symlink_metadata().is_ok_and(|now| disk::same_file(&now, &entry.meta));
        if !still {
            self.found.truncate(before);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_does_not_give_is_a_finding_and_the_check_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let mut eye = Eye::new(&spool, true, Memory::default()).unwrap();
        // A directory opens as a file does, and can't be read as one.
        let entry = eye.entry(&spool.layout().jobs()).unwrap().unwrap();
        assert_eq!((eye.digest(&entry), eye.bytes(&entry)), (None, None));
        assert_eq!(eye.found.len(), 2);
        assert!(eye.found.iter().all(|one| one.wrong.starts_with("can't read ") && !one.cure.is_known()));
    }
}
