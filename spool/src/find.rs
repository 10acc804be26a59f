//! Where builds are: by exact id, by job, by a part of the id. Plain reading, without a lock.

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::console::ConsoleReader;
use crate::disk;
use crate::ended::Wanted;
use crate::error::{Error, Kind, Result};
use crate::layout::file;
use crate::lock;
use crate::manifest::Manifest;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::{End, Place};
use crate::record::{self, Attempts, BuildResult, Lease, Request};
use crate::spool::Spool;
use crate::suggest;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

/// No script is longer, in bytes: those of jobs are shorter by far.
pub const LARGEST_SCRIPT: u64 = 64 << 20;

/// A build where it was found. It may have moved on since.
#[derive(Clone, Debug)]
pub struct Build<'s> {
    spool: &'s Spool,
    /// Which.
    pub id: BuildId,
    /// Where.
    pub place: Place,
}

impl Spool {
    /// Where a build is; nothing when there is none.
    ///
    /// Looks in the direction in which builds move, and once more: so a build that moves meanwhile is not missed.
    pub fn place(&self, id: &BuildId) -> Result<Option<Place>> {
        for _ in 0..2 {
            if let Some(ticket) = self.queue(id.platform())?.into_iter().find(|ticket| ticket.id == *id) {
                return Ok(Some(Place::Queued(ticket)));
            }
            if let Some(place) = self.place_past_queue(id) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Whether a build runs or is over.
    pub(crate) fn is_past_queue(&self, id: &BuildId) -> bool {
        self.place_past_queue(id).is_some()
    }

    /// A build that runs or is over.
    pub(crate) fn past_queue(&self, id: &BuildId) -> Option<Build<'_>> {
        self.place_past_queue(id).map(|place| Build::at(self, id.clone(), place))
    }

    fn place_past_queue(&self, id: &BuildId) -> Option<Place> {
        let layout = self.layout();
        if layout.active(id).is_dir() {
            return Some(Place::Active);
        }
        End::ALL.into_iter().find(|end| layout.finished(*end, id).is_dir()).map(Place::Ended)
    }

    /// The build with this id, wherever it is.
    pub fn build(&self, id: &BuildId) -> Result<Option<Build<'_>>> {
        // An ended build is found without reading a queue.
        let place = match self.place_past_queue(id) {
            Some(place) => Some(place),
            None => self.place(id)?,
        };
        Ok(place.map(|place| Build { spool: self, id: id.clone(), place }))
    }

    /// All builds that wait or run.
    pub fn open_builds(&self) -> Result<Vec<Build<'_>>> {
        let mut builds = Vec::new();
        for platform in self.platforms()? {
            let queue = self.queue(&platform)?.into_iter();
            builds.extend(queue.map(|ticket| Build::at(self, ticket.id.clone(), Place::Queued(ticket))));
        }
        builds.extend(self.active_builds()?);
        Ok(builds)
    }

    /// The builds that wait on a platform, and all that run.
    pub(crate) fn open_builds_on(&self, platform: &Platform) -> Result<Vec<Build<'_>>> {
        let queue = self.queue(platform)?.into_iter();
        let mut builds: Vec<Build<'_>> =
            queue.map(|ticket| Build::at(self, ticket.id.clone(), Place::Queued(ticket))).collect();
        builds.extend(self.active_builds()?);
        Ok(builds)
    }

    /// All running builds, the oldest first.
    pub fn active_builds(&self) -> Result<Vec<Build<'_>>> {
        let mut names = disk::names(&self.layout().all_active())?;
        names.sort();
        let ids = names.iter().filter_map(|name| name.parse::<BuildId>().ok());
        Ok(ids.map(|id| Build { spool: self, id, place: Place::Active }).collect())
    }

    /// The workers that hold these running builds.
    pub(crate) fn holders(builds: &[Build<'_>]) -> BTreeSet<WorkerName> {
        builds.iter().filter_map(|build| Some(build.lease().ok()??.worker)).collect()
    }

    /// The newest build of a job that repeats no other one, on a platform or anywhere: running before queued before
    /// finished ones.
    pub fn newest_of(&self, job: &JobName, platform: Option<&Platform>) -> Result<Option<Build<'_>>> {
        let wanted = |id: &BuildId| {
            id.job() == job && !id.is_rebuild() && platform.is_none_or(|platform| id.platform() == platform)
        };
        let open: Vec<_> = self.open_builds()?.into_iter().filter(|build| wanted(&build.id)).collect();
        let active = open.iter().rev().find(|build| build.place == Place::Active);
        if let Some(build) = active.or(open.first()) {
            return Ok(Some(build.clone()));
        }
        let ended = Wanted { job: Some(job), platform, rebuild: Some(false), ..Wanted::default() };
        Ok(self.ended_as(1, &ended)?.into_iter().next())
    }

    /// The build that a person means: an id, a job's newest, or a part of an id that only one build has.
    pub fn resolve(&self, text: &str) -> Result<Build<'_>> {
        self.resolve_on(text, None)
    }

    /// As [`Spool::resolve`], among the builds of one platform.
    pub fn resolve_on(&self, text: &str, platform: Option<&Platform>) -> Result<Build<'_>> {
        if let Ok(id) = text.parse::<BuildId>()
            && let Some(build) = self.build(&id)?
        {
            return Ok(build);
        }
        if let Ok(job) = text.parse::<JobName>()
            && let Some(build) = self.newest_of(&job, platform)?
        {
            return Ok(build);
        }
        let shown: String = text.chars().take(100).flat_map(char::escape_default).collect();
        let place = platform.map(|platform| format!(" on {platform}")).unwrap_or_default();
        let mut found = self.with_part(text, platform)?;
        if let Ok(job) = text.parse::<JobName>()
            && found.is_empty()
            && self.job_names()?.contains(&job)
            && platform.is_none_or(|platform| self.platforms().is_ok_and(|all| all.contains(platform)))
        {
            return Err(Error::new(Kind::NoInput, format!("there is no build of {job}{place} yet"))
                .hint(format!("`builder run {job}` queues one")));
        }
        match found.len() {
            0 => Err(Error::new(Kind::NoInput, format!("there is no build or job `{shown}`{place}"))
                .hint(self.near(text, platform)?)),
            1 => Ok(found.remove(0)),
            _ => Err(Error::new(
                Kind::Usage,
                format!("`{shown}` fits more than one build, such as {} and {}", found[0].id, found[1].id),
            )
            .hint("give more of the id")),
        }
    }

    /// What may have been meant: another platform, a job, or the last six characters of an id.
    fn near(&self, text: &str, platform: Option<&Platform>) -> Result<String> {
        const NEWEST: usize = 200;
        const OTHERWISE: &str = "`builder ls` shows what there is";
        let platforms = self.platforms()?;
        if let Some(platform) = platform.filter(|platform| !platforms.contains(platform)) {
            return Ok(suggest::hint(platform.as_str(), platforms.iter().map(Platform::as_str), OTHERWISE));
        }
        let mut builds = self.open_builds()?;
        builds.extend(self.ended_builds(NEWEST, |_| true)?);
        let jobs = self.job_names()?;
        let jobs = jobs.iter().chain(builds.iter().map(|build| build.id.job())).map(JobName::as_str);
        let tails = builds.iter().map(|build| build.id.tail()).filter(|tail| tail.len().abs_diff(text.len()) <= 1);
        Ok(suggest::hint(text, jobs.chain(tails), OTHERWISE))
    }

    /// Some builds whose ids have this part: all that wait or run, and a few of those that are over.
    fn with_part(&self, part: &str, platform: Option<&Platform>) -> Result<Vec<Build<'_>>> {
        /// More than one is enough.
        const FEW: usize = 3;
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = |build: &Build<'_>| platform.is_none_or(|platform| build.id.platform() == platform);
        let mut found: Vec<_> =
            self.open_builds()?.into_iter().filter(|build| build.id.as_str().contains(part)).collect();
        found.retain(wanted);
        found.extend(self.ended_as(FEW, &Wanted { part: Some(part), platform, ..Wanted::default() })?);
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        Ok(found)
    }
}

impl<'s> Build<'s> {
    pub(crate) fn at(spool: &'s Spool, id: BuildId, place: Place) -> Build<'s> {
        Build { spool, id, place }
    }

    /// The spool that it is in.
    pub(crate) fn spool(&self) -> &'s Spool {
        self.spool
    }

    /// Its directory, as far as known; it may have moved.
    pub fn dir(&self) -> PathBuf {
        let layout = self.spool.layout();
        match &self.place {
            Place::Queued(ticket) => layout.queued(ticket),
            Place::Active => layout.active(&self.id),
            Place::Ended(end) => layout.finished(*end, &self.id),
        }
    }

    /// The same build where it is now.
    pub fn again(&self) -> Result<Self> {
        self.spool
            .build(&self.id)?
            .map(|there| Build { place: there.place, ..self.clone() })
            .ok_or_else(|| Error::new(Kind::NoInput, format!("{} was removed", self.id)))
    }

    /// What was asked for.
    pub fn request(&self) -> Result<Option<Request>> {
        record::read(&self.dir().join(file::BUILD))
    }

    /// How it ended; nothing before that.
    pub fn result(&self) -> Result<Option<BuildResult>> {
        match self.place {
            Place::Ended(_) => record::read(&self.dir().join(file::RESULT)),
            _ => Ok(None),
        }
    }

    /// Who runs it.
    pub fn lease(&self) -> Result<Option<Lease>> {
        record::read_lease(&self.dir().join(file::LEASE))
    }

    /// The holds that were lost.
    pub fn attempts(&self) -> Result<Attempts> {
        Ok(record::read(&self.dir().join(file::ATTEMPTS))?.unwrap_or_default())
    }

    /// What was executed.
    pub fn script(&self) -> Result<Vec<u8>> {
        disk::read_if_there(&self.dir().join(file::SCRIPT), LARGEST_SCRIPT)?
            .ok_or_else(|| Error::new(Kind::Data, format!("the script of {} is lost", self.id)))
    }

    /// The artifacts; empty when there are none.
    pub fn manifest(&self) -> Result<Manifest> {
        match disk::read_if_there(&self.dir().join(file::MANIFEST), 1 << 30)? {
            Some(bytes) => Manifest::parse(&bytes),
            None => Ok(Manifest::default()),
        }
    }

    /// The files of which a repair found out that they are lost.
    pub fn lost(&self) -> Result<Vec<String>> {
        let names = disk::read_if_there(&self.dir().join(file::LOST), 1 << 30)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&names).lines().map(str::to_owned).collect())
    }

    /// The files that a person may want to read: console, script, environment, packages, those that are there.
    pub fn files(&self) -> Vec<PathBuf> {
        let names = [file::CONSOLE, file::SCRIPT, file::ENVIRONMENT, file::PACKAGES];
        names.iter().map(|name| self.dir().join(name)).filter(|path| path.exists()).collect()
    }

    /// Where an artifact can be read.
    pub fn artifact(&self, path: &ArtifactPath) -> PathBuf {
        self.dir().join(file::ARTIFACTS).join(path.as_str())
    }

    /// Its console from the first byte on; nothing before it printed anything.
    pub fn console(&self) -> Result<Option<ConsoleReader>> {
        ConsoleReader::open(&self.dir(), matches!(self.place, Place::Ended(_)))
    }

    /// Whether a server process holds this active build now.
    pub fn is_served(&self) -> bool {
        disk::open_dir(&self.dir()).is_ok_and(|dir| lock::is_taken(&dir))
    }

    /// When its worker was last heard; nothing when nobody ever was.
    pub fn last_heard(&self) -> Option<Timestamp> {
        let newest = [file::LEASE, file::CONSOLE]
            .iter()
            .filter_map(|name| self.dir().join(name).metadata().ok()?.modified().ok())
            .max()
            .or_else(|| self.dir().metadata().ok()?.modified().ok());
        let since_epoch = newest?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Timestamp::from_millisecond(i64::try_from(since_epoch.as_millis()).ok()?).ok()
    }
}
