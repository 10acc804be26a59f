//! What `add` and `set` say of a job, put into it.

use super::{artifact, artifacts, bytes, keep, names, or_none, seconds, vary};
use crate::args::{HowArgs, WhenArgs};
use jiff::Timestamp;
use spool::error::{Error, Kind, Result};
use spool::job::Job;
use spool::schedule::{Every, moment};

/// The schedule of a new job.
pub fn begin(job: &mut Job, when: &WhenArgs, now: Timestamp) -> Result<()> {
    let first = first(when, now)?;
    match (&when.cron, &when.every) {
        (Some(cron), _) => {
            job.cron = Some(cron.clone());
            job.tz = when.tz.clone();
            job.since = Some(now);
        }
        (None, Some(every)) => job.every = Some(every.parse()?),
        (None, None) if when.at.is_some() || !when.after.is_empty() => job.every = Some(Every::Never),
        (None, None) => job.every = Some(Every::Daily),
    }
    let at_once = !matches!(job.every, None | Some(Every::Never));
    job.first = first.or(at_once.then_some(now));
    check_zone(job, when)?;
    spread(job, when)
}

/// Another schedule for a job. Nothing is owed for moments that have passed.
pub fn reschedule(job: &mut Job, when: &WhenArgs, now: Timestamp) -> Result<()> {
    let first = first(when, now)?;
    if let Some(first) = first.filter(|first| *first <= now) {
        return Err(Error::new(Kind::Usage, format!("{first} has passed"))
            .hint("give a moment to come, or say `builder run` to build it now"));
    }
    if let Some(cron) = &when.cron {
        (job.cron, job.tz, job.every, job.first) = (Some(cron.clone()), when.tz.clone(), None, None);
    } else if let Some(every) = &when.every {
        (job.cron, job.tz, job.every) = (None, None, Some(every.parse()?));
        job.first = job.first.or(Some(now)).filter(|_| job.every != Some(Every::Never));
    } else if job.cron.is_some() && when.tz.is_some() && first.is_none() {
        job.tz = when.tz.clone();
    }
    job.first = first.or(job.first);
    if when.cron.is_some() || when.every.is_some() || when.tz.is_some() || first.is_some() {
        job.since = Some(now);
    }
    check_zone(job, when)?;
    spread(job, when)
}

fn first(when: &WhenArgs, now: Timestamp) -> Result<Option<Timestamp>> {
    let zone = moment::zone(when.tz.as_deref())?;
    when.at.as_ref().or(when.next.as_ref()).map(|text| moment::moment(text, now, &zone)).transpose()
}

fn check_zone(job: &Job, when: &WhenArgs) -> Result<()> {
    if when.tz.is_some() && job.cron.is_none() && when.at.is_none() && when.next.is_none() {
        return Err(Error::new(Kind::Usage, "--tz is for --cron, --at and --next, and there is none of them"));
    }
    Ok(())
}

fn spread(job: &mut Job, when: &WhenArgs) -> Result<()> {
    if let Some(jitter) = &when.jitter {
        job.jitter_seconds = seconds("--jitter", jitter, 0)?;
    }
    if !when.after.is_empty() {
        job.after = names(&when.after)?;
    }
    Ok(())
}

/// Limits and the like, those that are given.
pub fn apply(job: &mut Job, how: &HowArgs) -> Result<()> {
    if let Some(priority) = how.priority {
        job.priority = priority.try_into()?;
    }
    if let Some(timeout) = &how.timeout {
        job.timeout_seconds = seconds("--timeout", timeout, 1)?;
    }
    if let Some(silence) = &how.silence {
        job.silence_seconds = or_none(silence, |text| seconds("--silence", text, 1))?;
    }
    if let Some(limit) = &how.log_limit {
        job.console_bytes = or_none(limit, |text| bytes("--log-limit", text))?;
    }
    if let Some(retries) = how.retries {
        job.attempts = retries + 1;
    }
    if let Some(answer) = &how.retry_failures {
        job.retry_failures = answer == "yes";
    }
    if let Some(answer) = &how.network {
        job.network = answer == "yes";
    }
    if let Some(concurrency) = how.concurrency {
        job.concurrency = concurrency;
    }
    if let Some(reproduce) = how.reproduce {
        job.reproduce = reproduce;
    }
    if let Some(text) = &how.vary.vary {
        job.vary = vary(text)?;
    }
    if job.reproduce == 0 && how.reproduce.is_some() && how.vary.vary.is_none() {
        job.vary.clear();
    }
    if let Some(text) = &how.keep {
        job.keep = keep(text)?;
    }
    if !how.inputs.is_empty() {
        job.inputs = artifacts("--input", &how.inputs)?;
    }
    if let Some(path) = &how.main {
        job.main = or_none(path, |path| artifact("--main", path))?;
    }
    if !how.secrets.is_empty() {
        job.secrets = names(&how.secrets)?;
    }
    Ok(())
}
