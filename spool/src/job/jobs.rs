//! The jobs' files: read, added, changed, removed.

use super::{Job, Queued, after};
use crate::build_id::BuildId;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::name::JobName;
use crate::place::Ticket;
use crate::spool::Spool;
use crate::suggest;
use crate::tmp::{self, Draft};
use crate::{clock, record, wake};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// No job's file is longer than this, in bytes.
const LONGEST: u64 = 64 << 20;

/// What a change of a job did.
#[derive(Debug)]
pub struct Changed {
    /// The job as it is now.
    pub job: Job,
    /// Queued builds that have another place in their queue now.
    pub moved: Vec<BuildId>,
}

impl Spool {
    /// All jobs by name; a file that can't be read as a job comes as its error.
    pub fn jobs(&self) -> Result<BTreeMap<JobName, Result<Job>>> {
        let mut jobs = BTreeMap::new();
        for name in self.job_names()? {
            if let Some(job) = self.read_job(&name).transpose() {
                jobs.insert(name, job);
            }
        }
        Ok(jobs)
    }

    /// The names of all jobs, in no order.
    pub fn job_names(&self) -> Result<Vec<JobName>> {
        let names = disk::names(&self.layout().jobs())?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".toml")?.parse().ok()).collect())
    }

    /// One job.
    pub fn job(&self, name: &JobName) -> Result<Job> {
        if let Some(job) = self.read_job(name)? {
            return Ok(job);
        }
        let names = self.job_names()?;
        let near = suggest::hint(name.as_str(), names.iter().map(JobName::as_str), "`builder ls` shows the jobs");
        Err(Error::new(Kind::NoInput, format!("there is no job {name}")).hint(near))
    }

    pub(crate) fn read_job(&self, name: &JobName) -> Result<Option<Job>> {
        let path = self.layout().job(name);
        disk::read_if_there(&path, LONGEST)?.map(|bytes| parse(name, &bytes, &path)).transpose()
    }

    /// A job as its timer sees it: when a hand has broken its file, it is what it was before, and what is wrong
    /// comes with it. Nothing when there is no such job.
    ///
    /// # Errors
    /// What is wrong with the file, when nothing better is known.
    pub fn job_in_effect(&self, name: &JobName) -> Result<Option<(Job, Option<Error>)>> {
        let broken = match self.read_job(name) {
            Ok(job) => return Ok(job.map(|job| (job, None))),
            Err(broken) => broken,
        };
        let path = self.layout().good_job(name);
        match disk::read_if_there(&path, LONGEST)?.map(|bytes| parse(name, &bytes, &path)) {
            Some(Ok(job)) => Ok(Some((job, Some(broken)))),
            _ => Err(broken),
        }
    }

    /// Notes that a job's file is good as it is now, should a hand break it later. Not durable: without the note
    /// a broken job waits until it is mended.
    pub fn note_good(&self, name: &JobName) -> Result<()> {
        let (path, good) = (self.layout().job(name), self.layout().good_job(name));
        let Some(bytes) = disk::read_if_there(&path, LONGEST)? else { return disk::remove_file(&good) };
        if disk::read_if_there(&good, LONGEST)?.as_ref() == Some(&bytes) || parse(name, &bytes, &path).is_err() {
            return Ok(());
        }
        disk::make_dir(good.parent().unwrap_or(self.layout().root()))?;
        let draft = Draft::empty_file(self.layout(), 0o644)?;
        draft.handle().write_all(&bytes).at("write", draft.path())?;
        disk::rename_over(draft.path(), &good)?;
        draft.published();
        Ok(())
    }

    /// Reads a job from text that somebody wrote, as it would be read from its file.
    pub fn parse_job(&self, name: &JobName, text: &[u8]) -> Result<Job> {
        let job = parse(name, text, Path::new(&format!("{name}.toml")))?;
        after::check(self, name, &job.after)?;
        Ok(job)
    }

    /// Adds a job, and queues what it owes at once. Durable on return. Where that fails, the job is taken back.
    pub fn add_job(&self, name: &JobName, job: &Job) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        self.check_new(name, job)?;
        self.put_new(name, job)?;
        disk::sync_dir(&self.layout().jobs())?;
        let queued = self.fire_one(name).inspect_err(|_| self.take_back(name))?;
        wake::ring(&self.layout().wake_daemon());
        Ok(queued)
    }

    /// Adds jobs, and queues what they owe at once. Durable on return. Where something fails, all are taken back; after a
    /// crash in between some are there.
    pub fn add_jobs(&self, jobs: &BTreeMap<JobName, Job>) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        jobs.iter().try_for_each(|(name, job)| self.check_new(name, job))?;
        let mut added: Vec<JobName> = Vec::new();
        let queued = self.put_all(jobs, &mut added);
        match queued {
            Ok(_) => wake::ring(&self.layout().wake_daemon()),
            Err(_) => added.iter().for_each(|name| self.take_back(name)),
        }
        queued
    }

    fn put_all(&self, jobs: &BTreeMap<JobName, Job>, added: &mut Vec<JobName>) -> Result<Vec<Queued>> {
        for (name, job) in jobs {
            self.put_new(name, job)?;
            added.push(name.clone());
        }
        disk::sync_dir(&self.layout().jobs())?;
        added.iter().for_each(|name| drop(self.note_good(name)));
        let fired = self.fire_locked(added, clock::now())?;
        let queued = fired.into_iter().map(|(_, queued)| queued).collect::<Result<Vec<_>>>()?;
        Ok(queued.into_iter().flatten().collect())
    }

    /// Gives a job a file that is not there yet. Its name is not durable.
    fn put_new(&self, name: &JobName, job: &Job) -> Result<()> {
        let draft = Draft::file(self.layout(), &pretty(job)?, 0o644)?;
        match disk::rename_new(draft.path(), &self.layout().job(name))? {
            disk::Moved::Yes => {
                draft.published();
                Ok(())
            }
            disk::Moved::TargetExists => Err(Error::new(Kind::CantCreate, format!("there is a job {name} already"))
                .hint(format!("change it with `builder set {name}`, or put this one in its place with --replace"))),
            disk::Moved::SourceGone => Err(draft.vanished()),
        }
    }

    /// Why it failed is what the caller wants to hear, and may be why this fails, too.
    fn take_back(&self, name: &JobName) {
        let _ = self.remove_queued(name);
        let _ = self.remove_files(name);
    }

    /// Puts a job in the place of another one of its name, and queues what it owes at once. What is queued
    /// stays as it is. Durable on return.
    pub fn replace_job(&self, name: &JobName, job: &Job) -> Result<Vec<Queued>> {
        let _lock = self.lock_jobs()?;
        self.check_new(name, job)?;
        tmp::replace_file(self.layout(), &self.layout().job(name), &pretty(job)?)?;
        let queued = self.fire_one(name)?;
        wake::ring(&self.layout().wake_daemon());
        Ok(queued)
    }

    /// Changes a job. What is queued keeps its script and its limits; its priority is the new one. Durable on return.
    pub fn change_job(&self, name: &JobName, change: impl FnOnce(&Job) -> Result<Job>) -> Result<Changed> {
        let _lock = self.lock_jobs()?;
        let before = self.job(name)?;
        let job = change(&before)?;
        self.check_new(name, &job)?;
        let mut moved = Vec::new();
        // Before the job's file: whoever says it again, after a crash in between, finds the same to do.
        if job.priority != before.priority {
            for ticket in self.queued_everywhere(name)? {
                if self.reprioritise(&ticket, job.priority)? {
                    moved.push(ticket.id);
                }
            }
        }
        tmp::replace_file(self.layout(), &self.layout().job(name), &pretty(&job)?)?;
        let _ = self.note_good(name);
        wake::ring(&self.layout().wake_daemon());
        Ok(Changed { job, moved })
    }

    /// Queues what a job owes that has just been written. That it is good is noted on the way; nobody needs the
    /// note before a hand breaks the file.
    fn fire_one(&self, name: &JobName) -> Result<Vec<Queued>> {
        let _ = self.note_good(name);
        let mut fired = self.fire_locked(std::slice::from_ref(name), clock::now())?;
        fired.pop().map_or(Ok(Vec::new()), |(_, queued)| queued)
    }

    fn check_new(&self, name: &JobName, job: &Job) -> Result<()> {
        self.make_sure_of_room()?;
        job.check(name)?;
        after::check(self, name, &job.after)?;
        if let super::Platforms::Named(named) = &job.platforms {
            named.iter().try_for_each(|platform| self.refuse_dropped(platform))?;
        }
        Ok(())
    }

    fn queued_everywhere(&self, name: &JobName) -> Result<Vec<Ticket>> {
        let mut tickets = Vec::new();
        for platform in self.platforms()? {
            tickets.extend(self.queued_of(name, &platform)?);
        }
        Ok(tickets)
    }

    /// Removes a job and its queued builds; running and finished ones stay. Returns what was taken, and the jobs
    /// that waited for it.
    pub fn remove_job(&self, name: &JobName) -> Result<(Vec<BuildId>, Vec<JobName>)> {
        let _lock = self.lock_jobs()?;
        if !self.layout().job(name).exists() {
            self.job(name)?;
        }
        let removed = self.remove_queued(name)?;
        self.remove_files(name)?;
        wake::ring(&self.layout().wake_daemon());
        let waits = |job: &Result<Job>| job.as_ref().is_ok_and(|job| job.after.contains(name));
        let waited = self.jobs()?.into_iter().filter(|(_, job)| waits(job)).map(|(name, _)| name);
        Ok((removed, waited.collect()))
    }

    fn remove_queued(&self, name: &JobName) -> Result<Vec<BuildId>> {
        let mut removed = Vec::new();
        for platform in self.platforms()? {
            removed.extend(self.empty_queue(&platform, |id| id.job() == name)?);
        }
        Ok(removed)
    }

    /// The job's own file goes last: as long as it is there, the job can be removed, whatever a crash has left of the rest.
    fn remove_files(&self, name: &JobName) -> Result<()> {
        for (file, dir) in [(self.layout().timer(name), "timers"), (self.layout().good_job(name), "good")] {
            if file.exists() {
                disk::remove_file(&file)?;
                disk::sync_dir(&self.layout().directory(dir))?;
            }
        }
        self.remove_latest(name)?;
        disk::remove_file(&self.layout().job(name))?;
        disk::sync_dir(&self.layout().jobs())
    }

    /// A job as the text of its file.
    pub fn job_text(&self, name: &JobName) -> Result<String> {
        let path = self.layout().job(name);
        let Some(bytes) = disk::read_if_there(&path, LONGEST)? else {
            return self.job(name).and_then(|job| text(&job));
        };
        String::from_utf8(bytes).map_err(|_| Error::new(Kind::Data, format!("{} is not UTF-8 text", path.display())))
    }
}

/// Reads a job from the bytes of its file; `path` is for messages.
///
/// # Errors
/// [`Kind::Data`] for what is no job, or none that can be carried out.
pub fn parse(name: &JobName, bytes: &[u8], path: &Path) -> Result<Job> {
    let job: Job = record::parse_written(path, bytes, Kind::Data)?;
    job.check(name).map_err(|e| Error::new(Kind::Data, format!("{}: {e}", path.display())))?;
    Ok(job)
}

/// A job as the text of its file, which [`parse`] reads.
pub fn text(job: &Job) -> Result<String> {
    toml::to_string_pretty(job).map_err(|e| Error::new(Kind::Internal, format!("a job can't be written as TOML: {e}")))
}

fn pretty(job: &Job) -> Result<Vec<u8>> {
    text(job).map(String::into_bytes)
}

/// The file of a job, for a daemon that must notice each change: inode, time of change in seconds, nanoseconds.
pub fn stamp(spool: &Spool, name: &JobName) -> Result<Option<(u64, i64, i64)>> {
    use std::os::unix::fs::MetadataExt;
    match spool.layout().job(name).symlink_metadata() {
        Ok(meta) => Ok(Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("look at", spool.layout().job(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_written_before_there_was_more_to_say_is_read() {
        let text = "created = \"2026-11-24T09:47:01.123Z\"\nplatforms = [\"debian-12\"]\nevery = \"daily\"\n\
                    first = \"2026-11-24T09:47:01.123Z\"\ntimeout_seconds = 3600\nattempts = 3\ntemplate = \"t\"\n\
                    script = \"\"\"\n#!/bin/sh\n#% var NAME: a name\necho 'x' %%PLATFORM%%\n\"\"\"\n\n[values]\nNAME = \"x\"\n";
        let name: JobName = "hello".parse().unwrap();
        let job = parse(&name, text.as_bytes(), Path::new("hello.toml")).unwrap();
        let (script, values) = job.script_for(&"debian-12".parse().unwrap(), &BTreeMap::new()).unwrap();
        assert!(script.ends_with(b"echo 'x' debian-12\n"));
        assert_eq!((values["NAME"].as_str(), job.concurrency, u8::from(job.priority)), ("x", 1, 50));
        // And what is written now says no more than it must.
        assert_eq!(super::text(&job).unwrap().lines().filter(|line| line.contains(" = ")).count(), 9);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named_with_its_line() {
        let name: JobName = "hello".parse().unwrap();
        let complaint =
            |text: &str| parse(&name, text.as_bytes(), Path::new("jobs/hello.toml")).unwrap_err().to_string();
        let start = "created = \"2026-11-24T09:47:01Z\"\nplatforms = \"all\"\ntimeout_seconds = 1\nattempts = 1\nscript = \"x\"\n";
        assert!(complaint(&format!("{start}tiemout = 3\n")).starts_with("jobs/hello.toml: line 6: unknown field"));
        assert!(
            complaint(&format!("every = \"daily\"\ncron = \"@daily\"\n{start}")).contains("both `every` and `cron`")
        );
        assert!(complaint(&format!("cron = \"0 25 * * *\"\n{start}")).contains("the field hour is wrong"));
        assert!(complaint(&start.replace("\"all\"", "\"some\"")).contains("a list of names, or \"all\""));
        assert!(complaint(&start.replace("attempts = 1", "attempts = 0")).contains("1 or more"));
        assert!(complaint(&format!("tz = \"Europe/Berlin\"\n{start}")).contains("`tz` is for `cron`"));
    }
}
