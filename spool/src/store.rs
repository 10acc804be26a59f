//! The content-addressed store: `store/sha256/ab/cdef…`, mode 0444, each content once.
//!
//! Publishers hold a shard's lock shared, the garbage collector exclusively: an object that a publisher has
//! found is still there when it is linked. An object that nothing else links to (link count 1) is garbage;
//! the count is only a hint for everything else.

use crate::digest::Sha256;
use crate::disk::{self, Linked, Moved};
use crate::error::{At, Error, Kind, Result};
use crate::layout::Layout;
use crate::lock::Lock;
use crate::tmp::Draft;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The permissions of a content.
pub(crate) const MODE: u32 = 0o444;

/// The store of one spool.
#[derive(Clone, Copy, Debug)]
pub struct Store<'a> {
    layout: &'a Layout,
}

/// What a collection of garbage has come to: objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What has gone.
    pub gone: (u64, u64),
    /// What is there still.
    pub kept: (u64, u64),
}

/// A shard whose objects can't be collected while this lives.
struct Shard<'a> {
    store: Store<'a>,
    lock: Lock,
}

impl<'a> Store<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Store<'a> {
        Store { layout }
    }

    /// The size in bytes of an object, or nothing when the store has not got it. Only a hint: it may go
    /// again, unless something links to it.
    pub fn size_of(&self, digest: &Sha256) -> Option<u64> {
        let meta = self.layout.object(digest).symlink_metadata().ok()?;
        meta.is_file().then_some(meta.len())
    }

    /// Keeps these bytes and gives them the name `to`. The bytes are durable on return, the name is not.
    pub fn keep(&self, bytes: &[u8], to: &Path) -> Result<Sha256> {
        let digest = Sha256::of(bytes);
        let shard = self.shard(&digest)?;
        if shard.link(&digest, to)? == Linked::Yes {
            return Ok(digest);
        }
        let draft = Draft::file(self.layout, bytes, MODE)?;
        shard.adopt(draft.path(), &digest, true)?;
        draft.published();
        match shard.link(&digest, to)? {
            Linked::Yes => Ok(digest),
            _ => Err(self.vanished(&digest)),
        }
    }

    /// Brings contents into the store, all made durable by one sync. Whoever keeps one later finds it there,
    /// unless it was collected as garbage meanwhile.
    pub fn bring(&self, contents: &[&[u8]]) -> Result<()> {
        let new: BTreeMap<Sha256, &[u8]> = contents.iter().map(|bytes| (Sha256::of(bytes), *bytes)).collect();
        let mut drafts = Vec::new();
        for (digest, bytes) in new {
            if self.size_of(&digest).is_none() {
                let draft = Draft::empty_file(self.layout, MODE)?;
                draft.handle().write_all(bytes).at("write", draft.path())?;
                drafts.push((digest, draft));
            }
        }
        if drafts.is_empty() {
            return Ok(());
        }
        disk::sync_all_of(self.layout.root())?;
        for (digest, draft) in drafts {
            self.adopt(draft.path(), &digest, false)?;
            draft.published();
        }
        Ok(())
    }

    /// Moves a complete file of known content into the store. The file must be durable already, unless
    /// `sync` is false and the caller makes the whole file system durable before it acknowledges.
    pub fn adopt(&self, file: &Path, digest: &Sha256, sync: bool) -> Result<()> {
        self.shard(digest)?.adopt(file, digest, sync)
    }

    /// Moves a complete file of known content into the store, as [`Store::adopt`], and gives it the further name `to`.
    pub fn take(&self, file: &Path, digest: &Sha256, sync: bool, to: &Path) -> Result<()> {
        let shard = self.shard(digest)?;
        shard.adopt(file, digest, sync)?;
        match shard.link(digest, to)? {
            Linked::Yes => Ok(()),
            _ => Err(self.vanished(digest)),
        }
    }

    /// Gives an object the further name `to`. False when the store has not got it. Not durable.
    pub fn link_to(&self, digest: &Sha256, to: &Path) -> Result<bool> {
        Ok(self.shard(digest)?.link(digest, to)? == Linked::Yes)
    }

    /// Gives a content that a build has its name here. False when there is something of that name. Durable on return.
    pub(crate) fn name(&self, digest: &Sha256, file: &Path) -> Result<bool> {
        let (shard, object) = (self.shard(digest)?, self.layout.object(digest));
        if object.symlink_metadata().is_ok() {
            return Ok(false);
        }
        match disk::link(file, &object)? {
            Linked::Yes => shard.lock.sync_all().at("sync", &object).map(|()| true),
            Linked::Refused => shard.copy(file, &object).map(|()| true),
            Linked::SourceGone => Ok(false),
        }
    }

    /// Removes what nothing links to, shard by shard.
    pub fn collect_garbage(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        for dir in self.layout.shards() {
            let Ok(open) = disk::open_dir(&dir) else { continue };
            let _lock = Lock::alone(open, &dir)?;
            for name in disk::names(&dir)? {
                let path = dir.join(name);
                let Ok(meta) = path.symlink_metadata() else { continue };
                let garbage = meta.is_file() && meta.nlink() == 1;
                if garbage {
                    disk::remove_file(&path)?;
                }
                let counts = if garbage { &mut collected.gone } else { &mut collected.kept };
                *counts = (counts.0 + 1, counts.1 + meta.len());
            }
        }
        Ok(collected)
    }

    fn shard(&self, digest: &Sha256) -> Result<Shard<'a>> {
        let dir = self.layout.shard(&digest.shard());
        let open = match disk::open_dir(&dir) {
            Err(rustix::io::Errno::NOENT) => {
                disk::make_dir_synced(&dir)?;
                disk::open_dir(&dir).at("open", &dir)?
            }
            other => other.at("open", &dir)?,
        };
        Ok(Shard { store: *self, lock: Lock::shared(open, &dir)? })
    }

    fn vanished(&self, digest: &Sha256) -> Error {
        Error::new(Kind::Internal, format!("store object {digest} went away while it was locked"))
    }
}

impl Shard<'_> {
    fn adopt(&self, file: &Path, digest: &Sha256, sync: bool) -> Result<()> {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(MODE)).at("set the mode of", file)?;
        match disk::rename_new(file, &self.store.layout.object(digest))? {
            Moved::Yes if sync => self.lock.sync_all().at("sync", self.store.layout.object(digest)),
            Moved::Yes => Ok(()),
            Moved::TargetExists => disk::remove_file(file),
            Moved::SourceGone => Err(io::Error::from(io::ErrorKind::NotFound)).at("store", file),
        }
    }

    fn link(&self, digest: &Sha256, to: &Path) -> Result<Linked> {
        let object = self.store.layout.object(digest);
        match disk::link(&object, to)? {
            Linked::Refused => {
                // The old one keeps its builds.
                self.copy(&object, &object)?;
                disk::link(&object, to)
            }
            other => Ok(other),
        }
    }

    /// A copy takes a name of the store: the file system refuses a further link.
    fn copy(&self, file: &Path, object: &Path) -> Result<()> {
        let mut source = File::open(file).at("read", file)?;
        let draft = Draft::empty_file(self.store.layout, MODE)?;
        io::copy(&mut source, &mut draft.handle()).at("copy", file)?;
        draft.handle().sync_data().at("sync", draft.path())?;
        disk::rename_over(draft.path(), object)?;
        draft.published();
        self.lock.sync_all().at("sync", object)
    }
}
