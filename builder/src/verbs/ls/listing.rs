//! What `builder ls` lists, as it stands in the spool; `--json` prints it as it is.

use super::super::worker;
use jiff::Timestamp;
use serde::Serialize;
use spool::Spool;
use spool::build_id::BuildId;
use spool::error::{Kind, Result};
use spool::find::Build;
use spool::job::{Job, Platforms};
use spool::mend::Patience;
use spool::name::{JobName, Platform, WorkerName};
use spool::place::{Place, Priority, Ticket};
use spool::platform::State;
use std::collections::{BTreeMap, HashSet};

/// So many read jobs at once, each at least so many of them.
const READERS: usize = 8;
const FEW: usize = 500;

/// All of it.
#[derive(Default, Serialize)]
pub struct Listing {
    /// Whether nothing is handed out, for maintenance.
    pub drains: bool,
    pub platforms: Vec<ListedPlatform>,
    pub jobs: Vec<ListedJob>,
    pub queued: Vec<Queued>,
    pub running: Vec<Running>,
    pub workers: Vec<worker::Listed>,
    /// Files that can't be read, each with what is wrong.
    pub broken: Vec<String>,
}

#[derive(Serialize)]
pub struct ListedPlatform {
    pub platform: Platform,
    pub state: State,
    pub queued: usize,
}

#[derive(Serialize)]
pub struct ListedJob {
    pub name: JobName,
    pub platforms: Platforms,
    pub schedule: String,
    /// When it is due; in the past when it is due now.
    pub next: Option<Timestamp>,
    pub timeout_seconds: u64,
    pub template: Option<String>,
}

#[derive(Serialize)]
pub struct Queued {
    pub build: BuildId,
    /// A part of the id that will do for every verb.
    pub short_id: String,
    pub job: JobName,
    pub platform: Platform,
    /// 1 is handed out first.
    pub position: usize,
    pub priority: Priority,
    pub since: Timestamp,
    pub lost_attempts: usize,
}

#[derive(Serialize)]
pub struct Running {
    pub build: BuildId,
    pub short_id: String,
    pub job: JobName,
    pub platform: Platform,
    pub worker: Option<WorkerName>,
    pub since: Option<Timestamp>,
    /// Whether its worker is connected now, as far as its server knows.
    pub connected: bool,
    pub last_heard: Option<Timestamp>,
    /// When it is given to another worker, unless this one is heard before.
    pub lapses: Option<Timestamp>,
}

/// Reads it all, or what there is of some jobs.
pub fn read(spool: &Spool, only: &[JobName], patience: Patience, now: Timestamp) -> Result<Listing> {
    let mut listing = Listing { drains: spool.drains(), ..Listing::default() };
    if only.is_empty() {
        (listing.workers, listing.broken) = worker::all(spool)?;
    }
    let shorts = builds(spool, only, patience, &mut listing)?;
    platforms(spool, &mut listing)?;
    jobs(spool, only, shorts, &mut listing, now)?;
    Ok(listing)
}

fn jobs(spool: &Spool, only: &[JobName], mut shorts: Shorts, listing: &mut Listing, now: Timestamp) -> Result<()> {
    let mut names = spool.job_names()?;
    shorts.avoid(&names);
    shorts.give(listing);
    if !only.is_empty() {
        names = only.to_vec();
    }
    names.sort();
    names.dedup();
    for job in at_once(&names, |name| spool.job(name).and_then(|job| listed_job(spool, name, job, now))) {
        match job {
            Ok(job) => listing.jobs.push(job),
            // It was there a moment ago.
            Err(e) if e.kind() == Kind::NoInput && only.is_empty() => {}
            Err(e) if e.kind() == Kind::NoInput => return Err(e),
            Err(e) => listing.broken.push(e.to_string()),
        }
    }
    Ok(())
}

/// Reads jobs, several at once: a hundred thousand that are not in memory wait for the disk most of the time. Each
/// is reduced to what is listed before the next is read, so that no scripts pile up.
fn at_once(names: &[JobName], read: impl Fn(&JobName) -> Result<ListedJob> + Sync) -> Vec<Result<ListedJob>> {
    let share = names.len().div_ceil(READERS).max(FEW);
    let read = &read;
    std::thread::scope(|scope| {
        let parts = names.chunks(share);
        let readers: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(read).collect::<Vec<_>>())).collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn listed_job(spool: &Spool, name: &JobName, job: Job, now: Timestamp) -> Result<ListedJob> {
    let schedule = job.schedule(name)?;
    // What is due and not fired yet comes at once, as soon as builderd runs.
    let due = schedule.due(spool.fired(name).unwrap_or_default(), now);
    Ok(ListedJob {
        schedule: job.schedule_word(),
        next: due.or_else(|| schedule.next(now)),
        name: name.clone(),
        platforms: job.platforms,
        timeout_seconds: job.timeout_seconds,
        template: job.template,
    })
}

fn builds(spool: &Spool, only: &[JobName], patience: Patience, listing: &mut Listing) -> Result<Shorts> {
    let mut shorts = Shorts::default();
    let mut waiting: BTreeMap<Platform, usize> = BTreeMap::new();
    for build in spool.open_builds()? {
        shorts.add(&build.id);
        let position = waiting.entry(build.id.platform().clone()).or_default();
        let queued = matches!(build.place, Place::Queued(_));
        *position += usize::from(queued);
        if !only.is_empty() && !only.contains(build.id.job()) {
            continue;
        }
        match &build.place {
            Place::Queued(ticket) => listing.queued.push(queued_build(&build, ticket, *position)),
            _ => listing.running.push(running_build(&build, patience)),
        }
    }
    Ok(shorts)
}

fn queued_build(build: &Build<'_>, ticket: &Ticket, position: usize) -> Queued {
    Queued {
        build: build.id.clone(),
        short_id: String::new(),
        job: build.id.job().clone(),
        platform: build.id.platform().clone(),
        position,
        priority: ticket.priority,
        since: build.id.time(),
        lost_attempts: build.attempts().map_or(0, |attempts| attempts.list.len()),
    }
}

fn running_build(build: &Build<'_>, patience: Patience) -> Running {
    let lease = build.lease().ok().flatten();
    Running {
        build: build.id.clone(),
        short_id: String::new(),
        job: build.id.job().clone(),
        platform: build.id.platform().clone(),
        connected: build.is_served(),
        last_heard: build.last_heard(),
        lapses: patience.lapses(build),
        since: lease.as_ref().map(|lease| lease.since),
        worker: lease.map(|lease| lease.worker),
    }
}

fn platforms(spool: &Spool, listing: &mut Listing) -> Result<()> {
    let mut waiting: BTreeMap<&Platform, usize> = BTreeMap::new();
    for one in &listing.queued {
        *waiting.entry(&one.platform).or_default() += 1;
    }
    let listed = |(platform, state): (Platform, State)| ListedPlatform {
        queued: waiting.get(&platform).copied().unwrap_or(0),
        platform,
        state,
    };
    listing.platforms = spool.platform_states()?.into_iter().map(listed).collect();
    Ok(())
}

/// The ends of the open builds' ids, and those of them that would not do: two builds have it, or it is a job's name.
#[derive(Default)]
struct Shorts {
    seen: HashSet<String>,
    ambiguous: HashSet<String>,
}

impl Shorts {
    fn add(&mut self, id: &BuildId) {
        if !self.seen.insert(id.tail().to_owned()) {
            self.ambiguous.insert(id.tail().to_owned());
        }
    }

    fn avoid(&mut self, names: &[JobName]) {
        let taken = names.iter().filter(|name| self.seen.contains(name.as_str()));
        self.ambiguous.extend(taken.map(ToString::to_string));
    }

    fn of(&self, id: &BuildId) -> String {
        if self.ambiguous.contains(id.tail()) { id.to_string() } else { id.tail().to_owned() }
    }

    fn give(&self, listing: &mut Listing) {
        listing.queued.iter_mut().for_each(|one| one.short_id = self.of(&one.build));
        listing.running.iter_mut().for_each(|one| one.short_id = self.of(&one.build));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_only_while_its_end_means_one_build() {
        let id = |text: &str| text.parse::<BuildId>().unwrap();
        let ids = ["a@p-k3f9x2", "b@p-k3f9x2", "a@p-000000", "a@p-bench0"];
        let ids = ids.map(|end| id(&format!("20261124T094701.123Z-{end}")));
        let mut shorts = Shorts::default();
        ids.iter().for_each(|id| shorts.add(id));
        shorts.avoid(&["bench0".parse().unwrap(), "other".parse().unwrap()]);
        let given = ids.each_ref().map(|id| shorts.of(id));
        assert_eq!(given, [ids[0].as_str(), ids[1].as_str(), "000000", ids[3].as_str()]);
    }
}
