//! Counters that only grow: how many builds have ended in which way, and how long they took. `tally.toml`.
//!
//! Each build that ended since the last time is counted once, also when builderd was down or killed meanwhile: what was
//! counted, and up to when, is one file, which is replaced as a whole.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::Result;
use crate::name::Platform;
use crate::record::{BuildResult, Outcome};
use crate::spool::Spool;
use crate::{record, tmp};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The upper bounds of the classes of durations, in seconds.
pub const BUCKETS: [u64; 8] = [1, 10, 60, 300, 1800, 7200, 21_600, 86_400];

/// An end is on the disk at the latest so long after the moment that stands in it.
const WRITTEN: SignedDuration = SignedDuration::from_secs(120);

/// File systems note times no finer than this.
const GRAIN: SignedDuration = SignedDuration::from_secs(2);

/// Platforms beyond these are counted together: whoever submits builds can name any.
const PLATFORMS: usize = 200;
const OTHERS: &str = "other";

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tally {
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Up to when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Failures that builderd has logged.
    pub errors: u64,
    /// The builds that were counted and ended so lately that others of then may come still.
    pub lately: BTreeSet<BuildId>,
    /// By platform.
    pub platforms: BTreeMap<Platform, Ended>,
}

/// The builds of a platform that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ended {
    /// How they did, in a word.
    pub outcomes: BTreeMap<String, u64>,
    /// How long all of them took together, in milliseconds.
    pub milliseconds: u64,
    /// How many took so long, up to each of [`BUCKETS`], and longer.
    pub took: [u64; BUCKETS.len() + 1],
}

impl Tally {
    fn add(&mut self, id: &BuildId, result: &BuildResult) {
        let known = self.platforms.contains_key(id.platform()) || self.platforms.len() < PLATFORMS;
        let platform = if known { Some(id.platform().clone()) } else { OTHERS.parse().ok() };
        let Some(platform) = platform else { return };
        let of = self.platforms.entry(platform).or_default();
        *of.outcomes.entry(word(&result.outcome).to_owned()).or_default() += 1;
        of.milliseconds = of.milliseconds.saturating_add(result.duration_ms);
        let class = BUCKETS.iter().position(|bound| result.duration_ms <= bound * 1000).unwrap_or(BUCKETS.len());
        of.took[class] += 1;
    }
}

/// A word for each way to end: no number in it, or there would be as many as there are exit codes.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Exited { code: 0 } => "succeeded",
        Outcome::Exited { .. } => "failed",
        Outcome::Signalled { .. } => "signalled",
        Outcome::TimedOut => "timed_out",
        Outcome::Silent => "silent",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost => "lost",
        Outcome::Aborted { .. } => "aborted",
    }
}

impl Spool {
    /// What was counted so far; a file that can't be read says nothing, and counting begins anew.
    pub fn tally(&self) -> Tally {
        record::read(&self.layout().tally()).ok().flatten().unwrap_or_default()
    }

    /// Counts what has ended since; `errors` are new ones. Nothing before the first time is counted.
    pub fn count_on(&self, mut tally: Tally, errors: u64, now: Timestamp) -> Result<Tally> {
        let from = match tally.until {
            // A clock that was set back by much: better some builds twice than none for as long.
            Some(until) if now < earlier(until, WRITTEN) => now,
            Some(until) => earlier(until, WRITTEN),
            None => now,
        };
        let since = *tally.since.get_or_insert(now);
        let mut lately = BTreeSet::new();
        for (id, result) in self.ended_from(from)? {
            if !tally.lately.contains(&id) && result.finished >= since {
                tally.add(&id, &result);
            }
            if result.finished >= earlier(now, WRITTEN) {
                lately.insert(id);
            }
        }
        tally.errors = tally.errors.saturating_add(errors);
        (tally.until, tally.lately) = (Some(now), lately);
        Ok(tally)
    }

    /// Notes what was counted, for builderd alone. A power cut may take that back, or all of it: counters begin at 0 then.
    ///
    /// # Errors
    /// [`Kind::TryAgain`](crate::error::Kind::TryAgain) when only the reserve of the disk is left.
    pub fn note_tally(&self, tally: &Tally) -> Result<()> {
        self.make_sure_of_room()?;
        tmp::put_file_unsynced(self.layout(), &self.layout().tally(), &record::to_bytes(tally)?)
    }

    /// The builds that ended at this moment or later. Months and builds that were left alone since are not looked into: an
    /// end gives a month a name, and its build a record. The index would know no more of a month that has just changed.
    fn ended_from(&self, from: Timestamp) -> Result<Vec<(BuildId, BuildResult)>> {
        let touched = earlier(from, GRAIN);
        let mut ended = Vec::new();
        for month in self.months()?.iter().filter(|month| was_touched(&self.month_dir(month), touched)) {
            let (dir, start) = (self.month_dir(month), month.start());
            let mut names = disk::names(&dir)?;
            names.retain(|name| name.starts_with(&start) && was_touched(&dir.join(name), touched));
            let ids = names.iter().filter_map(|name| name.parse().ok());
            for build in ids.map(|id| self.ended_build(id, month.end)) {
                if let Ok(Some(result)) = build.result()
                    && result.finished >= from
                {
                    ended.push((build.id, result));
                }
            }
        }
        Ok(ended)
    }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Whether names in a directory have changed since.
fn was_touched(dir: &Path, since: Timestamp) -> bool {
    dir.symlink_metadata().is_ok_and(|meta| meta.mtime() >= since.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_has_its_class_and_each_outcome_its_word() {
        let mut tally = Tally::default();
        let id: BuildId = "20261124T094701.123Z-a@p-k3f9x2".parse().unwrap();
        for (outcome, ms) in [
            (Outcome::Exited { code: 0 }, 1000),
            (Outcome::Exited { code: 7 }, 1001),
            (Outcome::Exited { code: 9 }, 86_400_001),
            (Outcome::Aborted { reason: "x".into() }, 0),
        ] {
            let mut result = BuildResult::unrun(outcome, Timestamp::UNIX_EPOCH);
            result.duration_ms = ms;
            tally.add(&id, &result);
        }
        let of = &tally.platforms[id.platform()];
        let words: Vec<(&str, u64)> = of.outcomes.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        assert_eq!(words, [("aborted", 1), ("failed", 2), ("succeeded", 1)]);
        assert_eq!((of.took, of.milliseconds), ([2, 1, 0, 0, 0, 0, 0, 0, 1], 86_402_002));
        let text = String::from_utf8(record::to_bytes(&tally).unwrap()).unwrap();
        assert_eq!(toml::from_str::<Tally>(&text).unwrap(), tally, "{text}");
    }

    #[test]
    fn nobody_makes_more_series_than_there_may_be() {
        let mut tally = Tally::default();
        for number in 0..PLATFORMS + 50 {
            let id: BuildId = format!("20261124T094701.123Z-a@p{number}-k3f9x2").parse().unwrap();
            tally.add(&id, &BuildResult::unrun(Outcome::Lost, Timestamp::UNIX_EPOCH));
        }
        assert_eq!(tally.platforms.len(), PLATFORMS + 1);
        assert_eq!(tally.platforms[&OTHERS.parse().unwrap()].outcomes["lost"], 50);
    }
}
