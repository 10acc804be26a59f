//! Workers that fail build after build at once: they get none for a while, and longer each time.
//!
//! A job that always fails is not its worker's fault, so a row of failures counts when it is of different jobs, or
//! when the worker could not start them at all.

use crate::backoff;
use crate::disk;
use crate::error::Result;
use crate::name::{JobName, WorkerName};
use crate::record::{self, Outcome};
use crate::spool::Spool;
use crate::{tmp, wake};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A build that took this long did not fail at once.
pub const AT_ONCE: SignedDuration = SignedDuration::from_secs(10);

/// So many failures in a row are no accident.
const ROW: usize = 3;

/// Failures beyond these change nothing.
const MOST: usize = 32;

/// `workers/WORKER.health`: the row of builds that failed at once. There is none for a worker that is well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Until when the worker gets no build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The jobs whose builds failed at once, one after the other.
    #[serde(default)]
    pub failed: Vec<JobName>,
    /// How many of the last of them could not be started.
    #[serde(default)]
    pub aborted: usize,
}

impl Health {
    /// The health after one more build.
    pub fn after(
        mut self,
        job: &JobName,
        outcome: &Outcome,
        took: SignedDuration,
        now: Timestamp,
        base: SignedDuration,
    ) -> Health {
        if *outcome == Outcome::Cancelled {
            return self;
        }
        if outcome.succeeded() || took >= AT_ONCE {
            return Health::default();
        }
        self.aborted = if matches!(outcome, Outcome::Aborted { .. }) { self.aborted + 1 } else { 0 };
        if self.failed.len() < MOST {
            self.failed.push(job.clone());
        }
        let jobs: BTreeSet<&JobName> = self.failed.iter().collect();
        if jobs.len() >= ROW || self.aborted >= ROW {
            let times = self.failed.len().saturating_sub(ROW) as u32;
            self.until = now.checked_add(backoff::grown(base, 2, times)).ok();
        }
        self
    }
}

impl Spool {
    /// A worker's health; a file that can't be read counts as good health.
    pub fn health(&self, worker: &WorkerName) -> Health {
        record::read(&self.layout().worker_health(worker)).ok().flatten().unwrap_or_default()
    }

    /// Until when a worker gets no build; nothing when it may have one now.
    pub fn quarantined(&self, worker: &WorkerName, now: Timestamp) -> Option<Timestamp> {
        self.health(worker).until.filter(|until| *until > now)
    }

    /// Notes how a build ended with a worker. `base` is how long the first quarantine is.
    pub fn note_health(
        &self,
        worker: &WorkerName,
        job: &JobName,
        outcome: &Outcome,
        took: SignedDuration,
        now: Timestamp,
        base: SignedDuration,
    ) -> Result<()> {
        let before = self.health(worker);
        let health = before.clone().after(job, outcome, took, now, base);
        if health == before {
            return Ok(());
        }
        if health == Health::default() {
            return self.forget_health(worker);
        }
        tmp::replace_file(self.layout(), &self.layout().worker_health(worker), &record::to_bytes(&health)?)
    }

    /// Ends a worker's quarantine. False when it was in none.
    pub fn release_worker(&self, worker: &WorkerName) -> Result<bool> {
        let sick = self.health(worker) != Health::default();
        self.forget_health(worker)?;
        wake::ring(&self.layout().wake_worker(worker));
        Ok(sick)
    }

    pub(crate) fn forget_health(&self, worker: &WorkerName) -> Result<()> {
        disk::remove_file(&self.layout().worker_health(worker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: SignedDuration = SignedDuration::from_secs(60);

    /// The seconds of quarantine after each of these builds of these jobs.
    fn row(builds: &[(&str, Outcome, i64)]) -> Vec<i64> {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut health = Health::default();
        let mut waits = Vec::new();
        for (job, outcome, took) in builds {
            health = health.after(&job.parse().unwrap(), outcome, SignedDuration::from_secs(*took), now, BASE);
            waits.push(health.until.map_or(0, |until| until.duration_since(now).as_secs()));
        }
        waits
    }

    #[test]
    fn a_row_of_different_jobs_is_the_workers_fault_and_one_bad_job_is_not() {
        let bad = || Outcome::Exited { code: 1 };
        let good = || Outcome::Exited { code: 0 };
        assert_eq!(row(&[("a", bad(), 0), ("b", bad(), 0), ("c", bad(), 0), ("a", bad(), 0)]), [0, 0, 60, 120]);
        assert_eq!(row(&[("a", bad(), 0), ("a", bad(), 0), ("a", bad(), 0), ("b", bad(), 0)]), [0, 0, 0, 0]);
        assert_eq!(row(&[("a", bad(), 0), ("b", bad(), 0), ("x", good(), 0), ("c", bad(), 0)]), [0, 0, 0, 0]);
        assert_eq!(row(&[("a", bad(), 0), ("b", bad(), 11), ("c", bad(), 0), ("d", bad(), 0)]), [0, 0, 0, 0]);
        let aborted = || Outcome::Aborted { reason: "no space".into() };
        assert_eq!(
            row(&[("a", aborted(), 0), ("a", aborted(), 0), ("a", Outcome::Cancelled, 0), ("a", aborted(), 0)]),
            [0, 0, 0, 60]
        );
        let long: Vec<_> = (0..40).map(|n| (["a", "b", "c"][n % 3], bad(), 0)).collect();
        assert_eq!(row(&long).last(), Some(&3600));
    }
}
