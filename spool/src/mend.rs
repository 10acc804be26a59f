//! What builderd mends: builds whose worker stayed away, and what a crash left behind.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::Result;
use crate::job::delay;
use crate::place::End;
use crate::spool::Spool;
use crate::tmp;
use jiff::{SignedDuration, Timestamp};

/// What became of a build whose worker vanished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is in its queue again.
    Requeued(BuildId),
    /// It is over: lost once too often, or cancelled.
    Ended(BuildId, End),
}

/// Whether a build that nobody serves is to be taken from its worker.
pub fn lapsed(last_heard: Timestamp, grace: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(last_heard) > grace
}

impl Spool {
    /// Takes builds from workers that stayed away longer than the grace time.
    ///
    /// A build that fails to be mended is left for the next time and comes as its error, after the others.
    ///
    /// A build that was lost before waits longer each time, from `retry` on.
    pub fn mend_leases(
        &self,
        grace: SignedDuration,
        retry: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Result<Mended>>> {
        let mut mended = Vec::new();
        for build in self.active_builds()? {
            if build.is_served() {
                continue;
            }
            let lost_before = build.attempts().map_or(0, |attempts| attempts.list.len() as u32);
            let wait = if lost_before == 0 { SignedDuration::ZERO } else { delay(retry, lost_before) };
            let patience = grace.checked_add(wait).unwrap_or(SignedDuration::MAX);
            let over = build.last_heard().is_none_or(|heard| lapsed(heard, patience, now));
            if over || self.cancel_requested(&build.id) {
                mended.extend(self.mend(&build.id, now).transpose());
            }
        }
        Ok(mended)
    }

    fn mend(&self, id: &BuildId, now: Timestamp) -> Result<Option<Mended>> {
        let Some(held) = self.hold(id)? else { return Ok(None) };
        Ok(Some(match held.give_up("its worker stayed away longer than the grace time", now)? {
            Some(end) => Mended::Ended(id.clone(), end),
            None => Mended::Requeued(id.clone()),
        }))
    }

    /// Removes what no living process is making, and requests and sockets whose build is over. Returns how
    /// many entries went.
    pub fn sweep(&self) -> Result<usize> {
        let mut removed = tmp::sweep(self.layout())?;
        for dir in ["cancel", "wake/build"] {
            for name in disk::names(&self.layout().directory(dir))? {
                let Ok(id) = name.parse::<BuildId>() else { continue };
                let open = self.layout().active(&id).is_dir();
                if !open && self.place(&id)?.is_none_or(|place| matches!(place, crate::place::Place::Ended(_))) {
                    disk::remove_tree(&self.layout().directory(dir).join(name))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Priority, Ticket};
    use crate::queue::NewBuild;
    use crate::record::{Origin, Request};

    #[test]
    fn a_build_that_is_lost_again_waits_longer_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let now = crate::clock::now();
        let (job, platform) = ("a".parse().unwrap(), "p".parse().unwrap());
        let ticket = Ticket { priority: Priority::NORMAL, id: BuildId::unique(now, &job, &platform).unwrap() };
        let request = Request { attempts: 9, ..Request::new(Origin::Run, now, 60) };
        spool.enqueue(&NewBuild { ticket, request, script: b"true".to_vec() }).unwrap();
        let (grace, retry) = (SignedDuration::from_secs(10), SignedDuration::from_secs(100));
        // Seconds after which it is queued again: the grace time, and what is waited beside it.
        for wait in [12, 112, 412] {
            let queued = spool.queue(&platform).unwrap().pop_first().unwrap();
            drop(spool.claim(&queued, &"w".parse().unwrap()).unwrap().won().unwrap());
            let mended = |seconds| {
                let later = crate::clock::now() + SignedDuration::from_secs(seconds);
                spool.mend_leases(grace, retry, later).unwrap().len()
            };
            assert_eq!((mended(wait - 4), mended(wait)), (0, 1), "{wait}");
        }
    }

    #[test]
    fn a_lease_lapses_after_the_grace_time_and_not_before() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let grace = SignedDuration::from_secs(60);
        assert!(!lapsed(at(0), grace, at(60)));
        assert!(lapsed(at(0), grace, at(61)));
        assert!(!lapsed(at(100), grace, at(0)), "a clock that went back takes nothing away");
    }
}
