//! A claimer's memory of the front of its queues.

use crate::disk;
use crate::error::Result;
use crate::name::Platform;
use crate::place::Ticket;
use crate::spool::Spool;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A claimer's memory of the front of its queues, so that taking the oldest of 100,000 does not read 100,000
/// names each time.
///
/// It trusts nothing but the rename: what it remembers may be gone. What is queued meanwhile it learns from
/// wake-ups, and from the disk when it has run out or is [`QueueView::old`]; so a wake-up that got lost can
/// let a later build go first for a few seconds, and nothing worse.
#[derive(Debug, Default)]
pub struct QueueView {
    tickets: BTreeSet<Ticket>,
    aside: Vec<Ticket>,
    whole: bool,
    read: Option<Instant>,
}

impl QueueView {
    /// So many tickets are remembered at the most.
    const MOST: usize = 1024;

    /// Reads the queues of these platforms again.
    pub fn refresh(&mut self, spool: &Spool, platforms: &[Platform]) -> Result<()> {
        self.read = Some(Instant::now());
        self.aside.clear();
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

    /// Remembers a ticket that can't be taken now, until [`QueueView::bring_back`] or the next reading.
    pub fn set_aside(&mut self, ticket: Ticket) {
        self.aside.push(ticket);
    }

    /// Whether something was set aside.
    pub fn holds_back(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Whatever was set aside may be taken now.
    pub fn bring_back(&mut self) {
        self.tickets.extend(self.aside.drain(..));
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
