//! What the end of a build owes: other jobs that come after it, another try, rebuilds that confirm it, the links to the
//! latest builds, the server's seal, and hooks.
//!
//! `owed/BUILD` is made durable before the build leaves `active/`, and removed when nothing is owed any more; in
//! between it says which steps are done. So each step happens after each end, also when a crash comes between,
//! and hooks may then happen twice.

use super::Queued;
use crate::backoff;
use crate::build_id::BuildId;
use crate::disk;
use crate::ended::Wanted;
use crate::error::Result;
use crate::name::JobName;
use crate::place::{End, Place, Ticket};
use crate::queue::{NewBuild, Queues};
use crate::record::{BuildResult, Origin, Outcome, Request};
use crate::spool::Spool;
use crate::tmp;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Something that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// Builds of the jobs that come after this one.
    After,
    /// Another try.
    Retry,
    /// The rebuilds that its job wants.
    Rebuild,
    /// The link to the latest build.
    Latest,
    /// The server's seal.
    Seal,
    /// The hooks.
    Hooks,
}

impl Owed {
    const ALL: [Owed; 6] = [Owed::After, Owed::Retry, Owed::Rebuild, Owed::Latest, Owed::Seal, Owed::Hooks];

    fn word(self) -> &'static str {
        match self {
            Owed::After => "after",
            Owed::Retry => "retry",
            Owed::Rebuild => "rebuild",
            Owed::Latest => "latest",
            Owed::Seal => "seal",
            Owed::Hooks => "hooks",
        }
    }
}

/// The lines of a file of `owed/` that name a step.
pub(crate) fn steps(note: &[u8]) -> Vec<u8> {
    let is_step = |line: &&[u8]| Owed::ALL.iter().any(|one| line.trim_ascii_end() == one.word().as_bytes());
    note.split_inclusive(|byte| *byte == b'\n').filter(is_step).collect::<Vec<_>>().concat()
}

impl Spool {
    /// Whether a build that is over waits for its seal.
    pub(crate) fn owes_seal(&self, id: &BuildId) -> bool {
        let note = disk::read_if_there(&self.layout().owed(id), 4096).ok().flatten();
        note.is_some_and(|note| String::from_utf8_lossy(&note).lines().all(|line| line != Owed::Seal.word()))
    }
}

/// A build that is over and owes something still.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub id: BuildId,
    /// `done` or `failed`.
    pub end: End,
    /// Its directory.
    pub dir: PathBuf,
    /// What was asked for.
    pub request: Request,
    /// What came of it.
    pub result: BuildResult,
    /// What is owed.
    pub owed: BTreeSet<Owed>,
}

/// How long the next try waits: `base`, then four times as long each time, an hour at the most.
pub fn delay(base: SignedDuration, tries_before: u32) -> SignedDuration {
    backoff::grown(base, 4, tries_before.saturating_sub(1))
}

impl Spool {
    /// Notes that the end of a build will owe something. Durable on return.
    pub(crate) fn note_owed(&self, id: &BuildId) -> Result<()> {
        let path = self.layout().owed(id);
        if !self.layout().all_owed().is_dir() {
            disk::make_dir_synced(&self.layout().all_owed())?;
        }
        // One that is there is of this end, which a crash has interrupted.
        if !path.exists() {
            disk::create_new(&path, 0o644)?;
        }
        disk::sync_dir(&self.layout().all_owed())
    }

    /// The builds whose end owes something.
    pub fn owing(&self) -> Result<BTreeSet<BuildId>> {
        let names = disk::names(&self.layout().all_owed())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// A build that is over, with what it owes. Nothing when it is not over yet, or was removed.
    pub fn ended(&self, id: &BuildId) -> Result<Option<Ended>> {
        let path = self.layout().owed(id);
        let Some(note) = disk::read_if_there(&path, 4096)? else { return Ok(None) };
        let build = self.build(id)?;
        let Some((build, end)) = build.and_then(|build| match build.place {
            Place::Ended(end) => Some((build, end)),
            _ => None,
        }) else {
            // One that is neither open nor over was removed, and owes nothing.
            if self.place(id)?.is_none() {
                self.forget_owed(id)?;
            }
            return Ok(None);
        };
        let (Ok(Some(request)), Ok(Some(result))) = (build.request(), build.result()) else {
            self.forget_owed(id)?;
            return Ok(None);
        };
        let done = String::from_utf8_lossy(&note).into_owned();
        let owed = Owed::ALL.into_iter().filter(|one| done.lines().all(|line| line != one.word())).collect();
        Ok(Some(Ended { id: id.clone(), end, dir: build.dir(), request, result, owed }))
    }

    /// Notes what is owed still. Durable on return, unless nothing is: then a crash may bring it back.
    pub fn save_owed(&self, ended: &Ended) -> Result<()> {
        if ended.owed.is_empty() {
            return self.forget_owed(&ended.id);
        }
        let done = Owed::ALL.into_iter().filter(|one| !ended.owed.contains(one));
        let text: String = done.map(|one| format!("{}\n", one.word())).collect();
        tmp::replace_file(self.layout(), &self.layout().owed(&ended.id), text.as_bytes())
    }

    fn forget_owed(&self, id: &BuildId) -> Result<()> {
        disk::remove_file(&self.layout().owed(id))
    }

    /// Queues the jobs that come after a build that exited 0, on its platform. A job that waits there already
    /// is left where it is.
    pub fn queue_after(&self, ended: &Ended, after: &[JobName], now: Timestamp) -> Result<Vec<Queued>> {
        let mut queued = Vec::new();
        if ended.end == End::Done && !ended.id.is_rebuild() && !after.is_empty() {
            let _lock = self.lock_jobs()?;
            for name in after {
                queued.extend(self.queue_because(ended, name, Origin::After, 0, now)?);
            }
        }
        Ok(queued)
    }

    /// When a build is to be tried again; nothing when it is not.
    pub fn retry_at(&self, ended: &Ended, base: SignedDuration) -> Option<Timestamp> {
        let failed = ended.end == End::Failed
            && !ended.id.is_rebuild()
            && !matches!(ended.result.outcome, Outcome::Cancelled | Outcome::Lost);
        let job = self.read_job(ended.id.job()).ok().flatten().filter(|job| failed && job.retry_failures)?;
        let next = ended.request.retry + 1;
        (next < job.attempts).then(|| ended.result.finished.checked_add(delay(base, next)).unwrap_or(Timestamp::MAX))
    }

    /// Queues another try of a build.
    pub fn queue_retry(&self, ended: &Ended, now: Timestamp) -> Result<Option<Queued>> {
        let _lock = self.lock_jobs()?;
        self.queue_because(ended, ended.id.job(), Origin::Retry, ended.request.retry + 1, now)
    }

    fn queue_because(
        &self,
        ended: &Ended,
        name: &JobName,
        origin: Origin,
        retry: u32,
        now: Timestamp,
    ) -> Result<Option<Queued>> {
        let platform = ended.id.platform();
        let Some(job) = self.read_job(name)? else { return Ok(None) };
        let dropped = self.refuse_dropped(platform).is_err();
        // Made of the end, so that a crash before it is noted leads to the same build again.
        let id = BuildId::of_timer(ended.result.finished, name, platform);
        if dropped || !job.is_built_on(platform) || self.is_past_queue(&id) {
            return Ok(None);
        }
        let mut queues = Queues::new(self);
        if let Some(ticket) = queues.of(name, platform)? {
            return Ok(Some(Queued { already: ticket.id != id, id: ticket.id }));
        }
        queues.make_room(platform)?;
        let once = if origin == Origin::Retry { ended.request.values.clone() } else { BTreeMap::new() };
        let (script, values) = job.script_for(platform, &once)?;
        let request = Request { values, ..job.request_because(origin, &ended.id, retry, now) };
        let ticket = Ticket { priority: job.priority, id };
        self.enqueue(&NewBuild { ticket: ticket.clone(), request, script })?;
        Ok(Some(Queued { id: ticket.id, already: false }))
    }

    /// How the build of the job before this one ended on the same platform; nothing when it is the first.
    pub fn end_before(&self, id: &BuildId) -> Result<Option<End>> {
        let before = Wanted {
            job: Some(id.job()),
            platform: Some(id.platform()),
            before: Some(id),
            rebuild: Some(false),
            ..Wanted::default()
        };
        Ok(self.ended_as(1, &before)?.into_iter().find_map(|build| build.place.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_an_hour() {
        let base = SignedDuration::from_secs(60);
        let seconds: Vec<i64> = (1..6).map(|n| delay(base, n).as_secs()).collect();
        assert_eq!(seconds, [60, 240, 960, 3600, 3600]);
    }
}
