//! Jobs: a readable TOML file each, and the builds that they owe.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::name::{JobName, Platform};
use crate::place::{Place, Priority, Ticket};
use crate::queue::Enqueued;
use crate::record::{self, Origin, Request};
use crate::schedule::{Rule, Schedule};
use crate::spool::Spool;
use crate::tmp::{self, Draft};
use crate::{clock, template, wake};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest script, in bytes: it stands in the job's own file.
pub const LONGEST_SCRIPT: usize = 4 << 20;

/// `jobs/NAME.toml`: what somebody asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// When it was added.
    pub created: Timestamp,
    /// Where it is to be built.
    pub platforms: Vec<Platform>,
    /// How often.
    pub every: crate::schedule::Every,
    /// The first moment of the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// Seconds that a build may run.
    pub timeout_seconds: u64,
    /// How often a build is tried when its workers vanish.
    pub attempts: u32,
    /// The template that the script came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The script; of a template, with all values but the platform.
    pub script: String,
    /// The values that were filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Job {
    /// When it is due.
    pub fn schedule(&self) -> Schedule {
        Schedule { rule: Rule::Every(self.every), first: self.first, since: None, jitter: SignedDuration::ZERO }
    }

    fn request(&self, origin: Origin, now: Timestamp) -> Request {
        Request {
            queued: now,
            origin,
            timeout_seconds: self.timeout_seconds,
            attempts: self.attempts,
            template: self.template.clone(),
            values: self.values.clone(),
        }
    }

    fn script_for(&self, platform: &Platform) -> Vec<u8> {
        match self.template {
            Some(_) => template::fill_platform(&self.script, platform.as_str()).into_bytes(),
            None => self.script.clone().into_bytes(),
        }
    }
}

/// Makes sure that a script can be kept in a job's file: UTF-8 text, not empty, not too long.
pub fn check_script(bytes: Vec<u8>, shown: &str) -> Result<String> {
    let wrong = |why: &str| Error::new(Kind::Data, format!("{shown} can't be a job's script: {why}"));
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("it is empty"));
    }
    if bytes.len() > LONGEST_SCRIPT {
        return Err(wrong("it is longer than 4 MiB").hint("let the script fetch what is large"));
    }
    if bytes.contains(&0) {
        return Err(wrong("it contains a NUL byte"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))
}

/// A build that a job has in a queue now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Which.
    pub id: BuildId,
    /// Whether it was there before.
    pub already: bool,
}

impl Spool {
    /// All jobs by name; a file that can't be read as a job comes as its error.
    pub fn jobs(&self) -> Result<BTreeMap<JobName, Result<Job>>> {
        let mut jobs = BTreeMap::new();
        for name in disk::names(&self.layout().jobs())? {
            if let Some(Ok(name)) = name.strip_suffix(".toml").map(str::parse::<JobName>) {
                let read = record::read(&self.layout().job(&name)).transpose();
                if let Some(job) = read {
                    jobs.insert(name, job);
                }
            }
        }
        Ok(jobs)
    }

    /// One job.
    pub fn job(&self, name: &JobName) -> Result<Job> {
        record::read(&self.layout().job(name))?.ok_or_else(|| {
            Error::new(Kind::NoInput, format!("there is no job {name}")).hint("`builder ls` shows the jobs")
        })
    }

    /// Adds a job, and queues what it owes at once. Durable on return. Where that fails, the job is taken back.
    pub fn add_job(&self, name: &JobName, job: &Job) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        let path = self.layout().job(name);
        let draft = Draft::file(self.layout(), &pretty(job)?, 0o644)?;
        if disk::rename_new(draft.path(), &path)? == disk::Moved::TargetExists {
            return Err(Error::new(Kind::CantCreate, format!("there is a job {name} already"))
                .hint(format!("choose another name, or remove that one first with `builder rm {name}`")));
        }
        draft.published();
        disk::sync_dir(&self.layout().jobs())?;
        let queued = self.fire_locked(name, job, clock::now()).inspect_err(|_| {
            // Why it failed is what the caller wants to hear, and may be why this fails, too.
            let _ = self.remove_locked(name);
        })?;
        wake::ring(&self.layout().wake_daemon());
        Ok(queued)
    }

    /// Removes a job and its queued builds; running and finished ones stay. Returns what was taken.
    pub fn remove_job(&self, name: &JobName) -> Result<Vec<BuildId>> {
        let _lock = self.lock_jobs()?;
        if !self.layout().job(name).exists() {
            self.job(name)?;
        }
        let removed = self.remove_locked(name)?;
        wake::ring(&self.layout().wake_daemon());
        Ok(removed)
    }

    fn remove_locked(&self, name: &JobName) -> Result<Vec<BuildId>> {
        disk::remove_file(&self.layout().job(name))?;
        disk::remove_file(&self.layout().timer(name))?;
        disk::sync_dir(&self.layout().jobs())?;
        let mut removed = Vec::new();
        for platform in self.platforms()? {
            for ticket in self.queue(&platform)?.into_iter().filter(|ticket| ticket.id.job() == name) {
                if let Some(held) = self.take(&ticket)? {
                    held.remove()?;
                    disk::sync_dir(&self.layout().queue(&platform))?;
                    removed.push(ticket.id);
                }
            }
        }
        Ok(removed)
    }

    /// Queues a build of a job for each platform, in front of what timers queued. A job that waits in a
    /// queue already is moved to the front instead. Durable on return.
    pub fn run_job(&self, name: &JobName, platforms: &[Platform]) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        let job = self.job(name)?;
        let mut queued = Vec::new();
        for platform in platforms {
            if let Some(ticket) = self.queued_of(name, platform)?
                && (ticket.priority <= Priority::FRONT || self.reprioritise(&ticket, Priority::FRONT)?)
            {
                queued.push(Queued { id: ticket.id, already: true });
                continue;
            }
            let id = BuildId::unique(clock::now(), name, platform)?;
            let ticket = Ticket { priority: Priority::FRONT, id };
            self.enqueue(&ticket, &job.request(Origin::Run, clock::now()), &job.script_for(platform))?;
            queued.push(Queued { id: ticket.id, already: false });
        }
        Ok(queued)
    }

    /// Queues what a job's timer owes, if it owes anything. However often this is interrupted and repeated,
    /// a due moment gives one build.
    pub fn fire(&self, name: &JobName, now: Timestamp) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        match record::read(&self.layout().job(name))? {
            Some(job) => self.fire_locked(name, &job, now),
            None => Ok(Vec::new()),
        }
    }

    fn fire_locked(&self, name: &JobName, job: &Job, now: Timestamp) -> Result<Vec<Queued>> {
        let Some(due) = job.schedule().due(self.fired(name)?, now) else { return Ok(Vec::new()) };
        let mut queued = Vec::new();
        for platform in &job.platforms {
            let id = BuildId::of_timer(due, name, platform);
            if self.place(&id)?.is_some() {
                continue;
            }
            if let Some(ticket) = self.queued_of(name, platform)? {
                queued.push(Queued { id: ticket.id, already: true });
                continue;
            }
            let ticket = Ticket { priority: Priority::NORMAL, id };
            let done = self.enqueue(&ticket, &job.request(Origin::Timer, now), &job.script_for(platform))?;
            queued.push(Queued { id: ticket.id, already: done == Enqueued::Exists });
        }
        tmp::replace_file(self.layout(), &self.layout().timer(name), format!("{due}\n").as_bytes())?;
        Ok(queued)
    }

    /// The last due moment of a job that was fired; an unreadable note counts as none, because firing again
    /// is harmless.
    pub fn fired(&self, name: &JobName) -> Result<Option<Timestamp>> {
        let note = disk::read_if_there(&self.layout().timer(name), 100)?;
        Ok(note.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()))
    }

    /// Asks for an end of a build. A queued one, or one whose server is gone, is over on return; a running
    /// one is ended by its worker, and false is returned.
    pub fn cancel(&self, id: &BuildId) -> Result<bool> {
        for _ in 0..10 {
            match self.place(id)? {
                Some(Place::Queued(ticket)) => {
                    if let Some(held) = self.take(&ticket)? {
                        held.end_unrun(record::Outcome::Cancelled, clock::now())?;
                        disk::sync_dir(&self.layout().queue(id.platform()))?;
                        return Ok(true);
                    }
                }
                Some(Place::Active) => {
                    if let Some(held) = self.hold(id)? {
                        held.end_unrun(record::Outcome::Cancelled, clock::now())?;
                        return Ok(true);
                    }
                    self.request_cancel(id)?;
                    return Ok(false);
                }
                Some(Place::Ended(end)) => {
                    return Err(Error::new(Kind::Data, format!("{id} is over already"))
                        .hint(format!("it is in {}; `builder show {id}` has its record", end.directory())));
                }
                None => break,
            }
        }
        Err(Error::new(Kind::NoInput, format!("there is no build {id}")))
    }

    fn request_cancel(&self, id: &BuildId) -> Result<()> {
        let path = self.layout().cancel(id);
        tmp::replace_file(self.layout(), &path, b"")?;
        // It may have ended in between, and then nobody would take the request away.
        if matches!(self.place(id)?, Some(Place::Ended(_))) {
            disk::remove_file(&path)?;
        }
        if let Some(build) = self.build(id)?
            && let Some(lease) = build.lease()?
        {
            wake::ring(&self.layout().wake_worker(&lease.worker));
        }
        Ok(())
    }

    /// Whether somebody asked for this build's end.
    pub fn cancel_requested(&self, id: &BuildId) -> bool {
        self.layout().cancel(id).exists()
    }
}

fn pretty(job: &Job) -> Result<Vec<u8>> {
    toml::to_string_pretty(job)
        .map(String::into_bytes)
        .map_err(|e| Error::new(Kind::Internal, format!("a job can't be written as TOML: {e}")))
}

/// The files of jobs, for a daemon that must notice each change: name, inode and time of change.
pub fn stamp(spool: &Spool, name: &JobName) -> Result<Option<(u64, i64, i64)>> {
    use std::os::unix::fs::MetadataExt;
    match spool.layout().job(name).symlink_metadata() {
        Ok(meta) => Ok(Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("look at", spool.layout().job(name)),
    }
}
