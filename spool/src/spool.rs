//! A spool: opening it, making it, and what is true of it as a whole.

use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::layout::{DIRECTORIES, Layout};
use crate::lock::{self, Lock};
use crate::room::Reserve;
use crate::store::Store;
use crate::tmp;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The version of the layout that this program writes.
pub const FORMAT: u32 = 1;

/// How many builds may wait on a platform, unless builder.toml says otherwise.
pub const LONGEST_QUEUE: usize = 100_000;

/// A spool directory that exists and has a format that this program knows.
#[derive(Clone, Debug)]
pub struct Spool {
    layout: Layout,
    longest_queue: usize,
    reserve: Reserve,
    indexed: bool,
}

/// What [`Spool::init`] met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// There was none.
    New,
    /// There was one, and it is whole now.
    Completed,
}

impl Spool {
    /// Opens a spool.
    ///
    /// # Errors
    /// [`Kind::NoInput`] when there is none, [`Kind::Config`] when its format is newer than this program.
    pub fn open(root: &Path) -> Result<Spool> {
        let layout = Layout::behind(resolved(root)?, absolute(root)?);
        let root = layout.root();
        let missing = |why: &str| {
            Error::new(Kind::NoInput, format!("there is no spool at {}{why}", root.display()))
                .hint("make one with `builder init`, or name another with --spool or BUILDER_SPOOL")
        };
        if !root.is_dir() {
            return Err(missing(""));
        }
        let number = || format!("write the format's number into it; this release has {FORMAT}");
        let format = disk::read_if_there(&layout.format(), 64).map_err(|e| match e.kind() {
            Kind::NoPermission => e,
            _ => e.hint(number()),
        })?;
        let Some(format) = format else { return Err(missing(": it has no file `format`")) };
        match std::str::from_utf8(&format).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            Some(number) if number <= FORMAT => Ok(Spool::at(layout)),
            Some(number) => Err(Error::new(
                Kind::Config,
                format!("the spool at {} has format {number}, newer than {FORMAT}", root.display()),
            )
            .hint("use the builder that made it, or a newer one")),
            None => {
                Err(Error::new(Kind::Config, format!("{} holds no number", layout.format().display())).hint(number()))
            }
        }
    }

    /// Makes a spool, or what an interrupted `init` left out of one. Durable on return.
    ///
    /// The root gets mode 0750 when it is made here, everything below is readable for all: whoever may
    /// enter the root may read it.
    pub fn init(root: &Path) -> Result<(Spool, Made)> {
        let layout = Layout::behind(resolved(root)?, absolute(root)?);
        let root = layout.root();
        let known = layout.format().exists();
        if known {
            Spool::open(root)?;
        }
        make_root(root)?;
        if !known && let Some(parent) = root.parent() {
            // Also when it was there: who made it may have died before that was durable.
            disk::sync_dir(parent)?;
        }
        for name in DIRECTORIES {
            disk::make_dir(&layout.directory(name))?;
        }
        for shard in layout.shards() {
            disk::make_dir(&shard)?;
        }
        disk::make_dir(&layout.index())?;
        for name in DIRECTORIES {
            disk::sync_dir(&layout.directory(name))?;
        }
        if !known {
            tmp::replace_file(&layout, &layout.format(), format!("{FORMAT}\n").as_bytes())?;
        }
        disk::sync_dir(root)?;
        Ok((Spool::at(layout), if known { Made::Completed } else { Made::New }))
    }

    /// The maker of this spool's paths.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The spool's content-addressed store.
    pub fn store(&self) -> Store<'_> {
        Store::new(&self.layout)
    }

    fn at(layout: Layout) -> Spool {
        Spool { layout, longest_queue: LONGEST_QUEUE, reserve: Reserve::default(), indexed: true }
    }

    /// The same spool with another limit for its queues.
    pub fn with_longest_queue(self, builds: usize) -> Spool {
        Spool { longest_queue: builds, ..self }
    }

    /// The same spool with another reserve.
    pub fn with_reserve(self, reserve: Reserve) -> Spool {
        Spool { reserve, ..self }
    }

    /// The same spool, of which every question is answered from the directories.
    pub fn without_index(self) -> Spool {
        Spool { indexed: false, ..self }
    }

    /// Whether questions are asked of the index first.
    pub(crate) fn uses_index(&self) -> bool {
        self.indexed
    }

    /// What is kept free on its file system.
    pub fn reserve(&self) -> Reserve {
        self.reserve
    }

    /// How many builds may wait on a platform.
    pub fn longest_queue(&self) -> usize {
        self.longest_queue
    }

    /// Takes the lock of those who claim builds; it goes when that is dropped. Nobody else can open it, so that
    /// no reader can hold it.
    pub(crate) fn lock_claims(&self) -> Result<Lock> {
        let path = self.layout.claim_lock();
        Lock::alone(disk::open_private_lock_file(&path)?, &path)
    }

    /// Takes the lock of those who change jobs or fire timers; it goes when that is dropped.
    pub fn lock_jobs(&self) -> Result<Lock> {
        lock_file(&self.layout.jobs_lock())
    }

    /// Takes the lock of those who add or remove workers; it goes when that is dropped.
    pub fn lock_workers(&self) -> Result<Lock> {
        lock_file(&self.layout.workers_lock())
    }

    /// Whether builderd serves it now, as far as this user can see.
    pub fn has_builderd(&self) -> bool {
        File::open(self.layout.daemon_lock()).is_ok_and(|file| lock::is_taken(&file))
    }

    /// The release of the builderd that runs, or of the last one; nothing when it has not said it.
    pub fn builderd_release(&self) -> Option<String> {
        let said = disk::read_if_there(&self.layout.daemon_lock(), 64).ok()??;
        String::from_utf8(said).ok().map(|said| said.trim().to_owned()).filter(|said| !said.is_empty())
    }

    /// Takes the daemon's lock, and notes its release; or says who has it.
    pub fn lock_daemon(&self) -> Result<Lock> {
        let file = disk::open_lock_file(&self.layout.daemon_lock())?;
        let lock = Lock::try_despite_lookers(file).ok_or_else(|| {
            Error::new(Kind::TryAgain, format!("another builderd serves {}", self.layout.root().display()))
                .hint("stop that one first")
        })?;
        // For people to see; a full disk stops no builderd.
        let _ = disk::overwrite(&lock, concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes());
        Ok(lock)
    }

    /// The user and group who own the spool.
    pub fn owner(&self) -> Result<(u32, u32)> {
        let meta = self.layout.root().metadata().at("look at", self.layout.root())?;
        Ok((meta.uid(), meta.gid()))
    }
}

fn lock_file(path: &Path) -> Result<Lock> {
    Lock::alone(disk::open_lock_file(path)?, path)
}

fn absolute(root: &Path) -> Result<PathBuf> {
    std::path::absolute(root).at("find", root)
}

/// Where a spool really is: its root may be a symlink, and nothing below it is followed. One that leads nowhere, or where
/// this user can't go, is left for others to complain of.
///
/// # Errors
/// When a relative path can't be completed.
pub fn resolved(root: &Path) -> Result<PathBuf> {
    let root = absolute(root)?;
    match root.is_symlink() {
        true => Ok(root.canonicalize().unwrap_or(root)),
        false => Ok(root),
    }
}

fn make_root(root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if root.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::CantCreate, format!("{} exists and is not a directory", root.display())));
    }
    if let Some(parent) = root.parent()
        && !parent.is_dir()
    {
        return Err(Error::new(Kind::CantCreate, format!("there is no directory {}", parent.display()))
            .hint("make it first, or name another spool with --spool"));
    }
    // Nobody may enter more than that, should this be the last step.
    if disk::make_dir_with(root, 0o750)? {
        disk::set_mode(root, 0o750)?;
    }
    Ok(())
}
