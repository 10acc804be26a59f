//! The jobs' schedules in memory, each read again when its file changed, in the order in which they are due.

use jiff::{SignedDuration, Timestamp};
use spool::error::Result;
use spool::job::{self, Job, Platforms};
use spool::name::{JobName, Platform};
use spool::platform::State;
use spool::schedule::Schedule;
use spool::{Spool, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A clock that differs by more from what has passed was set.
const JUMP: SignedDuration = SignedDuration::from_secs(2);

/// What is known of one job.
struct Known {
    stamp: (u64, i64, i64),
    schedule: Option<Schedule>,
    after: Vec<JobName>,
    everywhere: bool,
    fired: Option<Timestamp>,
    /// When it is to be looked at next: it may owe something then.
    look: Option<Timestamp>,
}

/// All jobs' schedules.
pub struct Timers {
    known: BTreeMap<JobName, Known>,
    agenda: BTreeSet<(Timestamp, JobName)>,
    platforms: BTreeMap<Platform, State>,
    clock: (Timestamp, Instant),
}

impl Timers {
    /// Knows nothing yet.
    pub fn new() -> Timers {
        Timers {
            known: BTreeMap::new(),
            agenda: BTreeSet::new(),
            platforms: BTreeMap::new(),
            clock: (clock::now(), Instant::now()),
        }
    }

    /// Looks which job files are new, changed or gone.
    pub fn refresh(&mut self, spool: &Spool) -> Result<()> {
        let names: BTreeSet<JobName> = spool.job_names()?.into_iter().collect();
        let gone: Vec<JobName> = self.known.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        names.iter().try_for_each(|name| self.refresh_job(spool, name))
    }

    /// Looks whether a job's file is new, changed or gone. A file that can't be read is said once for each
    /// change, and the last good schedule stays.
    pub fn refresh_job(&mut self, spool: &Spool, name: &JobName) -> Result<()> {
        let Some(stamp) = job::stamp(spool, name)? else {
            self.forget(name);
            return Ok(());
        };
        if self.known.get(name).is_some_and(|known| known.stamp == stamp) {
            return Ok(());
        }
        let old = self.known.remove(name);
        if let Some(look) = old.as_ref().and_then(|old| old.look) {
            self.agenda.remove(&(look, name.clone()));
        }
        let read = spool.job(name).and_then(|job| Ok((job.schedule(name)?, job)));
        let mut known = match read {
            Ok((schedule, job)) => Known::of(schedule, job, stamp),
            Err(e) => {
                tracing::error!(job = %name, "{e}; its last good schedule stays");
                Known { stamp, look: None, ..old.unwrap_or_else(Known::nothing) }
            }
        };
        known.fired = spool.fired(name).unwrap_or_default();
        self.known.insert(name.clone(), known);
        self.plan(name, clock::now());
        Ok(())
    }

    fn forget(&mut self, name: &JobName) {
        if let Some(known) = self.known.remove(name)
            && let Some(look) = known.look
        {
            self.agenda.remove(&(look, name.clone()));
        }
    }

    /// Notes when a job is to be looked at.
    fn plan(&mut self, name: &JobName, now: Timestamp) {
        let Some(known) = self.known.get_mut(name) else { return };
        if let Some(look) = known.look.take() {
            self.agenda.remove(&(look, name.clone()));
        }
        let due = |schedule: &Schedule| schedule.due(known.fired, now).or_else(|| schedule.next(now));
        known.look = known.schedule.as_ref().and_then(due);
        if let Some(look) = known.look {
            self.agenda.insert((look, name.clone()));
        }
    }

    /// The jobs that may owe a build now.
    pub fn due(&mut self, spool: &Spool, now: Timestamp) -> Vec<JobName> {
        self.notice_a_set_clock(now);
        let mut due: BTreeSet<JobName> =
            self.agenda.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        due.extend(self.newly_everywhere(spool));
        due.into_iter().collect()
    }

    /// After the clock was set, everything is due at other times than before.
    fn notice_a_set_clock(&mut self, now: Timestamp) {
        let (then, instant) = self.clock;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        self.clock = (now, Instant::now());
        if (now.duration_since(then) - passed).abs() <= JUMP {
            return;
        }
        tracing::info!("the clock was set");
        let names: Vec<JobName> = self.known.keys().cloned().collect();
        names.iter().for_each(|name| self.plan(name, now));
    }

    /// The jobs for all platforms, when there are other platforms than before.
    fn newly_everywhere(&mut self, spool: &Spool) -> Vec<JobName> {
        let Ok(platforms) = spool.platform_states() else { return Vec::new() };
        if platforms == self.platforms {
            return Vec::new();
        }
        self.platforms = platforms;
        self.known.iter().filter(|(_, known)| known.everywhere).map(|(name, _)| name.clone()).collect()
    }

    /// Notes that a job was fired.
    pub fn fired(&mut self, spool: &Spool, name: &JobName, now: Timestamp) -> Result<()> {
        if let Some(known) = self.known.get_mut(name) {
            known.fired = spool.fired(name)?;
        }
        self.plan(name, now);
        Ok(())
    }

    /// Looks at a job again later, because firing it failed.
    pub fn postpone(&mut self, name: &JobName, until: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            if let Some(look) = known.look.replace(until) {
                self.agenda.remove(&(look, name.clone()));
            }
            self.agenda.insert((until, name.clone()));
        }
    }

    /// The next moment at which some job may be due.
    pub fn next(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// The jobs that come after this one.
    pub fn after(&self, name: &JobName) -> Vec<JobName> {
        self.known.iter().filter(|(_, known)| known.after.contains(name)).map(|(name, _)| name.clone()).collect()
    }
}

impl Known {
    fn of(schedule: Schedule, job: Job, stamp: (u64, i64, i64)) -> Known {
        let everywhere = job.platforms == Platforms::All;
        Known { stamp, schedule: Some(schedule), after: job.after, everywhere, fired: None, look: None }
    }

    fn nothing() -> Known {
        Known { stamp: (0, 0, 0), schedule: None, after: Vec::new(), everywhere: false, fired: None, look: None }
    }
}
