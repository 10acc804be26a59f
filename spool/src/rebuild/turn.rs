//! Whose turn a rebuild is: somebody else's than those who have built it before, as long as somebody else is there.

use super::Rebuild;
use crate::error::Result;
use crate::layout::file;
use crate::name::{Platform, WorkerName};
use crate::place::Ticket;
use crate::record::{self, Request};
use crate::spool::Spool;
use crate::{clock, disk};
use std::collections::BTreeSet;

impl Spool {
    /// Whether a worker may take a queued build. It may take all but some rebuilds.
    pub fn is_turn_of(&self, ticket: &Ticket, worker: &WorkerName) -> Result<bool> {
        if !ticket.id.is_rebuild() {
            return Ok(true);
        }
        // One that can't be read is taken, and ended by its server.
        let request: Option<Request> =
            record::read(&self.layout().queued(ticket).join(file::BUILD)).unwrap_or_default();
        let Some(rebuild) = request.and_then(|request| request.rebuild) else { return Ok(true) };
        if !rebuild.on.is_empty() {
            return Ok(rebuild.on.contains(worker));
        }
        let before = self.builders_of(&rebuild)?;
        if !before.contains(worker) {
            return Ok(true);
        }
        let mut others = self.connected(ticket.id.platform())?;
        others.retain(|other| !before.contains(other));
        Ok(others.is_empty())
    }

    /// The workers that have, or had, this build or a rebuild of it.
    fn builders_of(&self, rebuild: &Rebuild) -> Result<BTreeSet<WorkerName>> {
        let mut builders = BTreeSet::new();
        // Those that wait have no worker, and looking for them would read a queue each time.
        for build in rebuild.beside.iter().chain([&rebuild.of]).filter_map(|id| self.past_queue(id)) {
            let lease = build.lease()?.map(|lease| lease.worker);
            builders.extend(lease.or_else(|| build.result().ok().flatten()?.worker));
        }
        Ok(builders)
    }

    /// The workers that are connected, build for a platform, and may get builds.
    pub(crate) fn connected(&self, platform: &Platform) -> Result<Vec<WorkerName>> {
        let names = disk::names(&self.layout().workers())?;
        let names = names.iter().filter_map(|name| name.strip_suffix(".seen")?.parse::<WorkerName>().ok());
        let now = clock::now();
        let is_there = |name: &WorkerName| {
            let (seen, connected) = self.seen(name).unwrap_or_default();
            connected && seen.platforms.contains(platform) && self.quarantined(name, now).is_none()
        };
        Ok(names.filter(is_there).collect())
    }
}
