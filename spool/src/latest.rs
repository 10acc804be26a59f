//! The latest build of a job on each platform: the newest that exited 0, and is confirmed where its job wants that.
//! `jobs/JOB/latest/PLATFORM` leads there.

use crate::build_id::BuildId;
use crate::disk;
use crate::ended::Wanted;
use crate::error::Result;
use crate::find::Build;
use crate::job::Ended;
use crate::layout::{Layout, file};
use crate::name::{JobName, Platform};
use crate::place::{End, Place};
use crate::rebuild::{MOST, Verdict};
use crate::spool::Spool;
use crate::tmp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the names of jobs' files end.
const FILE: &str = ".toml";

impl Spool {
    /// Of each platform the latest build of a job.
    pub fn latest_of(&self, job: &JobName) -> Result<BTreeMap<Platform, Build<'_>>> {
        let wanted = self.confirmations(job)?;
        let mut latest = BTreeMap::new();
        let done = Wanted { job: Some(job), end: Some(End::Done), rebuild: Some(false), ..Wanted::default() };
        for build in self.ended_as(usize::MAX, &done)? {
            if !latest.contains_key(build.id.platform()) && self.is_candidate(&build, wanted)? {
                latest.insert(build.id.platform().clone(), build);
            }
        }
        Ok(latest)
    }

    /// The latest build of a job on a platform: reads one month of `done/` after the other, the newest first.
    fn latest_on(&self, job: &JobName, platform: &Platform) -> Result<Option<Build<'_>>> {
        let wanted = self.confirmations(job)?;
        let done = Wanted { job: Some(job), platform: Some(platform), rebuild: Some(false), ..Wanted::default() };
        let index = self.index();
        for month in self.months()?.iter().filter(|month| month.end == End::Done) {
            let mut ids = self.ids_in(index.as_ref(), month, &done)?;
            ids.sort();
            for id in ids.into_iter().rev() {
                let build = Build::at(self, id, Place::Ended(End::Done));
                if self.is_candidate(&build, wanted)? {
                    return Ok(Some(build));
                }
            }
        }
        Ok(None)
    }

    /// How many rebuilds must confirm a build of a job. A job that can't be read has its last good version; one that is not
    /// there wants none.
    fn confirmations(&self, job: &JobName) -> Result<u32> {
        Ok(self.job_in_effect(job)?.map_or(0, |(job, _)| job.reproduce.min(MOST)))
    }

    fn is_candidate(&self, build: &Build<'_>, wanted: u32) -> Result<bool> {
        if build.place != Place::Ended(End::Done) || build.id.is_rebuild() {
            return Ok(false);
        }
        // One without an output has nothing to confirm.
        let result = if wanted == 0 { None } else { build.result().ok().flatten() };
        match result.filter(|result| result.output.is_some()) {
            Some(result) => Ok(self.verdict(&build.id, &result, wanted as usize)? == Verdict::Reproduced),
            None => Ok(true),
        }
    }

    /// Has `jobs/JOB/latest/PLATFORM` lead to a build that has ended, or to the one that it repeats, when that is the latest
    /// now. Durable on return. Nothing is made for a job that is not there, or whose name is that of another job's file.
    pub fn relink_latest(&self, ended: &Ended) -> Result<()> {
        let repeated = ended.request.rebuild.as_ref().map(|rebuild| rebuild.of.clone());
        self.relink(&repeated.unwrap_or_else(|| ended.id.clone()))
    }

    /// As [`Spool::relink_latest`], for a build that repeats none.
    pub fn relink(&self, id: &BuildId) -> Result<()> {
        let (job, platform) = (id.job(), id.platform());
        let _lock = self.lock_jobs()?;
        if !self.layout().job(job).exists() || job.as_str().ends_with(FILE) {
            return Ok(());
        }
        let link = self.layout().latest(job, platform);
        let latest = match self.linked(&link) {
            Some(there) if there >= *id => None,
            Some(_) => match self.build(id)? {
                Some(build) if self.is_candidate(&build, self.confirmations(job)?)? => Some(build),
                _ => None,
            },
            None => self.latest_on(job, platform)?,
        };
        match latest {
            Some(build) => self.link_latest(&link, &build),
            None => Ok(()),
        }
    }

    /// Removes the links of a job that goes. Durable on return. Needs the jobs' lock.
    pub(crate) fn remove_latest(&self, job: &JobName) -> Result<()> {
        let dir = self.layout().job_directory(job);
        // It may be the file of a job with a longer name.
        if dir.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            disk::remove_tree(&dir)?;
            disk::sync_dir(&self.layout().jobs())?;
        }
        Ok(())
    }

    fn link_latest(&self, link: &Path, build: &Build<'_>) -> Result<()> {
        disk::make_dir_synced(&self.layout().job_directory(build.id.job()))?;
        disk::make_dir_synced(&self.layout().all_latest(build.id.job()))?;
        tmp::replace_symlink(self.layout(), link, &target(self.layout(), build))
    }

    /// Whether a link to the latest build leads to this one.
    pub(crate) fn is_linked(&self, id: &BuildId) -> bool {
        self.linked(&self.layout().latest(id.job(), id.platform())).as_ref() == Some(id)
    }

    /// The build to which a link leads; nothing when it leads nowhere.
    fn linked(&self, link: &Path) -> Option<BuildId> {
        let target = disk::link_target(link)?;
        let id: BuildId = target.file_name()?.to_str()?.parse().ok()?;
        link.join(file::RESULT).exists().then_some(id)
    }

    /// Whether `jobs/JOB/latest/PLATFORM` leads where it may: to a build of the job on the platform that exited 0.
    pub(crate) fn is_latest_link(&self, job: &JobName, platform: &Platform) -> bool {
        let link = self.layout().latest(job, platform);
        self.linked(&link).is_some_and(|id| {
            let fits = id.job() == job && id.platform() == platform && !id.is_rebuild();
            let build = Build::at(self, id, Place::Ended(End::Done));
            fits && disk::link_target(&link) == Some(target(self.layout(), &build))
        })
    }
}

/// From `jobs/JOB/latest` to a build.
fn target(layout: &Layout, build: &Build<'_>) -> PathBuf {
    let dir = build.dir();
    Path::new("../../..").join(dir.strip_prefix(layout.root()).unwrap_or(&dir))
}
