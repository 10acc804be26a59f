//! The jobs' schedules in memory, read again when a job's file changed.

use jiff::Timestamp;
use spool::error::Result;
use spool::job;
use spool::name::JobName;
use spool::{Spool, disk};
use std::collections::BTreeMap;

/// What is known of one job's file.
struct Known {
    stamp: (u64, i64, i64),
    schedule: Option<spool::schedule::Schedule>,
    fired: Option<Timestamp>,
}

/// All jobs' schedules.
#[derive(Default)]
pub struct Timers {
    known: BTreeMap<JobName, Known>,
}

impl Timers {
    /// Looks which job files are new, changed or gone. A file that can't be read is said once for each change,
    /// and the last good schedule stays.
    pub fn refresh(&mut self, spool: &Spool) -> Result<()> {
        let mut before = std::mem::take(&mut self.known);
        for name in disk::names(&spool.layout().jobs())? {
            let Some(Ok(name)) = name.strip_suffix(".toml").map(str::parse::<JobName>) else { continue };
            let Some(stamp) = job::stamp(spool, &name)? else { continue };
            let old = before.remove(&name);
            let known = match old {
                Some(old) if old.stamp == stamp => old,
                old => read(spool, &name, stamp, old),
            };
            self.known.insert(name, known);
        }
        Ok(())
    }

    /// The jobs that owe a build now.
    pub fn due(&self, now: Timestamp) -> Vec<JobName> {
        let due =
            |known: &Known| known.schedule.as_ref().is_some_and(|schedule| schedule.due(known.fired, now).is_some());
        self.known.iter().filter(|(_, known)| due(known)).map(|(name, _)| name.clone()).collect()
    }

    /// Notes that a job was fired.
    pub fn fired(&mut self, spool: &Spool, name: &JobName) -> Result<()> {
        if let Some(known) = self.known.get_mut(name) {
            known.fired = spool.fired(name)?;
        }
        Ok(())
    }

    /// The next moment at which some job is due.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.known.values().filter_map(|known| known.schedule.as_ref()?.next(now)).min()
    }
}

fn read(spool: &Spool, name: &JobName, stamp: (u64, i64, i64), old: Option<Known>) -> Known {
    let fired = spool.fired(name).unwrap_or_default();
    let schedule = match spool.job(name) {
        Ok(job) => Some(job.schedule()),
        Err(e) => {
            tracing::error!(job = %name, "{e}; its last good schedule stays");
            old.and_then(|old| old.schedule)
        }
    };
    Known { stamp, schedule, fired }
}
