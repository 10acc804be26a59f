//! How builds go: out of sight by a rename, durably, and only then their contents.

use super::{Candidate, Keep, Reason, Weight, decide};
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::disk::{self, Moved};
use crate::error::Result;
use crate::find::Build;
use crate::layout::file;
use crate::lock::Lock;
use crate::name::JobName;
use crate::place::{End, Place};
use crate::spool::Spool;
use crate::tmp;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// So many builds go together: one sync of each month's directory for all of them, and a claim need not wait long.
const TOGETHER: usize = 256;

/// A build that goes.
#[derive(Clone, Debug)]
pub struct Going {
    /// Which.
    pub id: BuildId,
    /// How it ended.
    pub end: End,
    /// Why it goes.
    pub reason: Reason,
}

impl Spool {
    /// The finished builds that are not to be kept any more, the oldest first. `usual` is for jobs that say nothing of
    /// their own, and its `disk` for all of them together.
    pub fn going(&self, usual: &Keep, now: Timestamp) -> Result<Vec<Going>> {
        let own = self.kept_by_jobs()?;
        let each = Keep { disk: None, ..usual.clone() };
        if own.values().chain([usual]).all(|keep| *keep == Keep::default()) {
            return Ok(Vec::new());
        }
        let of = |job: &JobName| own.get(job).unwrap_or(&each);
        let by_disk = usual.disk.is_some() || own.values().any(|keep| keep.disk.is_some());
        let ended = self.ended_builds(usize::MAX, |_| true)?;
        let mut candidates: Vec<Candidate> = ended.iter().map(|build| candidate(build, by_disk)).collect();
        let ends: BTreeMap<BuildId, End> =
            ended.into_iter().filter_map(|build| Some((build.id, build.place.end()?))).collect();
        // Whether one is kept by hand is asked of those only that would go; the others may then go in their place.
        loop {
            let decided = decide(&candidates, of, usual.disk, now);
            let kept: BTreeSet<BuildId> =
                decided.iter().map(|(id, _)| id).filter(|id| self.is_kept(ends[*id], id)).cloned().collect();
            if kept.is_empty() {
                let going = decided.into_iter();
                return Ok(going.map(|(id, reason)| Going { end: ends[&id], id, reason }).collect());
            }
            candidates.iter_mut().filter(|one| kept.contains(&one.id)).for_each(|one| one.kept = true);
        }
    }

    /// What the jobs say of their own; one that can't be read keeps all.
    fn kept_by_jobs(&self) -> Result<BTreeMap<JobName, Keep>> {
        let mut own = BTreeMap::new();
        for name in self.job_names()? {
            match self.job(&name) {
                Ok(job) => own.extend(job.keep.map(|keep| (name, keep))),
                Err(_) => drop(own.insert(name, Keep::default())),
            }
        }
        Ok(own)
    }

    fn is_kept(&self, end: End, id: &BuildId) -> bool {
        let pinned = self.layout().finished(end, id).join(file::PINNED);
        pinned.symlink_metadata().is_ok() || self.layout().owed(id).exists() || self.is_linked(id)
    }

    /// Removes builds, and tells of each once it is gone durably. One that was pinned meanwhile, that somebody holds or has
    /// removed stays or is gone without a word.
    pub fn let_go<'g>(&self, going: &'g [Going], mut gone: impl FnMut(&'g Going) -> Result<()>) -> Result<()> {
        for some in going.chunks(TOGETHER) {
            let mut moved: Vec<(&'g Going, Hidden)> = Vec::new();
            for one in some {
                moved.extend(self.hide(one)?.map(|hidden| (one, hidden)));
            }
            let months: BTreeSet<PathBuf> =
                moved.iter().map(|(one, _)| self.layout().month(one.end, &one.id)).collect();
            months.iter().try_for_each(|month| disk::sync_dir(month))?;
            for (one, hidden) in moved {
                disk::remove_tree(&hidden.path)?;
                gone(one)?;
            }
        }
        Ok(())
    }

    fn hide(&self, one: &Going) -> Result<Option<Hidden>> {
        let path = self.layout().finished(one.end, &one.id);
        let Ok(dir) = disk::open_dir(&path) else { return Ok(None) };
        let draft = tmp::fresh_path(self.layout());
        let Some(lock) = Lock::try_alone(dir) else { return Ok(None) };
        let goes = path.join(file::PINNED).symlink_metadata().is_err();
        let hidden = goes && disk::rename_new(&path, &draft)? == Moved::Yes;
        Ok(hidden.then_some(Hidden { path: draft, _lock: lock }))
    }
}

/// A build in `tmp/`, locked: a sweep must not remove anything of it before the month is synced.
struct Hidden {
    path: PathBuf,
    _lock: Lock,
}

fn candidate(build: &Build<'_>, by_disk: bool) -> Candidate {
    Candidate {
        id: build.id.clone(),
        good: build.place == Place::Ended(End::Done),
        of: if build.id.is_rebuild() { repeated(build) } else { None },
        kept: false,
        weight: if by_disk { weigh(build) } else { Weight::default() },
    }
}

/// What a rebuild repeats. One that can't be read counts as a build like any other.
fn repeated(build: &Build<'_>) -> Option<BuildId> {
    build.request().ok().flatten()?.rebuild.map(|rebuild| rebuild.of)
}

/// What a build takes. What can't be read takes nothing.
fn weigh(build: &Build<'_>) -> Weight {
    let own = |meta: &Metadata| if meta.nlink() > 1 && meta.is_file() { 0 } else { meta.blocks() * 512 };
    let entries = walkdir::WalkDir::new(build.dir()).into_iter().flatten();
    let own = entries.filter_map(|entry| entry.metadata().ok()).map(|meta| own(&meta)).sum();
    let size = |path| build.artifact(path).symlink_metadata().map_or(0, |meta: Metadata| meta.blocks() * 512);
    let manifest = build.manifest().unwrap_or_default();
    let contents: BTreeMap<Sha256, u64> = manifest.iter().map(|(path, sha256)| (*sha256, size(path))).collect();
    Weight { own, contents }
}
