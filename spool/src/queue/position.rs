//! How many are before a build in its queue.

use crate::disk;
use crate::error::Result;
use crate::place::Ticket;
use crate::spool::Spool;

impl Spool {
    /// A build's place in its queue, from 1 on, and how many wait there; nothing when it waits there no more.
    ///
    /// Cheap enough to be asked each second: names sort as their tickets do, so none is parsed.
    pub fn position(&self, ticket: &Ticket) -> Result<Option<(usize, usize)>> {
        let mut names = disk::names(&self.layout().queue(ticket.id.platform()))?;
        names.retain(|name| name.as_bytes().get(2) == Some(&b'-'));
        let own = ticket.to_string();
        let before = names.iter().filter(|name| **name < own).count();
        Ok(names.contains(&own).then_some((before + 1, names.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_from_the_front_of_the_queue() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let ticket = |text: &str| text.parse::<Ticket>().unwrap();
        let second = ticket("50-20261124T094701.123Z-a@p-000000");
        let (first, third) =
            (ticket("10-20261124T094702.123Z-b@p-000000"), ticket("50-20261124T094702.123Z-c@p-000000"));
        disk::make_dir(&spool.layout().queue(second.id.platform())).unwrap();
        for one in [&first, &second] {
            disk::make_dir(&spool.layout().queued(one)).unwrap();
        }
        assert_eq!(spool.position(&first).unwrap(), Some((1, 2)));
        assert_eq!(spool.position(&second).unwrap(), Some((2, 2)));
        assert_eq!(spool.position(&third).unwrap(), None);
    }
}
