//! What a platform needs: what waits there, and who could take it.

use super::{Launch, Launches};
use crate::clock;
use crate::disk;
use crate::error::Result;
use crate::find::Build;
use crate::layout::file;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::Ticket;
use crate::queue::QueueView;
use crate::record::{self, Request};
use crate::spool::Spool;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What waits on a platform, and who is there to take it.
#[derive(Clone, Debug, Default)]
pub struct Need {
    /// Of each build that could be taken now, counted no further than needed: the only workers that may, if not all.
    pub waiting: Vec<Option<BTreeSet<WorkerName>>>,
    /// The connected workers without a build.
    pub free: Vec<WorkerName>,
    /// The workers that can be launched, and those that were.
    pub slots: Vec<Slot>,
}

/// A worker that can be launched.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: WorkerName,
    /// Whether it may be launched still.
    pub is_ours: bool,
    /// Whether it was added, with a key.
    pub has_key: bool,
    /// Whether it is there.
    pub connected: bool,
    /// When it has last connected.
    pub last: Option<Timestamp>,
    /// Whether it gets no builds for a while.
    pub quarantined: bool,
    /// Whether the command that launches it still runs, as builderd alone knows.
    pub is_started: bool,
}

impl Need {
    /// The slot of a worker.
    pub fn slot(&self, worker: &WorkerName) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == *worker)
    }
}

impl Slot {
    /// Whether it is there, or was there since. What it did before a clock was set back lies in the future.
    pub fn has_come_since(&self, since: Timestamp, now: Timestamp) -> bool {
        self.connected || self.last.is_some_and(|last| (since..=now).contains(&last))
    }
}

/// Those of the builds that could be taken, should all who are free take one and all of ours be launched. One that waits
/// for somebody who is neither hides none behind it.
fn that_count(
    waiting: impl Iterator<Item = Option<BTreeSet<WorkerName>>>,
    free: &[WorkerName],
    ours: &[WorkerName],
) -> Vec<Option<BTreeSet<WorkerName>>> {
    let all: BTreeSet<&WorkerName> = free.iter().chain(ours).collect();
    let mut alike: BTreeMap<Option<BTreeSet<WorkerName>>, usize> = BTreeMap::new();
    let counts = |only: &Option<BTreeSet<WorkerName>>| {
        let takers = only.as_ref().map_or(all.len(), |only| only.iter().filter(|name| all.contains(name)).count());
        let before = alike.entry(only.clone()).or_default();
        *before += 1;
        *before <= takers
    };
    waiting.filter(counts).take(2 * all.len()).collect()
}

impl Spool {
    /// What a platform needs now. Workers are looked at only when something waits or was launched.
    pub fn need(&self, platform: &Platform, rules: &Launch, launches: &Launches) -> Result<Need> {
        let ours = rules.workers(platform)?;
        let mut need = Need::default();
        if !self.hands_out(platform) && launches.under_way.is_empty() {
            return Ok(need);
        }
        // Before the queue: what a free worker takes meanwhile does not wait then.
        let running = self.active_builds()?;
        need.free = self.connected(platform)?;
        if !need.free.is_empty() {
            let busy = Spool::holders(&running);
            need.free.retain(|name| !busy.contains(name));
        }
        let tickets = if self.hands_out(platform) { self.takeable(platform, &running)? } else { Vec::new() };
        need.waiting = that_count(tickets.iter().map(|ticket| self.only(ticket)), &need.free, &ours);
        let gone = launches.under_way.iter().map(|one| &one.worker).filter(|name| !ours.contains(name));
        let gone: Vec<Slot> = gone.map(|name| self.slot(name, false)).collect();
        need.slots = ours.iter().map(|name| self.slot(name, true)).chain(gone).collect();
        Ok(need)
    }

    fn slot(&self, name: &WorkerName, is_ours: bool) -> Slot {
        let (seen, connected) = self.seen(name).unwrap_or_default();
        let has_key = self.layout().worker(name).exists();
        let quarantined = self.quarantined(name, clock::now()).is_some();
        Slot { name: name.clone(), is_ours, has_key, connected, last: seen.connected, quarantined, is_started: false }
    }

    /// Whether something waits that is not withheld from all workers.
    fn hands_out(&self, platform: &Platform) -> bool {
        !disk::is_empty_dir(&self.layout().queue(platform))
            && self.withheld(platform).is_none()
            && self.make_sure_of_room().is_ok()
    }

    /// The builds of a platform that a worker could take now, of those at the front of its queue.
    fn takeable(&self, platform: &Platform, builds: &[Build<'_>]) -> Result<Vec<Ticket>> {
        let mut view = QueueView::default();
        view.refresh(self, std::slice::from_ref(platform))?;
        let mut running: HashMap<JobName, u32> = HashMap::new();
        for build in builds.iter().filter(|build| build.id.platform() == platform) {
            *running.entry(build.id.job().clone()).or_default() += 1;
        }
        let mut tickets = Vec::new();
        while let Some(ticket) = view.pop() {
            let taken = running.entry(ticket.id.job().clone()).or_default();
            if *taken == 0 || self.most_at_once(&ticket).is_none_or(|most| *taken < most) {
                *taken += 1;
                tickets.push(ticket);
            }
        }
        Ok(tickets)
    }

    /// The workers that a rebuild is for, when it is for some.
    fn only(&self, ticket: &Ticket) -> Option<BTreeSet<WorkerName>> {
        if !ticket.id.is_rebuild() {
            return None;
        }
        let request: Option<Request> = record::read(&self.layout().queued(ticket).join(file::BUILD)).ok().flatten();
        let on = request?.rebuild?.on;
        (!on.is_empty()).then(|| on.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_here_may_take_hides_nothing_behind_it() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<WorkerName>>();
        let only = |of: &[&str]| Some(names(of).into_iter().collect::<BTreeSet<_>>());
        let count = |waiting: Vec<Option<BTreeSet<WorkerName>>>| {
            that_count(waiting.into_iter(), &names(&["free"]), &names(&["w-1", "w-2"]))
        };
        let absent = || std::iter::repeat_with(|| only(&["absent"])).take(9);
        assert_eq!(count(absent().chain([None, only(&["w-2"])]).collect()), [None, only(&["w-2"])]);
        // More than one can take of them are for one who is there.
        let busy = std::iter::repeat_with(|| only(&["w-1", "absent"])).take(9);
        assert_eq!(count(busy.chain([None]).collect()), [only(&["w-1", "absent"]), None]);
        assert_eq!(count(vec![None; 9]), [None, None, None]);
    }
}
