//! Who waits where: the queues as they are under the jobs' lock, each read once.

use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::name::{JobName, Platform};
use crate::place::Ticket;
use crate::spool::Spool;
use std::collections::{BTreeMap, HashMap};

/// The builds of a queue by job. Rebuilds are counted, and are in nobody's way.
#[derive(Default)]
struct Waiting {
    jobs: HashMap<JobName, Ticket>,
    count: usize,
}

impl Waiting {
    fn add(&mut self, ticket: Ticket) {
        self.count += 1;
        if !ticket.id.is_rebuild() {
            self.jobs.insert(ticket.id.job().clone(), ticket);
        }
    }
}

/// The queues' content by job. True while the jobs' lock is held, but for builds that are claimed meanwhile.
pub struct Queues<'s> {
    spool: &'s Spool,
    read: BTreeMap<Platform, Waiting>,
}

impl<'s> Queues<'s> {
    /// Nothing is read yet.
    pub fn new(spool: &'s Spool) -> Queues<'s> {
        Queues { spool, read: BTreeMap::new() }
    }

    /// The build of a job that waits on a platform.
    pub fn of(&mut self, job: &JobName, platform: &Platform) -> Result<Option<Ticket>> {
        Ok(self.on(platform)?.jobs.get(job).cloned())
    }

    /// Makes sure that one more fits into a queue.
    ///
    /// # Errors
    /// [`Kind::TryAgain`] when it has as many builds as it may have.
    pub fn make_room(&mut self, platform: &Platform) -> Result<()> {
        let most = self.spool.longest_queue();
        if self.on(platform)?.count < most {
            return Ok(());
        }
        Err(Error::new(Kind::TryAgain, format!("the queue of {platform} is full: {most} builds wait in it"))
            .hint("wait, cancel some, or raise `queue` under [limits] in builder.toml"))
    }

    /// Notes a build that is about to be queued.
    pub fn add(&mut self, ticket: &Ticket) {
        if let Some(waiting) = self.read.get_mut(ticket.id.platform()) {
            waiting.add(ticket.clone());
        }
    }

    fn on(&mut self, platform: &Platform) -> Result<&Waiting> {
        if !self.read.contains_key(platform) {
            let names = disk::names(&self.spool.layout().queue(platform))?;
            let mut waiting = Waiting::default();
            names.iter().filter_map(|name| name.parse().ok()).for_each(|ticket| waiting.add(ticket));
            self.read.insert(platform.clone(), waiting);
        }
        Ok(&self.read[platform])
    }
}
