//! `state`: the schedule, the queues and the platforms that were dropped.

use super::der::Reader;
use super::fields::{ScriptJob, Time};
use super::tag;
use jiff::Timestamp;
use spool::error::Result;
use spool::job::{LONGEST_SCRIPT, check_script};
use spool::name::{JobName, Platform};
use spool::schedule::Every;
use std::io::Read;

/// The largest file, in bytes: it is held in memory.
pub const LARGEST: u64 = 256 << 20;

/// The longest name of an opam package, in bytes.
const LONGEST_PACKAGE: u64 = 4096;

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A script on one platform.
    Script(Platform, String),
    /// An opam package by orb, on each platform for which there is a template.
    Orb(String),
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// What it builds.
    pub work: Work,
}

/// A job and when it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Which.
    pub job: Job,
    /// How often.
    pub every: Every,
    /// When it is due next; nothing when it never is by itself.
    pub next: Option<Timestamp>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The jobs.
    pub schedule: Vec<Scheduled>,
    /// What waits on each platform, in order.
    pub queues: Vec<(Platform, Vec<Job>)>,
    /// The platforms that take no builds.
    pub dropped: Vec<Platform>,
}

impl State {
    /// Reads a state, of no more than `most` bytes. What releases before the last wrote of queues is passed over, as
    /// robur's builder itself does.
    ///
    /// # Errors
    /// [`spool::error::Kind::Data`] for what robur's builder does not write, with the byte and the field.
    pub fn read(from: impl Read, most: u64) -> Result<State> {
        let mut der = Reader::new(from, most.min(LARGEST));
        let mut state = State::default();
        der.enter(tag::SEQUENCE, "state")?;
        while der.more() {
            state.item(&mut der)?;
        }
        der.leave("state")?;
        der.finish("state")?;
        Ok(state)
    }

    fn item<R: Read>(&mut self, der: &mut Reader<R>) -> Result<()> {
        const LAST: u8 = 5;
        let tag = der.peek("state")?.unwrap_or(0);
        let number = (0..=LAST).find(|number| tag::explicit(*number) == tag).unwrap_or(LAST);
        der.enter(tag::explicit(number), "state")?;
        match number {
            0 => drop(script(der)?),
            1 => self.schedule.push(scheduled(der, script)?),
            2 => drop(job(der)?),
            3 => self.schedule.push(scheduled(der, job)?),
            4 => self.queues.push(queue(der)?),
            _ => self.dropped.push(der.parsed(Platform::LONGEST, "dropped")?),
        }
        der.leave("state")
    }
}

fn scheduled<R: Read>(der: &mut Reader<R>, job: fn(&mut Reader<R>) -> Result<Job>) -> Result<Scheduled> {
    der.enter(tag::SEQUENCE, "schedule")?;
    let next = Time::read(der, "schedule.next")?;
    let every = period(der)?;
    // What is never due has the last moment that OCaml's library knows.
    let next = (every != Every::Never).then(|| next.moment(der, "schedule.next")).transpose()?;
    let job = job(der)?;
    der.leave("schedule")?;
    Ok(Scheduled { job, every, next })
}

fn period<R: Read>(der: &mut Reader<R>) -> Result<Every> {
    const PERIODS: [Every; 4] = [Every::Hourly, Every::Daily, Every::Weekly, Every::Never];
    let tag = der.peek("schedule.period")?;
    let found = (0..).zip(PERIODS).find(|(number, _)| Some(tag::explicit(*number)) == tag);
    let (number, every) = found.unwrap_or((0, Every::Hourly));
    der.enter(tag::explicit(number), "schedule.period")?;
    der.null("schedule.period")?;
    der.leave("schedule.period")?;
    Ok(every)
}

fn queue<R: Read>(der: &mut Reader<R>) -> Result<(Platform, Vec<Job>)> {
    der.enter(tag::SEQUENCE, "queue")?;
    let platform = der.parsed(Platform::LONGEST, "queue.platform")?;
    let mut jobs = Vec::new();
    der.enter(tag::SEQUENCE, "queue.jobs")?;
    while der.more() {
        jobs.push(job(der)?);
    }
    der.leave("queue.jobs")?;
    der.leave("queue")?;
    Ok((platform, jobs))
}

fn job<R: Read>(der: &mut Reader<R>) -> Result<Job> {
    const ORB: u8 = tag::explicit(1);
    let is_orb = der.peek("job")? == Some(ORB);
    der.enter(if is_orb { ORB } else { tag::explicit(0) }, "job")?;
    let job = if is_orb { orb(der) } else { script(der) }?;
    der.leave("job")?;
    Ok(job)
}

fn script<R: Read>(der: &mut Reader<R>) -> Result<Job> {
    let at = der.at();
    let ScriptJob { name, platform, script, .. } = ScriptJob::read(der, LONGEST_SCRIPT as u64)?;
    let script = check_script(script, "it").map_err(|e| der.wrong(at, "job.script", e))?;
    Ok(Job { name, work: Work::Script(platform, script) })
}

fn orb<R: Read>(der: &mut Reader<R>) -> Result<Job> {
    der.enter(tag::SEQUENCE, "job")?;
    let name = der.parsed(JobName::LONGEST, "job.name")?;
    let package = der.text(LONGEST_PACKAGE, "job.opam_package")?;
    der.leave("job")?;
    Ok(Job { name, work: Work::Orb(package) })
}
