//! How the whole is: what waits and runs, who is there for it, and how much room there is. For people, for Nagios, and for
//! Prometheus.
//!
//! It is cheap with a million builds that are over: nothing here reads them all, or walks through the store.

mod kept;
mod metrics;
mod tally;

pub use kept::Kept;
pub use metrics::{Measured, metrics, publish};
pub use tally::{BUCKETS, Ended, OUTCOMES, Tally};

use crate::disk;
use crate::error::Result;
use crate::find::Build;
use crate::name::{Platform, WorkerName};
use crate::place::Ticket;
use crate::platform::State;
use crate::room::Disk;
use crate::spool::Spool;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A spool at one moment, roughly: it goes on while it is looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether builderd runs.
    pub builderd: bool,
    /// Whether nothing is handed out.
    pub drains: bool,
    /// How many jobs there are.
    pub jobs: usize,
    /// By platform.
    pub platforms: BTreeMap<Platform, OfPlatform>,
    /// All workers, each once.
    pub workers: Workers,
    /// Builds that are over, and whose end owes something still.
    pub owing: usize,
    /// The spool's file system.
    pub disk: Disk,
}

/// A platform at that moment.
#[derive(Clone, Debug, Serialize)]
pub struct OfPlatform {
    /// What its operator says.
    pub state: State,
    /// Builds that wait.
    pub waiting: usize,
    /// When the oldest of them was queued, by its id: one that is queued again, or tried again, keeps its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Builds that run.
    pub running: usize,
    /// Those of them whose worker is away.
    pub silent: usize,
    /// Its connected workers.
    pub workers: usize,
    /// Those of them that have no build, and may get one.
    pub free: usize,
    /// Workers that were launched and have not come.
    pub launched: usize,
    /// How many launches have failed, one after the other.
    pub launch_failures: u32,
    /// Why the last of them has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_failed: Option<String>,
    /// Workers that would be launched, and have no key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub launch_keyless: Vec<WorkerName>,
}

/// Workers at that moment, each counted once.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Workers {
    /// Connected, without a build.
    pub free: usize,
    /// Connected, with a build.
    pub busy: usize,
    /// Not connected.
    pub away: usize,
    /// That get no builds for a while, connected or not.
    pub quarantined: usize,
}

impl Workers {
    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.free + self.busy
    }
}

impl Spool {
    /// How the spool is.
    pub fn status(&self, now: Timestamp) -> Result<Status> {
        let mut platforms = BTreeMap::new();
        for (platform, state) in self.platform_states()? {
            let of = self.of_platform(&platform, state)?;
            platforms.insert(platform, of);
        }
        let running = self.active_builds()?;
        for build in &running {
            if let Some(of) = platforms.get_mut(build.id.platform()) {
                of.running += 1;
                of.silent += usize::from(!build.is_served());
            }
        }
        let workers = self.count_workers(&running, &mut platforms, now)?;
        Ok(Status {
            builderd: self.has_builderd(),
            drains: self.drains(),
            jobs: disk::names(&self.layout().jobs())?.iter().filter(|name| name.ends_with(".toml")).count(),
            platforms,
            workers,
            owing: disk::names(&self.layout().all_owed())?.len(),
            disk: self.disk()?,
        })
    }

    fn of_platform(&self, platform: &Platform, state: State) -> Result<OfPlatform> {
        let names = disk::names(&self.layout().queue(platform))?;
        // An id begins with its time, so that one need be parsed. What is behind the priority in `10-…` is the id.
        let tickets = names.iter().filter(|name| name.as_bytes().get(2) == Some(&b'-'));
        let oldest = tickets.clone().min_by_key(|name| name.get(3..)).and_then(|name| name.parse::<Ticket>().ok());
        let launches = self.launches(platform);
        Ok(OfPlatform {
            state,
            waiting: tickets.count(),
            oldest: oldest.map(|ticket| ticket.id.time()),
            running: 0,
            silent: 0,
            workers: 0,
            free: 0,
            launched: launches.under_way.len(),
            launch_failures: launches.failures,
            launch_failed: launches.said,
            launch_keyless: launches.keyless,
        })
    }

    fn count_workers(
        &self,
        running: &[Build<'_>],
        platforms: &mut BTreeMap<Platform, OfPlatform>,
        now: Timestamp,
    ) -> Result<Workers> {
        let busy = Spool::holders(running);
        let names = disk::names(&self.layout().workers())?;
        let names = names.iter().filter_map(|name| name.rsplit_once('.').filter(|(_, kind)| *kind != "health"));
        let names: BTreeSet<WorkerName> = names.filter_map(|(name, _)| name.parse().ok()).collect();
        let mut workers = Workers::default();
        for name in names {
            let (seen, connected) = self.seen(&name).unwrap_or_default();
            let (busy, sick) = (busy.contains(&name), self.quarantined(&name, now).is_some());
            let count = match (connected, busy) {
                (false, _) => &mut workers.away,
                (true, true) => &mut workers.busy,
                (true, false) => &mut workers.free,
            };
            *count += 1;
            workers.quarantined += usize::from(sick);
            for platform in seen.platforms.iter().filter(|_| connected) {
                if let Some(of) = platforms.get_mut(platform) {
                    of.workers += 1;
                    of.free += usize::from(!busy && !sick);
                }
            }
        }
        Ok(workers)
    }
}
