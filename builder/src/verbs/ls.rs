//! `builder ls`: the schedule, the queues, what runs, the workers.

use super::worker;
use crate::args::LsArgs;
use crate::{out, text};
use jiff::Timestamp;
use serde::Serialize;
use spool::build_id::BuildId;
use spool::error::Result;
use spool::find::Build;
use spool::job::{Job, Platforms};
use spool::name::{JobName, Platform, WorkerName};
use spool::place::{Place, Priority};
use spool::{Spool, clock};

#[derive(Serialize)]
struct Listing {
    jobs: Vec<ListedJob>,
    queued: Vec<Queued>,
    running: Vec<Running>,
    workers: Vec<worker::Listed>,
    /// Files that can't be read, each with what is wrong.
    broken: Vec<String>,
}

#[derive(Serialize)]
struct ListedJob {
    name: JobName,
    platforms: Platforms,
    schedule: String,
    next: Option<Timestamp>,
    timeout_seconds: u64,
    template: Option<String>,
}

#[derive(Serialize)]
struct Queued {
    build: BuildId,
    platform: Platform,
    priority: Priority,
    lost_attempts: usize,
}

#[derive(Serialize)]
struct Running {
    build: BuildId,
    worker: Option<WorkerName>,
    since: Option<Timestamp>,
    /// Whether its worker is connected now.
    connected: bool,
    last_heard: Option<Timestamp>,
}

/// Lists all.
pub fn run(spool: &Spool, args: &LsArgs) -> Result<()> {
    let now = clock::now();
    let listing = listing(spool, now)?;
    if args.json {
        return out::json(&listing);
    }
    for complaint in &listing.broken {
        out::hint(complaint);
    }
    let text = render(&listing, now);
    if text.is_empty() {
        out::hint("there are no jobs; `builder add` adds one");
    }
    out::print(&text)
}

fn listing(spool: &Spool, now: Timestamp) -> Result<Listing> {
    let (workers, mut broken) = worker::all(spool)?;
    let mut jobs = Vec::new();
    for (name, job) in spool.jobs()? {
        match job {
            Ok(job) => jobs.push(listed_job(spool, name, job, now)?),
            Err(e) => broken.push(e.to_string()),
        }
    }
    let (mut queued, mut running) = (Vec::new(), Vec::new());
    for build in spool.open_builds()? {
        match &build.place {
            Place::Queued(ticket) => queued.push(Queued {
                platform: build.id.platform().clone(),
                priority: ticket.priority,
                lost_attempts: build.attempts().map_or(0, |attempts| attempts.list.len()),
                build: build.id,
            }),
            _ => running.push(listed_run(build)),
        }
    }
    Ok(Listing { jobs, queued, running, workers, broken })
}

fn listed_job(spool: &Spool, name: JobName, job: Job, now: Timestamp) -> Result<ListedJob> {
    let schedule = job.schedule(&name)?;
    // What is due and not fired yet comes at once, as soon as builderd runs.
    let due = schedule.due(spool.fired(&name).unwrap_or_default(), now);
    Ok(ListedJob {
        schedule: job.schedule_word(),
        next: due.or_else(|| schedule.next(now)),
        name,
        platforms: job.platforms,
        timeout_seconds: job.timeout_seconds,
        template: job.template,
    })
}

fn listed_run(build: Build<'_>) -> Running {
    let lease = build.lease().ok().flatten();
    Running {
        connected: build.is_served(),
        last_heard: build.last_heard(),
        since: lease.as_ref().map(|lease| lease.since),
        worker: lease.map(|lease| lease.worker),
        build: build.id,
    }
}

fn render(listing: &Listing, now: Timestamp) -> String {
    let jobs = listing.jobs.iter().map(|job| {
        let next = match job.next {
            Some(next) if next <= now => "due now".to_owned(),
            Some(next) => format!("next {}", text::time(next)),
            None => String::new(),
        };
        vec![job.name.to_string(), job.platforms.to_string(), job.schedule.clone(), next]
    });
    let queued = listing.queued.iter().map(|one| {
        let lost = match one.lost_attempts {
            0 => String::new(),
            lost => format!("lost {}", text::count(lost, "worker")),
        };
        vec![one.build.to_string(), lost]
    });
    let running = listing.running.iter().map(|one| {
        let worker = one.worker.as_ref().map_or("?", WorkerName::as_str);
        let since = one.since.map_or(String::new(), |since| text::between(since, now));
        let silent = match (one.connected, one.last_heard) {
            (true, _) => String::new(),
            (false, Some(heard)) => format!("not connected, last heard {} ago", text::between(heard, now)),
            (false, None) => "not connected".to_owned(),
        };
        vec![one.build.to_string(), worker.to_owned(), since, silent]
    });
    let sections = [
        ("Jobs", text::table(&jobs.collect::<Vec<_>>())),
        ("Queued", text::table(&queued.collect::<Vec<_>>())),
        ("Running", text::table(&running.collect::<Vec<_>>())),
        ("Workers", worker::table(&listing.workers)),
    ];
    let filled = sections.iter().filter(|(_, lines)| !lines.is_empty());
    filled.map(|(title, lines)| format!("{title}\n{lines}")).collect()
}
