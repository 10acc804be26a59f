//! What the ends of builds owe: jobs that come after, retries, rebuilds, the links to the latest, the server's seal, hooks.

use crate::hooks::Hooks;
use crate::seals::Seals;
use crate::timers::Timers;
use jiff::{SignedDuration, Timestamp};
use spool::Spool;
use spool::build_id::BuildId;
use spool::config::Config;
use spool::error::Result;
use spool::job::{Ended, Owed, Queued};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{error, info};

/// When something that could not be done is tried again.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// The ends that are being worked on.
pub struct Ends {
    hooks: Hooks,
    seals: Seals,
    retry: SignedDuration,
    /// Builds that are to be looked at later: because a retry waits, or something could not be done.
    later: BTreeMap<BuildId, Timestamp>,
    /// Builds that are being sealed.
    sealing: BTreeSet<BuildId>,
    /// Builds that could not be sealed yet; their hooks don't wait for it.
    unsealed: BTreeSet<BuildId>,
    /// Builds whose hooks run.
    hooked: BTreeSet<BuildId>,
}

impl Ends {
    /// Starts what runs hooks and what seals.
    pub fn start(spool: &Spool, config: &Config, once: bool) -> Ends {
        let none = BTreeSet::new;
        let (hooks, seals) = (Hooks::start(spool, config), Seals::start(spool, config, once));
        Ends {
            hooks,
            seals,
            retry: retry(config),
            later: BTreeMap::new(),
            sealing: none(),
            unsealed: none(),
            hooked: none(),
        }
    }

    /// From now on these settings hold; retries that wait already keep their moments.
    pub fn change(&mut self, spool: &Spool, config: &Config) {
        self.hooks.change(config);
        self.seals.change(spool, config);
        self.retry = retry(config);
    }

    /// Does what can be done now.
    pub fn look(&mut self, spool: &Spool, timers: &Timers, now: Timestamp) {
        self.collect_seals(spool, now);
        self.collect_hooks(spool);
        let owing = match spool.owing() {
            Ok(owing) => owing,
            Err(e) => return error!("what builds owe can't be read: {e}"),
        };
        self.later.retain(|id, _| owing.contains(id));
        self.unsealed.retain(|id| owing.contains(id));
        for id in owing {
            if self.sealing.contains(&id)
                || self.hooked.contains(&id)
                || self.later.get(&id).is_some_and(|at| *at > now)
            {
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

    /// Waits until all are sealed and all hooks have run.
    pub fn finish(&mut self, spool: &Spool, timers: &Timers, now: Timestamp) {
        while !self.sealing.is_empty() {
            self.collect_seals(spool, now);
            if !self.sealing.is_empty() && !self.seals.wait() {
                break;
            }
        }
        self.look(spool, timers, now);
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
        if ended.owed.contains(&Owed::Seal) {
            match self.seals.seal(&ended) {
                true => drop(self.sealing.insert(id.clone())),
                false => drop(ended.owed.remove(&Owed::Seal)),
            }
        }
        // They may want to pass the seal on.
        let waits = self.sealing.contains(id) && !self.unsealed.contains(id);
        if ended.owed.contains(&Owed::Hooks) && !waits && !self.run_hooks(spool, &ended) {
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

    fn collect_seals(&mut self, spool: &Spool, now: Timestamp) {
        while let Some((id, sealed)) = self.seals.done() {
            self.sealing.remove(&id);
            // Its hooks can run now, also when a retry has still to wait.
            self.later.remove(&id);
            if let Err(e) = sealed.and_then(|()| note(spool, &id, Owed::Seal)) {
                error!(build = %id, "it can't be sealed: {e}");
                self.later.insert(id.clone(), now.checked_add(AGAIN).unwrap_or(Timestamp::MAX));
                self.unsealed.insert(id);
            }
        }
    }

    fn collect_hooks(&mut self, spool: &Spool) {
        while let Some(id) = self.hooks.done() {
            self.hooked.remove(&id);
            if let Err(e) = note(spool, &id, Owed::Hooks) {
                error!(build = %id, "that its hooks have run can't be noted: {e}");
            }
        }
    }
}

/// How long a first retry waits.
fn retry(config: &Config) -> SignedDuration {
    SignedDuration::from_secs(config.retry_seconds.into())
}

/// Notes that a step is done.
fn note(spool: &Spool, id: &BuildId, done: Owed) -> Result<()> {
    match spool.ended(id)? {
        Some(mut ended) => {
            ended.owed.remove(&done);
            spool.save_owed(&ended)
        }
        None => Ok(()),
    }
}

fn report(of: &BuildId, why: &str, queued: &[Queued]) {
    for one in queued {
        info!(build = %one.id, %of, already = one.already, "{why}");
    }
}
