//! Reading the records of finished builds, several at once, for who keeps the index.

use super::asking::short;
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::disk;
use crate::ended::{Known, Month};
use crate::error::{Kind, Result};
use crate::find::Build;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::spool::Spool;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

/// So many read at once: a few wait for the disk while others parse.
const READERS: usize = 4;

/// So many builds are handed over together, or fewer whose manifests list so many contents.
const TOGETHER: usize = 64;
const CONTENTS: usize = 100_000;

/// No manifest that is taken in is longer, in bytes.
const LONGEST: u64 = 1 << 28;

/// A content of the store by what a file's metadata say, so that one that many builds have is read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The numbers that manifests have in the index.
pub type Manifests = RwLock<HashMap<Identity, i64>>;

/// What is taken in of a build.
pub struct Taken {
    /// Which.
    pub id: BuildId,
    /// What its record says, and when it ended, in milliseconds since 1970; nothing when it can't be read.
    pub known: Option<(Known, i64)>,
    /// Its artifacts, if it has any.
    pub manifest: Option<Listed>,
}

/// A manifest.
pub enum Listed {
    /// It has this number.
    Known(i64),
    /// It may be new.
    New(Box<Contents>),
}

/// What a manifest lists.
pub struct Contents {
    /// Which file that was.
    pub identity: Identity,
    /// Its own digest.
    pub sha256: Sha256,
    /// The beginnings of the contents' digests.
    pub shorts: Vec<i64>,
}

/// Builds of a month that are to be read.
pub struct Reading<'r> {
    /// Where they are.
    pub spool: &'r Spool,
    /// When.
    pub month: &'r Month,
    /// Which.
    pub ids: &'r [BuildId],
    /// What need not be read.
    pub manifests: &'r Manifests,
    next: AtomicUsize,
    failed: AtomicUsize,
}

impl<'r> Reading<'r> {
    /// These, of which none has been read yet.
    pub fn new(spool: &'r Spool, month: &'r Month, ids: &'r [BuildId], manifests: &'r Manifests) -> Reading<'r> {
        Reading { spool, month, ids, manifests, next: AtomicUsize::new(0), failed: AtomicUsize::new(0) }
    }

    /// How many threads it is worth.
    pub fn readers(&self) -> usize {
        self.ids.len().div_ceil(TOGETHER).clamp(1, READERS)
    }

    /// How many of them the disk did not give.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Reads what nobody else has begun to read, and hands it over as long as somebody takes it.
    pub fn run(&self, to: &SyncSender<Vec<Taken>>) {
        loop {
            let start = self.next.fetch_add(TOGETHER, Ordering::Relaxed);
            let Some(some) = self.ids.get(start..self.ids.len().min(start + TOGETHER)) else { return };
            if some.is_empty() || !self.hand_over(some, to) {
                return;
            }
        }
    }

    fn hand_over(&self, some: &[BuildId], to: &SyncSender<Vec<Taken>>) -> bool {
        let (mut taken, mut contents) = (Vec::with_capacity(some.len()), 0);
        for id in some {
            match take(&self.spool.ended_build(id.clone(), self.month.end), self.manifests) {
                Ok(one) => {
                    contents += one.manifest.as_ref().map_or(0, Listed::contents);
                    taken.push(one);
                }
                Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            if contents > CONTENTS {
                contents = 0;
                if to.send(std::mem::take(&mut taken)).is_err() {
                    return false;
                }
            }
        }
        to.send(taken).is_ok()
    }
}

impl Listed {
    fn contents(&self) -> usize {
        match self {
            Listed::Known(_) => 0,
            Listed::New(contents) => contents.shorts.len(),
        }
    }
}

impl Identity {
    fn of(meta: &Metadata) -> Identity {
        Identity { inode: meta.ino(), size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

fn take(build: &Build<'_>, manifests: &Manifests) -> Result<Taken> {
    let known = unless_damaged(build.result())?.flatten().map(|result| {
        let finished = result.finished.as_millisecond();
        (Known::of(result), finished)
    });
    Ok(Taken { id: build.id.clone(), known, manifest: manifest(build, manifests)? })
}

fn manifest(build: &Build<'_>, manifests: &Manifests) -> Result<Option<Listed>> {
    let path = build.dir().join(file::MANIFEST);
    let Some(identity) = path.symlink_metadata().ok().map(|meta| Identity::of(&meta)) else { return Ok(None) };
    let number = manifests.read().ok().and_then(|known| known.get(&identity).copied());
    if let Some(number) = number {
        return Ok(Some(Listed::Known(number)));
    }
    let Some(bytes) = disk::read_if_there(&path, LONGEST)? else { return Ok(None) };
    let Some(manifest) = unless_damaged(Manifest::parse(&bytes))? else { return Ok(None) };
    let mut shorts: Vec<i64> = manifest.iter().map(|(_, sha256)| short(sha256)).collect();
    shorts.sort_unstable();
    shorts.dedup();
    Ok(Some(Listed::New(Box::new(Contents { identity, sha256: Sha256::of(&bytes), shorts }))))
}

/// What is damaged stays so until it is repaired; what the disk does not give may come another time.
fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(e) if e.kind() == Kind::Data => Ok(None),
        Err(e) => Err(e),
    }
}
