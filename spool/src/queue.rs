//! The way into a queue, and out of it again: enqueue, claim, and a view of what waits.

use crate::disk::{self, Moved};
use crate::error::{At, Error, Kind, Result};
use crate::held::HeldBuild;
use crate::layout::file;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::{Priority, Ticket};
use crate::record::{self, Lease, Request};
use crate::spool::Spool;
use crate::tmp::Draft;
use crate::{clock, wake};
use fs2::FileExt;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What [`Spool::enqueue`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// The build is in the queue, for good.
    Yes,
    /// A build of this name was there before.
    Exists,
}

impl Spool {
    /// Puts a build into its platform's queue. On return it survives a crash and power loss.
    ///
    /// Order: everything is complete and durable under `tmp/`, then one rename that never replaces, then
    /// the queue's directory is synced.
    pub fn enqueue(&self, ticket: &Ticket, request: &Request, script: &[u8]) -> Result<Enqueued> {
        let layout = self.layout();
        let draft = Draft::directory(layout)?;
        disk::write_new(&draft.path().join(file::BUILD), &record::to_bytes(request)?, 0o644)?;
        self.store().keep(script, &draft.path().join(file::SCRIPT))?;
        draft.handle().sync_all().at("sync", draft.path())?;
        let queue = layout.queue(ticket.id.platform());
        let target = layout.queued(ticket);
        let mut moved = disk::rename_new(draft.path(), &target);
        if !queue.is_dir() {
            disk::make_dir_synced(&queue)?;
            moved = disk::rename_new(draft.path(), &target);
        }
        match moved? {
            Moved::Yes => draft.published(),
            Moved::TargetExists => return Ok(Enqueued::Exists),
            Moved::SourceGone => {
                return Err(Error::new(Kind::Internal, "a build vanished from tmp/ while it was made"));
            }
        }
        disk::sync_dir(&queue)?;
        // Only now: a claimer that looked while the draft's lock was held has passed this build over.
        wake::tell(&layout.wake_queue(ticket.id.platform()), &ticket.to_string());
        Ok(Enqueued::Yes)
    }

    /// The builds that wait for this platform, first come first. Names that are no tickets are left out.
    pub fn queue(&self, platform: &Platform) -> Result<BTreeSet<Ticket>> {
        let names = disk::names(&self.layout().queue(platform))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All platforms that have, or had, a queue.
    pub fn platforms(&self) -> Result<Vec<Platform>> {
        let mut names = disk::names(&self.layout().directory("new"))?;
        names.sort();
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The queued build of a job on a platform, if there is one.
    pub fn queued_of(&self, job: &JobName, platform: &Platform) -> Result<Option<Ticket>> {
        let part = format!("-{job}@{platform}-");
        let names = disk::names(&self.layout().queue(platform))?;
        let candidates = names.iter().filter(|name| name.contains(&part));
        Ok(candidates.filter_map(|name| name.parse::<Ticket>().ok()).find(|ticket| ticket.id.job() == job))
    }

    /// Moves a queued build to another priority, durably. False when it was taken meanwhile.
    pub fn reprioritise(&self, ticket: &Ticket, priority: Priority) -> Result<bool> {
        let target = Ticket { priority, id: ticket.id.clone() };
        let moved = disk::rename_new(&self.layout().queued(ticket), &self.layout().queued(&target))?;
        disk::sync_dir(&self.layout().queue(ticket.id.platform()))?;
        wake::tell(&self.layout().wake_queue(ticket.id.platform()), &target.to_string());
        Ok(moved == Moved::Yes)
    }

    /// Takes a build out of its queue for a worker. Nothing when somebody else was first.
    ///
    /// Nothing is synced: after a power cut the build is either queued still or active without a server,
    /// and both are mended.
    pub fn claim(&self, ticket: &Ticket, worker: &WorkerName) -> Result<Option<HeldBuild<'_>>> {
        let Some(held) = self.take(ticket)? else { return Ok(None) };
        let lease = Lease { worker: worker.clone(), since: clock::now(), token: fresh_token()? };
        held.write_lease(&lease)?;
        Ok(Some(held))
    }

    /// Takes a build out of its queue for no worker: to end or to remove it.
    pub fn take(&self, ticket: &Ticket) -> Result<Option<HeldBuild<'_>>> {
        let queued = self.layout().queued(ticket);
        let dir = match disk::open_dir(&queued) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other.at("open", &queued)?,
        };
        if FileExt::try_lock_exclusive(&dir).is_err() {
            return Ok(None);
        }
        let active = self.layout().active(&ticket.id);
        match disk::rename_new(&queued, &active)? {
            Moved::Yes => {}
            Moved::SourceGone => return Ok(None),
            Moved::TargetExists => {
                return Err(Error::new(Kind::Internal, format!("{} is both queued and active", ticket.id))
                    .hint("builderd mends this when it starts"));
            }
        }
        // What was locked may have been requeued, so that another build directory had this name meanwhile.
        let ours = dir.metadata().at("look at", &active)?;
        match active.symlink_metadata() {
            Ok(there) if disk::same_file(&ours, &there) => Ok(Some(HeldBuild::new(self, ticket.id.clone(), dir))),
            _ => Ok(None),
        }
    }
}

fn fresh_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Io, format!("the system gives no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A claimer's memory of the front of its queues, so that taking the oldest of 100,000 does not read 100,000
/// names each time.
///
/// It trusts nothing but the rename: what it remembers may be gone. What is queued meanwhile it learns from
/// wake-ups, and from the disk when it has run out or is [`QueueView::old`]; so a wake-up that got lost can
/// let a later build go first for a few seconds, and nothing worse.
#[derive(Debug, Default)]
pub struct QueueView {
    tickets: BTreeSet<Ticket>,
    whole: bool,
    read: Option<Instant>,
}

impl QueueView {
    /// So many tickets are remembered at the most.
    const MOST: usize = 1024;

    /// Reads the queues of these platforms again.
    pub fn refresh(&mut self, spool: &Spool, platforms: &[Platform]) -> Result<()> {
        self.read = Some(Instant::now());
        let mut names = Vec::new();
        for platform in platforms {
            names.extend(disk::names(&spool.layout().queue(platform))?);
        }
        self.whole = names.len() <= Self::MOST;
        if !self.whole {
            // Names sort as their tickets do.
            names.select_nth_unstable(Self::MOST);
            names.truncate(Self::MOST);
        }
        self.tickets = names.iter().filter_map(|name| name.parse().ok()).collect();
        Ok(())
    }

    /// Whether it was last read from the disk longer ago than this.
    pub fn old(&self, age: Duration) -> bool {
        self.read.is_none_or(|read| read.elapsed() > age)
    }

    /// Remembers a ticket that somebody told of. One that comes behind all that is remembered of a longer
    /// queue is left to the next reading.
    pub fn add(&mut self, ticket: Ticket) {
        if self.whole || self.tickets.last().is_some_and(|last| ticket < *last) {
            self.tickets.insert(ticket);
            if self.tickets.len() > Self::MOST {
                self.tickets.pop_last();
                self.whole = false;
            }
        }
    }

    /// The first that is remembered; it is forgotten by that.
    pub fn pop(&mut self) -> Option<Ticket> {
        self.tickets.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(priority: u8, n: usize) -> Ticket {
        format!("{priority:02}-20261124T0947{:02}.{:03}Z-a@p-000000", n / 1000, n % 1000).parse().unwrap()
    }

    #[test]
    fn a_view_of_a_long_queue_keeps_its_front_and_takes_in_what_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let platform: Platform = "p".parse().unwrap();
        disk::make_dir(&spool.layout().queue(&platform)).unwrap();
        for n in 0..QueueView::MOST + 10 {
            disk::make_dir(&spool.layout().queued(&ticket(50, n))).unwrap();
        }
        let mut view = QueueView::default();
        view.refresh(&spool, &[platform]).unwrap();
        view.add(ticket(60, 0));
        view.add(ticket(10, 7));
        assert_eq!(view.pop(), Some(ticket(10, 7)));
        let rest: Vec<Ticket> = std::iter::from_fn(|| view.pop()).collect();
        assert_eq!(rest.first(), Some(&ticket(50, 0)));
        assert_eq!(rest.last(), Some(&ticket(50, QueueView::MOST - 2)), "the last gave way to the first");
    }
}
