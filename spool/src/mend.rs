//! What builderd mends: builds whose worker stayed away, and what a crash left behind.

use crate::build_id::BuildId;
use crate::clock;
use crate::config::Config;
use crate::disk;
use crate::error::Result;
use crate::find::Build;
use crate::job::delay;
use crate::place::{End, Place};
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

/// For how long the worker of a running build may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The grace time.
    pub grace: SignedDuration,
    /// How much longer it is from the second loss on; four times as long each time.
    pub retry: SignedDuration,
}

impl Patience {
    /// What builder.toml says.
    pub fn of(config: &Config) -> Patience {
        let seconds = |seconds: u32| SignedDuration::from_secs(seconds.into());
        Patience { grace: seconds(config.grace_seconds), retry: seconds(config.retry_seconds) }
    }

    /// When a build is taken from its worker unless that one is heard before. Nothing when its worker was never heard:
    /// then at once.
    pub fn lapses(&self, build: &Build<'_>) -> Option<Timestamp> {
        // While this machine was down nobody could be heard.
        let heard = build.last_heard()?.max(clock::started());
        let wait = match build.attempts().map_or(0, |attempts| attempts.list.len() as u32) {
            0 => SignedDuration::ZERO,
            lost_before => delay(self.retry, lost_before),
        };
        let patience = self.grace.checked_add(wait).unwrap_or(SignedDuration::MAX);
        Some(heard.checked_add(patience).unwrap_or(Timestamp::MAX))
    }
}

impl Spool {
    /// Takes builds from workers that stayed away longer than the grace time.
    ///
    /// A build that fails to be mended is left for the next time and comes as its error, after the others.
    pub fn mend_leases(&self, patience: Patience, now: Timestamp) -> Result<Vec<Result<Mended>>> {
        let mut mended = Vec::new();
        for build in self.active_builds()? {
            if build.is_served() {
                continue;
            }
            let over = patience.lapses(&build).is_none_or(|at| now > at);
            if over || self.cancel_requested(&build.id) {
                mended.extend(self.mend(&build.id, now).transpose());
            }
        }
        mended.extend(self.cancel_queued()?);
        Ok(mended)
    }

    /// Ends builds that were to be cancelled while they ran and are queued: a power cut has undone their claim.
    fn cancel_queued(&self) -> Result<Vec<Result<Mended>>> {
        let mut ended = Vec::new();
        for name in disk::names(&self.layout().directory("cancel"))? {
            if let Ok(id) = name.parse::<BuildId>()
                && matches!(self.place(&id)?, Some(Place::Queued(_)))
            {
                ended.push(self.cancel(&id).map(|_| Mended::Ended(id, End::Failed)));
            }
        }
        Ok(ended)
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
                if !open && self.place(&id)?.is_none_or(|place| matches!(place, Place::Ended(_))) {
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
                spool.mend_leases(Patience { grace, retry }, later).unwrap().len()
            };
            assert_eq!((mended(wait - 4), mended(wait)), (0, 1), "{wait}");
        }
    }

    #[test]
    fn a_worker_that_was_heard_just_now_keeps_its_build_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let now = crate::clock::now();
        let id = BuildId::unique(now, &"a".parse().unwrap(), &"p".parse().unwrap()).unwrap();
        let ticket = Ticket { priority: Priority::NORMAL, id };
        let request = Request::new(Origin::Run, now, 60);
        spool.enqueue(&NewBuild { ticket: ticket.clone(), request, script: b"true".to_vec() }).unwrap();
        drop(spool.claim(&ticket, &"w".parse().unwrap()).unwrap().won().unwrap());
        let patience = Patience { grace: SignedDuration::from_secs(60), retry: SignedDuration::ZERO };
        let mended = |seconds| spool.mend_leases(patience, now + SignedDuration::from_secs(seconds)).unwrap().len();
        assert_eq!((mended(-86_400), mended(58), mended(62)), (0, 0, 1));
    }
}
