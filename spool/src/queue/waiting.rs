//! Who waits where: the queues as they are under the jobs' lock, each read once.

use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::name::{JobName, Platform};
use crate::place::Ticket;
use crate::spool::Spool;
use std::collections::{BTreeMap, HashMap};

/// The queues' content by job. True while the jobs' lock is held, but for builds that are claimed meanwhile.
pub struct Queues<'s> {
    spool: &'s Spool,
    read: BTreeMap<Platform, HashMap<JobName, Ticket>>,
}

impl<'s> Queues<'s> {
    /// Nothing is read yet.
    pub fn new(spool: &'s Spool) -> Queues<'s> {
        Queues { spool, read: BTreeMap::new() }
    }

    /// The build of a job that waits on a platform.
    pub fn of(&mut self, job: &JobName, platform: &Platform) -> Result<Option<Ticket>> {
        Ok(self.on(platform)?.get(job).cloned())
    }

    /// Makes sure that one more fits into a queue.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when it has as many builds as it may have.
    pub fn make_room(&mut self, platform: &Platform) -> Result<()> {
        let most = self.spool.longest_queue();
        if self.on(platform)?.len() < most {
            return Ok(());
        }
        Err(Error::new(Kind::TryAgain, format!("the queue of {platform} is full: {most} builds wait in it"))
            .hint("wait, cancel some, or raise `queue` under [limits] in builder.toml"))
    }

    /// Notes a build that is about to be queued.
    pub fn add(&mut self, ticket: &Ticket) {
        if let Some(waiting) = self.read.get_mut(ticket.id.platform()) {
            waiting.insert(ticket.id.job().clone(), ticket.clone());
        }
    }

    fn on(&mut self, platform: &Platform) -> Result<&HashMap<JobName, Ticket>> {
        if !self.read.contains_key(platform) {
            let names = disk::names(&self.spool.layout().queue(platform))?;
            let tickets = names.iter().filter_map(|name| name.parse::<Ticket>().ok());
            let waiting = tickets.map(|ticket| (ticket.id.job().clone(), ticket)).collect();
            self.read.insert(platform.clone(), waiting);
        }
        Ok(&self.read[platform])
    }
}
