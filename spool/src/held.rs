//! An active build under its lock: only who holds it writes into it or moves it on.

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::clock;
use crate::console::ConsoleWriter;
use crate::digest::Sha256;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::layout::file;
use crate::lock::Lock;
use crate::manifest::Manifest;
use crate::record::{self, Attempts, Lease, Request};
use crate::spool::Spool;
use crate::store;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// An active build whose directory is locked by this process.
///
/// The lock follows the directory through renames, and goes with the process however it dies.
#[derive(Debug)]
pub struct HeldBuild<'s> {
    pub(crate) spool: &'s Spool,
    pub(crate) id: BuildId,
    pub(crate) dir: Lock,
}

/// An artifact that the worker announced.
#[derive(Clone, Debug)]
pub struct Offered {
    /// Where it lay in the output directory.
    pub path: ArtifactPath,
    /// Its content.
    pub sha256: Sha256,
    /// Its size in bytes, as announced.
    pub size: u64,
}

/// What became of an attempt to publish artifacts.
#[derive(Debug)]
pub enum Published {
    /// All are in the store and in the build.
    All(Manifest),
    /// These contents are neither in the store nor uploaded.
    Missing(Vec<Sha256>),
}

impl Spool {
    /// Locks an active build that nobody serves. Nothing when it is not active or somebody serves it.
    pub fn hold(&self, id: &BuildId) -> Result<Option<HeldBuild<'_>>> {
        let path = self.layout().active(id);
        let dir = match disk::open_dir(&path) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            other => other.at("open", &path)?,
        };
        let Some(dir) = Lock::try_alone(dir) else { return Ok(None) };
        let ours = dir.metadata().at("look at", &path)?;
        let there = path.symlink_metadata();
        let same = there.is_ok_and(|there| disk::same_file(&ours, &there));
        Ok(same.then(|| HeldBuild::new(self, id.clone(), dir)))
    }
}

impl<'s> HeldBuild<'s> {
    pub(crate) fn new(spool: &'s Spool, id: BuildId, dir: Lock) -> HeldBuild<'s> {
        HeldBuild { spool, id, dir }
    }

    /// Which build this is.
    pub fn id(&self) -> &BuildId {
        &self.id
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.spool.layout().active(&self.id)
    }

    /// What was asked for.
    pub fn request(&self) -> Result<Request> {
        record::read(&self.path().join(file::BUILD))?
            .ok_or_else(|| Error::new(Kind::Data, format!("{} has no {}", self.id, file::BUILD)))
    }

    /// The script's bytes.
    pub fn script(&self) -> Result<Vec<u8>> {
        let path = self.path().join(file::SCRIPT);
        disk::read_if_there(&path, u32::MAX.into())?
            .ok_or_else(|| Error::new(Kind::Data, format!("{} has no {}", self.id, file::SCRIPT)))
    }

    /// Who has, or had, this build. Nothing when it was claimed and its claimer died at once.
    pub fn lease(&self) -> Result<Option<Lease>> {
        record::read_lease(&self.path().join(file::LEASE))
    }

    /// How often it was lost before.
    pub fn attempts(&self) -> Result<Attempts> {
        Ok(record::read(&self.path().join(file::ATTEMPTS))?.unwrap_or_default())
    }

    pub(crate) fn write_lease(&self, lease: &Lease) -> Result<()> {
        use std::io::Write;
        let path = self.path().join(file::LEASE);
        disk::remove_file(&path)?;
        disk::create_new(&path, 0o644)?.write_all(&record::to_bytes(lease)?).at("write", &path)
    }

    /// Notes that the worker was heard just now.
    pub fn touch(&self) -> Result<()> {
        let path = self.path().join(file::LEASE);
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).at("touch", &path)
    }

    /// Opens the console for appending. One from before this machine was started begins anew: what of it the system
    /// had not written is lost, or zeros.
    pub fn console(&self) -> Result<ConsoleWriter> {
        let mut console = ConsoleWriter::open(&self.path(), Some(self.spool.layout().wake_build(&self.id)))?;
        let build = self.spool.build(&self.id)?;
        if build.and_then(|build| build.last_heard()).is_some_and(|heard| heard < clock::started()) {
            console.restart()?;
        }
        Ok(console)
    }

    /// Makes the upload area, empty or as an earlier session of the same lease left it.
    pub fn make_upload_area(&self) -> Result<()> {
        disk::make_dir(&self.path().join(file::UPLOAD)).map(drop)
    }

    /// Whether content is at hand: in the store, or uploaded for this build.
    pub fn has(&self, digest: &Sha256) -> bool {
        self.spool.store().size_of(digest).is_some() || self.uploaded(digest).is_file()
    }

    fn uploaded(&self, digest: &Sha256) -> PathBuf {
        self.path().join(file::UPLOAD).join(digest.to_string())
    }

    /// Records an input, `environment` or `packages`, when the store has its content. False when it has not.
    pub fn link_input(&self, name: &str, digest: &Sha256) -> Result<bool> {
        let path = self.path().join(name);
        disk::remove_file(&path)?;
        self.spool.store().link_to(digest, &path)
    }

    /// Records an input by its content.
    pub fn keep_input(&self, name: &str, bytes: &[u8]) -> Result<Sha256> {
        let path = self.path().join(name);
        disk::remove_file(&path)?;
        self.spool.store().keep(bytes, &path)
    }

    /// Brings announced artifacts into the store and under `artifacts/`, all of them or none.
    pub fn publish(&self, offered: &[Offered]) -> Result<Published> {
        let manifest = Manifest::new(offered.iter().map(|o| (o.path.clone(), o.sha256)))?;
        let missing: BTreeSet<Sha256> = offered.iter().map(|o| o.sha256).filter(|sha| !self.has(sha)).collect();
        if !missing.is_empty() {
            return Ok(Published::Missing(missing.into_iter().collect()));
        }
        let artifacts = self.path().join(file::ARTIFACTS);
        disk::remove_tree(&artifacts)?;
        if !offered.is_empty() {
            disk::make_dir(&artifacts)?;
        }
        // Contents are synced with the permissions that they have in the store.
        for one in offered {
            disk::set_mode(&self.uploaded(&one.sha256), store::MODE)?;
        }
        let batch = offered.len() > disk::FEW;
        if batch {
            disk::sync_all_of(self.spool.layout().root())?;
        }
        for one in offered {
            if !self.publish_one(one, batch)? {
                return Ok(Published::Missing(vec![one.sha256]));
            }
        }
        Ok(Published::All(manifest))
    }

    fn publish_one(&self, one: &Offered, already_synced: bool) -> Result<bool> {
        let uploaded = self.uploaded(&one.sha256);
        let store = self.spool.store();
        if uploaded.is_file() {
            if !already_synced {
                File::open(&uploaded).at("open", &uploaded)?.sync_all().at("sync", &uploaded)?;
            }
            store.adopt(&uploaded, &one.sha256, !already_synced)?;
        }
        let target = self.path().join(file::ARTIFACTS).join(one.path.as_str());
        make_parents(&self.path().join(file::ARTIFACTS), &one.path)?;
        if !store.link_to(&one.sha256, &target)? {
            return Ok(false);
        }
        let size = target.symlink_metadata().at("look at", &target)?.len();
        if size != one.size {
            return Err(Error::new(
                Kind::Data,
                format!("{} was announced with {} bytes and has {size}", one.path, one.size),
            ));
        }
        Ok(true)
    }
}

/// Makes the directories of an artifact below the one of all.
pub(crate) fn make_parents(artifacts: &Path, path: &ArtifactPath) -> Result<()> {
    for (slash, _) in path.as_str().match_indices('/') {
        disk::make_dir(&artifacts.join(&path.as_str()[..slash]))?;
    }
    Ok(())
}
