//! What the ends of builds owe: jobs that come after, retries, rebuilds, the links to the latest, hooks.

use crate::hooks::Hooks;
use crate::timers::Timers;
use jiff::{SignedDuration, Timestamp};
use spool::Spool;
use spool::build_id::BuildId;
use spool::error::Result;
use spool::job::{Ended, Owed, Queued};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{error, info};

/// When something that could not be done is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// The ends that are being worked on.
pub struct Ends {
    hooks: Hooks,
    retry: SignedDuration,
    /// Builds that are to be looked at later: because a retry waits, or something could not be done.
    later: BTreeMap<BuildId, Timestamp>,
    /// Builds whose hooks run.
    hooked: BTreeSet<BuildId>,
}

impl Ends {
    /// Retries wait for `retry`, and longer each time.
    pub fn new(hooks: Hooks, retry: SignedDuration) -> Ends {
        Ends { hooks, retry, later: BTreeMap::new(), hooked: BTreeSet::new() }
    }

    /// Does what can be done now.
    pub fn look(&mut self, spool: &Spool, timers: &Timers, now: Timestamp) {
        self.collect_hooks(spool);
        let owing = match spool.owing() {
            Ok(owing) => owing,
            Err(e) => return error!("what builds owe can't be read: {e}"),
        };
        self.later.retain(|id, _| owing.contains(id));
        for id in owing {
            if self.hooked.contains(&id) || self.later.get(&id).is_some_and(|at| *at > now) {
                continue;
            }
            if let Err(e) = self.pay(spool, timers, &id, now) {
                error!(build = %id, "what its end owes can't be done: {e}");
                self.later.insert(id, now.checked_add(AGAIN).unwrap_or(Timestamp::MAX));
            }
        }
    }

    /// The next moment at which something is to be done.
    pub fn next(&self) -> Option<Timestamp> {
        self.later.values().min().copied()
    }

    /// Waits until all hooks have run.
    pub fn finish(&mut self, spool: &Spool) {
        while !self.hooked.is_empty() && self.hooks.wait() {
            self.collect_hooks(spool);
        }
    }

    fn pay(&mut self, spool: &Spool, timers: &Timers, id: &BuildId, now: Timestamp) -> Result<()> {
        let Some(mut ended) = spool.ended(id)? else { return Ok(()) };
        let before = ended.owed.clone();
        if ended.owed.remove(&Owed::After) {
            report(id, "comes after", &spool.queue_after(&ended, &timers.after(id.job()), now)?);
        }
        if ended.owed.contains(&Owed::Retry) {
            match spool.retry_at(&ended, self.retry) {
                Some(at) if at > now => {
                    self.later.insert(id.clone(), at);
                }
                retry => {
                    if retry.is_some() {
                        report(id, "tries again", spool.queue_retry(&ended, now)?.as_slice());
                    }
                    ended.owed.remove(&Owed::Retry);
                }
            }
        }
        if ended.owed.contains(&Owed::Rebuild) {
            report(id, "confirms it", &spool.queue_rebuilds(&ended, now)?);
            ended.owed.remove(&Owed::Rebuild);
        }
        if ended.owed.contains(&Owed::Latest) {
            spool.relink_latest(&ended)?;
            ended.owed.remove(&Owed::Latest);
        }
        if ended.owed.contains(&Owed::Hooks) && !self.run_hooks(spool, &ended) {
            ended.owed.remove(&Owed::Hooks);
        }
        if ended.owed == before { Ok(()) } else { spool.save_owed(&ended) }
    }

    /// Gives the build to the hooks. False when there are none.
    fn run_hooks(&mut self, spool: &Spool, ended: &Ended) -> bool {
        if !self.hooks.any() {
            return false;
        }
        let before = spool.end_before(&ended.id).unwrap_or_default();
        self.hooks.run(ended.clone(), before);
        self.hooked.insert(ended.id.clone());
        true
    }

    fn collect_hooks(&mut self, spool: &Spool) {
        while let Some(id) = self.hooks.done() {
            self.hooked.remove(&id);
            let noted = spool.ended(&id).and_then(|ended| match ended {
                Some(mut ended) => {
                    ended.owed.remove(&Owed::Hooks);
                    spool.save_owed(&ended)
                }
                None => Ok(()),
            });
            if let Err(e) = noted {
                error!(build = %id, "that its hooks have run can't be noted: {e}");
            }
        }
    }
}

fn report(of: &BuildId, why: &str, queued: &[Queued]) {
    for one in queued {
        info!(build = %one.id, %of, already = one.already, "{why}");
    }
}
