//! A worker that comes back to the build that it has.

use crate::build_id::BuildId;
use crate::clock;
use crate::error::Result;
use crate::held::HeldBuild;
use crate::name::WorkerName;
use crate::place::Place;
use crate::record::Lease;
use crate::spool::Spool;

/// What a worker finds that comes back.
#[derive(Debug)]
pub enum Resumed<'s> {
    /// The build is its own still.
    Held(HeldBuild<'s>),
    /// Another process has the build at this moment: the one that served the worker before, or a reader for an instant.
    Busy,
    /// The build is over, and was not taken from this worker.
    Over,
    /// The build was taken from this worker.
    Lapsed,
}

impl Spool {
    /// Gives a build back to the worker that has its lease, by the lease's token.
    pub fn resume(&self, id: &BuildId, worker: &WorkerName, token: &str) -> Result<Resumed<'_>> {
        if let Some(held) = self.hold(id)? {
            if held.decided().is_some() {
                held.give_up("its end was interrupted", clock::now())?;
                return self.outcome_for(id, worker, token);
            }
            return match held.lease()? {
                Some(lease) if lease.worker == *worker && lease.token == token => Ok(Resumed::Held(held)),
                Some(_) => Ok(Resumed::Lapsed),
                // A crash met its claim. Whatever comes of it, no worker has it.
                None => {
                    held.give_up("its claimer died over its lease", clock::now())?;
                    self.outcome_for(id, worker, token)
                }
            };
        }
        self.outcome_for(id, worker, token)
    }

    fn outcome_for(&self, id: &BuildId, worker: &WorkerName, token: &str) -> Result<Resumed<'_>> {
        let Some(build) = self.build(id)? else { return Ok(Resumed::Lapsed) };
        let taken = build.attempts()?.list.iter().any(|attempt| attempt.lease.token == token);
        match build.place {
            _ if taken => Ok(Resumed::Lapsed),
            Place::Active => {
                let other = |lease: Lease| lease.worker != *worker || lease.token != token;
                Ok(if build.lease()?.is_some_and(other) { Resumed::Lapsed } else { Resumed::Busy })
            }
            Place::Queued(_) => Ok(Resumed::Lapsed),
            Place::Ended(_) => {
                let ours = build.result()?.is_some_and(|result| result.worker.as_ref() == Some(worker));
                Ok(if ours { Resumed::Over } else { Resumed::Lapsed })
            }
        }
    }

    /// Takes from a worker what it has and knows nothing of any more: it says that it waits for a build, so it has none.
    /// Returns what was taken.
    pub fn give_up_all_of(&self, worker: &WorkerName) -> Result<Vec<BuildId>> {
        let mut taken = Vec::new();
        for build in self.active_builds()? {
            let of_worker = |lease: &Lease| lease.worker == *worker;
            if build.lease()?.as_ref().is_some_and(of_worker)
                && let Some(held) = self.hold(&build.id)?
                && held.lease()?.as_ref().is_some_and(of_worker)
            {
                held.give_up("its worker came back without it", clock::now())?;
                taken.push(build.id);
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::place::{Priority, Ticket};
    use crate::queue::NewBuild;
    use crate::record::{BuildResult, Origin, Outcome, Request};

    fn queued(spool: &Spool) -> Ticket {
        let now = clock::now();
        let id = BuildId::unique(now, &"job".parse().unwrap(), &"p".parse().unwrap()).unwrap();
        let ticket = Ticket { priority: Priority::NORMAL, id };
        let request = Request { attempts: 9, ..Request::new(Origin::Run, now, 60) };
        spool.enqueue(&NewBuild { ticket: ticket.clone(), request, script: b"true".to_vec() }).unwrap();
        ticket
    }

    fn claim<'s>(spool: &'s Spool, worker: &WorkerName) -> (HeldBuild<'s>, String) {
        let ticket = spool.queue(&"p".parse().unwrap()).unwrap().pop_first().unwrap();
        let held = spool.claim(&ticket, worker).unwrap().won().unwrap();
        let token = held.lease().unwrap().unwrap().token;
        (held, token)
    }

    #[test]
    fn a_build_goes_back_to_the_lease_that_has_it_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let (w, other): (WorkerName, WorkerName) = ("w".parse().unwrap(), "other".parse().unwrap());
        let id = queued(&spool).id;
        let (held, token) = claim(&spool, &w);
        assert!(matches!(spool.resume(&id, &w, &token).unwrap(), Resumed::Busy));
        assert!(matches!(spool.resume(&id, &other, &token).unwrap(), Resumed::Lapsed));
        drop(held);
        assert!(matches!(spool.resume(&id, &other, &token).unwrap(), Resumed::Lapsed));
        assert!(matches!(spool.resume(&id, &w, "0").unwrap(), Resumed::Lapsed));
        let Resumed::Held(held) = spool.resume(&id, &w, &token).unwrap() else { panic!("it is the worker's") };
        held.give_up("lost", clock::now()).unwrap();
        assert!(matches!(spool.resume(&id, &w, &token).unwrap(), Resumed::Lapsed), "it is queued");
        let (held, second) = claim(&spool, &w);
        assert!(matches!(spool.resume(&id, &w, &token).unwrap(), Resumed::Lapsed), "its second lease runs");
        let result = BuildResult { worker: Some(w.clone()), ..BuildResult::unrun(Outcome::Cancelled, clock::now()) };
        held.finish(result, &Manifest::default()).unwrap();
        assert!(matches!(spool.resume(&id, &w, &second).unwrap(), Resumed::Over));
        assert!(matches!(spool.resume(&id, &w, &token).unwrap(), Resumed::Lapsed), "another lease ended it");
        assert!(matches!(spool.resume(&id, &other, &second).unwrap(), Resumed::Lapsed));
    }

    #[test]
    fn a_worker_that_waits_has_no_build() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let (w, other): (WorkerName, WorkerName) = ("w".parse().unwrap(), "other".parse().unwrap());
        queued(&spool);
        drop(claim(&spool, &w));
        assert!(spool.give_up_all_of(&other).unwrap().is_empty());
        assert_eq!(spool.give_up_all_of(&w).unwrap().len(), 1);
        assert_eq!(spool.queue(&"p".parse().unwrap()).unwrap().len(), 1);
        let (held, _) = claim(&spool, &w);
        assert!(spool.give_up_all_of(&w).unwrap().is_empty(), "a server has it still");
        drop(held);
    }
}
