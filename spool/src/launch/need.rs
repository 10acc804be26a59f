//! What a platform needs: what waits there, and who could take it.

use super::{Launch, Launches};
use crate::clock;
use crate::disk;
use crate::error::Result;
use crate::layout::file;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::Ticket;
use crate::queue::QueueView;
use crate::record::{self, Request};
use crate::spool::Spool;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};

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
}

impl Need {
    /// The slot of a worker.
    pub fn slot(&self, worker: &WorkerName) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == *worker)
    }
}

impl Slot {
    /// Whether it is there, or was there since.
    pub fn has_come_since(&self, since: Timestamp) -> bool {
        self.connected || self.last.is_some_and(|last| last >= since)
    }
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
        need.free = self.free_workers(platform)?;
        let tickets = if self.hands_out(platform) { self.takeable(platform)? } else { Vec::new() };
        // All who wait, should all who are free take one and all be launched.
        need.waiting =
            tickets.into_iter().take(need.free.len() + ours.len()).map(|ticket| self.only(&ticket)).collect();
        let gone = launches.under_way.iter().map(|one| &one.worker).filter(|name| !ours.contains(name));
        let gone: Vec<Slot> = gone.map(|name| self.slot(name, false)).collect();
        need.slots = ours.iter().map(|name| self.slot(name, true)).chain(gone).collect();
        Ok(need)
    }

    fn slot(&self, name: &WorkerName, is_ours: bool) -> Slot {
        let (seen, connected) = self.seen(name).unwrap_or_default();
        let has_key = self.layout().worker(name).exists();
        let quarantined = self.quarantined(name, clock::now()).is_some();
        Slot { name: name.clone(), is_ours, has_key, connected, last: seen.connected, quarantined }
    }

    /// Whether something waits that is not withheld from all workers.
    fn hands_out(&self, platform: &Platform) -> bool {
        !disk::is_empty_dir(&self.layout().queue(platform))
            && self.withheld(platform).is_none()
            && self.make_sure_of_room().is_ok()
    }

    /// The builds of a platform that a worker could take now, of those at the front of its queue.
    fn takeable(&self, platform: &Platform) -> Result<Vec<Ticket>> {
        let mut view = QueueView::default();
        view.refresh(self, std::slice::from_ref(platform))?;
        let mut running: HashMap<JobName, u32> = HashMap::new();
        for build in self.active_builds()?.iter().filter(|build| build.id.platform() == platform) {
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

    fn free_workers(&self, platform: &Platform) -> Result<Vec<WorkerName>> {
        let mut free = self.connected(platform)?;
        if !free.is_empty() {
            let builds = self.active_builds()?;
            let busy: BTreeSet<WorkerName> =
                builds.iter().filter_map(|build| Some(build.lease().ok()??.worker)).collect();
            free.retain(|name| !busy.contains(name));
        }
        Ok(free)
    }
}
