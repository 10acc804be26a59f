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
    /// Counts a build. One of a platform too many takes the place of one that does not exist any more, if there is such a one.
    fn add(&mut self, id: &BuildId, result: &BuildResult, exists: impl Fn(&Platform) -> bool) {
        if !self.has_place_for(id.platform()) {
            let gone = self.platforms.keys().find(|platform| platform.as_str() != OTHERS && !exists(platform));
            gone.cloned().iter().for_each(|gone| drop(self.platforms.remove(gone)));
        }
        let known = self.has_place_for(id.platform());
        let platform = if known { Some(id.platform().clone()) } else { OTHERS.parse().ok() };
        let Some(platform) = platform else { return };
        let of = self.platforms.entry(platform).or_default();
        *of.outcomes.entry(word(&result.outcome).to_owned()).or_default() += 1;
        of.milliseconds = of.milliseconds.saturating_add(result.duration_ms);
        let class = BUCKETS.iter().position(|bound| result.duration_ms <= bound * 1000).unwrap_or(BUCKETS.len());
        of.took[class] += 1;
    }

    /// Whether the builds of a platform are counted apart.
    pub(super) fn has_place_for(&self, platform: &Platform) -> bool {
        let apart = self.platforms.keys().filter(|platform| platform.as_str() != OTHERS).count();
        self.platforms.contains_key(platform) || apart < PLATFORMS
    }
}

/// The words for the ways to end.
pub const OUTCOMES: [&str; 8] =
    ["aborted", "cancelled", "failed", "lost", "signalled", "silent", "succeeded", "timed_out"];

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

    /// Counts what has ended since. Nothing before the first time is counted.
    ///
    /// A clock that was set back by some seconds is waited for: what was counted up to then is not counted again. By more,
    /// what ended in the last two minutes of the new time may be counted twice, which is better than nothing for as long.
    pub fn count_on(&self, mut tally: Tally, now: Timestamp) -> Result<Tally> {
        let since = tally.since.map_or(now, |since| since.min(now));
        let leaps_back = tally.until.is_some_and(|until| now < earlier(until, WRITTEN));
        let before = tally.until.filter(|_| !leaps_back).unwrap_or(now);
        let until = before.max(now);
        let mut lately = BTreeSet::new();
        for (id, result) in self.ended_from(earlier(before, WRITTEN))? {
            // What ended in a future that has been was counted then.
            let was_counted = tally.lately.contains(&id) || (leaps_back && result.finished > now);
            if !was_counted && result.finished >= since {
                tally.add(&id, &result, |platform| self.layout().queue(platform).exists());
            }
            if result.finished >= earlier(until, WRITTEN) {
                lately.insert(id);
            }
        }
        (tally.since, tally.until, tally.lately) = (Some(since), Some(until), lately);
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
    use crate::layout::file;
    use crate::place::End;

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
            tally.add(&id, &result, |_| true);
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
        let lost = BuildResult::unrun(Outcome::Lost, Timestamp::UNIX_EPOCH);
        let id = |platform: &str| format!("20261124T094701.123Z-a@{platform}-k3f9x2").parse::<BuildId>().unwrap();
        for number in 0..PLATFORMS + 50 {
            tally.add(&id(&format!("p{number}")), &lost, |_| true);
        }
        assert_eq!(tally.platforms.len(), PLATFORMS + 1);
        assert_eq!(tally.platforms[&OTHERS.parse().unwrap()].outcomes["lost"], 50);
        // Where there is one no more, another one has its place.
        for platform in ["new", "newer"] {
            tally.add(&id(platform), &lost, |platform| !["p7", "other"].contains(&platform.as_str()));
        }
        let has = |platform: &str| tally.platforms.contains_key(&platform.parse::<Platform>().unwrap());
        assert_eq!((has("p7"), has("new"), has("newer"), tally.platforms.len()), (false, true, false, PLATFORMS + 1));
    }

    #[test]
    fn each_outcome_has_one_of_the_words() {
        let all = [
            Outcome::Exited { code: 0 },
            Outcome::Exited { code: 1 },
            Outcome::Signalled { signal: 9 },
            Outcome::TimedOut,
            Outcome::Silent,
            Outcome::Cancelled,
            Outcome::Lost,
            Outcome::Aborted { reason: "x".into() },
        ];
        assert_eq!(all.iter().map(word).collect::<BTreeSet<_>>(), OUTCOMES.into_iter().collect());
    }

    /// A spool in which builds end when it is said that they do.
    struct Ends {
        spool: Spool,
        number: u32,
        _dir: tempfile::TempDir,
    }

    impl Ends {
        fn new() -> Ends {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
            Ends { spool, number: 0, _dir: dir }
        }

        fn end_at(&mut self, finished: Timestamp) {
            self.number += 1;
            let id: BuildId = format!("20261124T094701.123Z-a@p-{:06}", self.number).parse().unwrap();
            let dir = self.spool.layout().finished(End::Failed, &id);
            [self.spool.layout().month(End::Failed, &id), dir.clone()].iter().for_each(|dir| {
                disk::make_dir(dir).unwrap();
            });
            let result = record::to_bytes(&BuildResult::unrun(Outcome::Lost, finished)).unwrap();
            disk::write_new(&dir.join(file::RESULT), &result, 0o644).unwrap();
        }

        /// How many were counted.
        fn count(&self, tally: &mut Tally, now: Timestamp) -> u64 {
            *tally = self.spool.count_on(tally.clone(), now).unwrap();
            tally.platforms.values().flat_map(|of| of.outcomes.values()).sum()
        }
    }

    /// Moments that are all over: a build's end is noted by the file system after the moment that stands in it.
    fn moments() -> impl Fn(i64) -> Timestamp {
        let zero = earlier(crate::clock::now(), SignedDuration::from_secs(100_000));
        move |seconds| earlier(zero, SignedDuration::from_secs(-seconds))
    }

    #[test]
    fn a_build_is_counted_once() {
        let mut ends = Ends::new();
        let mut tally = Tally::default();
        let at = moments();
        ends.end_at(at(-1));
        assert_eq!(ends.count(&mut tally, at(0)), 0, "it ended before");
        ends.end_at(at(1));
        assert_eq!(ends.count(&mut tally, at(60)), 1);
        // Its end was written a little late.
        ends.end_at(at(30));
        assert_eq!(ends.count(&mut tally, at(120)), 2);
        assert_eq!(ends.count(&mut tally, at(180)), 2);
        assert_eq!(ends.count(&mut tally, at(1000)), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_a_little_counts_nothing_twice() {
        let mut ends = Ends::new();
        let mut tally = Tally::default();
        let at = moments();
        ends.count(&mut tally, at(0));
        [400, 530, 590].iter().for_each(|seconds| ends.end_at(at(*seconds)));
        assert_eq!(ends.count(&mut tally, at(600)), 3);
        for seconds in [500, 481, 560, 620, 680, 740] {
            assert_eq!(ends.count(&mut tally, at(seconds)), 3, "{seconds}");
        }
        ends.end_at(at(745));
        assert_eq!(ends.count(&mut tally, at(750)), 4);
        // What ends while the clock is behind.
        ends.end_at(at(700));
        assert_eq!(ends.count(&mut tally, at(701)), 5);
        assert_eq!(ends.count(&mut tally, at(760)), 5);
    }

    #[test]
    fn a_clock_that_was_set_back_by_much_stops_no_counting() {
        let mut ends = Ends::new();
        let mut tally = Tally::default();
        let at = moments();
        ends.count(&mut tally, at(50_000));
        ends.end_at(at(50_030));
        assert_eq!(ends.count(&mut tally, at(50_060)), 1);
        // Before counting began.
        ends.end_at(at(30));
        assert_eq!(ends.count(&mut tally, at(60)), 1, "that ended when nothing was counted, by the clock of now");
        ends.end_at(at(90));
        for seconds in [120, 180, 50_060, 60_000] {
            assert_eq!(ends.count(&mut tally, at(seconds)), 2, "{seconds}");
        }
    }
}
