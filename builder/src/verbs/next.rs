//! `builder next`: the moments that come, so that a schedule can be read before it bites.

use crate::args::NextArgs;
use crate::out;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use spool::error::{Error, Kind, Result};
use spool::name::JobName;
use spool::schedule::moment::{moment, zone};
use spool::schedule::{Cron, Rule, Schedule};
use spool::{Spool, clock};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Prints the moments of an expression; of no spool.
pub fn of_expression(args: &NextArgs) -> Result<()> {
    let expression = args.cron.as_deref().unwrap_or_default();
    let cron = Cron::parse(expression, args.tz.as_deref())?;
    let zone = zone(cron.zone())?;
    out::print(&lines(args, &zone, |at| cron.next(at))?)
}

/// Prints the moments of one job, or of all jobs in the order in which they come.
pub fn run(spool: &Spool, args: &NextArgs) -> Result<()> {
    if args.tz.is_some() {
        return Err(Error::new(Kind::Usage, "--tz is for --cron, and there is none")
            .hint("a job's moments are in its own zone, those of all jobs in UTC"));
    }
    match &args.name {
        Some(name) => of_job(spool, args, &name.parse()?),
        None => of_all(spool, args),
    }
}

fn of_job(spool: &Spool, args: &NextArgs, name: &JobName) -> Result<()> {
    let schedule = spool.job(name)?.schedule(name)?;
    let zone = match &schedule.rule {
        Rule::Cron(cron) => zone(cron.zone())?,
        Rule::Every(_) => TimeZone::UTC,
    };
    let text = lines(args, &zone, |at| schedule.next(at))?;
    if text.is_empty() {
        out::hint(&format!("{name} has no moment to come; `builder run {name}` builds it now"));
    }
    out::print(&text)
}

fn of_all(spool: &Spool, args: &NextArgs) -> Result<()> {
    let from = from(args, &TimeZone::UTC)?;
    let mut schedules: Vec<(JobName, Schedule)> = Vec::new();
    for (name, job) in spool.jobs()? {
        match job.and_then(|job| job.schedule(&name)) {
            Ok(schedule) => schedules.push((name, schedule)),
            Err(e) => out::hint(&e.to_string()),
        }
    }
    // The next moment of each job; when one is printed, the one after it takes its place.
    let coming = |index: usize, after| schedules[index].1.next(after).map(|next| Reverse((next, index)));
    let mut heap: BinaryHeap<_> = (0..schedules.len()).filter_map(|index| coming(index, from)).collect();
    let mut text = String::new();
    for _ in 0..args.count {
        let Some(Reverse((at, index))) = heap.pop() else { break };
        text += &format!("{at}  {}\n", schedules[index].0);
        heap.extend(coming(index, at));
    }
    if text.is_empty() {
        out::hint("no job has a moment to come; `builder ls` shows the jobs");
    }
    out::print(&text)
}

fn from(args: &NextArgs, zone: &TimeZone) -> Result<Timestamp> {
    let now = clock::now();
    args.from.as_deref().map_or(Ok(now), |text| moment(text, now, zone))
}

/// As many moments as were asked for, in RFC 3339 with the offset that the zone has then.
fn lines(args: &NextArgs, zone: &TimeZone, next: impl Fn(Timestamp) -> Option<Timestamp>) -> Result<String> {
    let coming = std::iter::successors(next(from(args, zone)?), |at| next(*at));
    let line = |at: Timestamp| match *zone == TimeZone::UTC {
        true => format!("{at}\n"),
        false => format!("{}\n", at.display_with_offset(zone.to_offset(at))),
    };
    Ok(coming.take(args.count.into()).map(line).collect())
}
