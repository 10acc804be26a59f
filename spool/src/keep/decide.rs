//! Which builds go: a pure function of what there is, what is to be kept, and now.

use super::{Keep, Size};
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::name::{JobName, Platform};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A finished build, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub id: BuildId,
    /// Whether it exited 0.
    pub good: bool,
    /// The build that it repeats, when it is a rebuild.
    pub of: Option<BuildId>,
    /// Whether nothing may remove it: somebody said so, or its end has still to be followed up.
    pub kept: bool,
    /// What it takes of the disk.
    pub weight: Weight,
}

/// What a build takes of the disk. What several builds have goes when the last of them goes.
#[derive(Clone, Debug, Default)]
pub struct Weight {
    /// Bytes of its own.
    pub own: u64,
    /// Its contents in the store, with their bytes.
    pub contents: BTreeMap<Sha256, u64>,
}

/// Why a build goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// So many newer ones of its job are there on its platform.
    Builds(u64),
    /// It was queued more than so many days ago.
    Days(u32),
    /// The builds of its job take more than this.
    JobDisk(Size),
    /// All builds take more than this.
    Disk(Size),
    /// The build that it repeats is not kept, or not there.
    Repeats,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Builds(1) => f.write_str("it is not the newest"),
            Reason::Builds(count) => write!(f, "it is not among the newest {count}"),
            Reason::Days(days) => write!(f, "it is more than {days} days old"),
            Reason::JobDisk(size) => write!(f, "the builds of its job take more than {size}"),
            Reason::Disk(size) => write!(f, "all builds together take more than {size}"),
            Reason::Repeats => f.write_str("it repeats a build that is not kept"),
        }
    }
}

/// Says which builds go and why, the oldest first. `of` says what a job keeps, and `disk` how much all builds may
/// take together.
///
/// Never one that is kept by hand, and of each job on each platform neither the newest nor the newest that exited 0. A
/// rebuild goes with the build that it repeats, and is not counted.
pub fn decide<'k>(
    builds: &[Candidate],
    of: impl Fn(&JobName) -> &'k Keep,
    disk: Option<Size>,
    now: Timestamp,
) -> Vec<(BuildId, Reason)> {
    let mut newest_first: Vec<&Candidate> = builds.iter().filter(|build| build.of.is_none()).collect();
    newest_first.sort_by(|a, b| b.id.cmp(&a.id));
    let mut going: BTreeMap<&BuildId, Reason> = BTreeMap::new();
    let mut may_go: Vec<&Candidate> = Vec::new();
    let mut seen: BTreeMap<(&JobName, &Platform), (u64, bool)> = BTreeMap::new();
    for build in newest_first {
        let keep = of(build.id.job());
        let (newer, good) = seen.entry((build.id.job(), build.id.platform())).or_default();
        let is_last = *newer == 0 || (build.good && !*good);
        if !is_last && !build.kept {
            match reason(&build.id, keep, *newer, now) {
                Some(reason) => drop(going.insert(&build.id, reason)),
                None => may_go.push(build),
            }
        }
        *newer += 1;
        *good |= build.good;
    }
    may_go.reverse();
    let jobs: BTreeSet<&JobName> = builds.iter().map(|build| build.id.job()).collect();
    for job in jobs {
        if let Some(limit) = of(job).disk {
            let its = |build: &&Candidate| build.id.job() == job;
            fit(builds.iter().filter(its), may_go.iter().copied().filter(its), &mut going, limit, Reason::JobDisk);
        }
    }
    if let Some(limit) = disk {
        fit(builds.iter(), may_go.iter().copied(), &mut going, limit, Reason::Disk);
    }
    let stays: BTreeSet<&BuildId> = builds.iter().map(|build| &build.id).filter(|id| !going.contains_key(id)).collect();
    let repeats = builds.iter().filter(|build| !build.kept && build.of.as_ref().is_some_and(|of| !stays.contains(of)));
    going.extend(repeats.map(|build| (&build.id, Reason::Repeats)));
    going.into_iter().map(|(id, reason)| (id.clone(), reason)).collect()
}

/// Why this one goes by its number or its age.
fn reason(id: &BuildId, keep: &Keep, newer: u64, now: Timestamp) -> Option<Reason> {
    if let Some(builds) = keep.builds.filter(|builds| newer >= *builds) {
        return Some(Reason::Builds(builds));
    }
    let too_old = |days: &u32| now.duration_since(id.time()) > SignedDuration::from_hours(24 * i64::from(*days));
    keep.days.filter(too_old).map(Reason::Days)
}

/// Has builds go, the oldest first, until what stays takes no more than the limit.
fn fit<'b>(
    all: impl Iterator<Item = &'b Candidate>,
    may_go: impl Iterator<Item = &'b Candidate>,
    going: &mut BTreeMap<&'b BuildId, Reason>,
    limit: Size,
    reason: impl Fn(Size) -> Reason,
) {
    let mut total = 0u64;
    let mut shared: BTreeMap<&Sha256, u32> = BTreeMap::new();
    for build in all.filter(|build| !going.contains_key(&build.id)) {
        total = total.saturating_add(build.weight.own);
        for (content, bytes) in &build.weight.contents {
            let count = shared.entry(content).or_default();
            *count += 1;
            total = total.saturating_add(if *count == 1 { *bytes } else { 0 });
        }
    }
    for build in may_go {
        if total <= limit.bytes() {
            break;
        }
        if going.contains_key(&build.id) {
            continue;
        }
        going.insert(&build.id, reason(limit));
        total = total.saturating_sub(build.weight.own);
        for (content, bytes) in &build.weight.contents {
            let count = shared.entry(content).or_default();
            *count = count.saturating_sub(1);
            total = total.saturating_sub(if *count == 0 { *bytes } else { 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `3g` was queued three days ago and exited 0, `3f` failed, `3g!` is kept by hand; a platform may follow: `3g@p2`.
    /// Each has 10 bytes of its own, and 100 of the content that stands behind a `=`, such as `3g=a`.
    fn candidates(words: &str, job: &str, now: Timestamp) -> Vec<Candidate> {
        let build = |word: &str| {
            let (word, content) = word.split_once('=').map_or((word, None), |(word, content)| (word, Some(content)));
            let (word, platform) = word.split_once('@').unwrap_or((word, "p1"));
            let days: i64 = word.trim_end_matches(['g', 'f', '!']).parse().unwrap();
            let at = now - SignedDuration::from_hours(24 * days);
            let contents = content.map(|text| (Sha256::of(text.as_bytes()), 100)).into_iter().collect();
            Candidate {
                id: BuildId::unique(at, &job.parse().unwrap(), &platform.parse().unwrap()).unwrap(),
                good: word.contains('g'),
                of: None,
                kept: word.ends_with('!'),
                weight: Weight { own: 10, contents },
            }
        };
        words.split_whitespace().map(build).collect()
    }

    fn size(bytes: u64) -> Option<Size> {
        bytes.to_string().parse().ok()
    }

    fn keep(builds: u64, days: u32, disk: u64) -> Keep {
        let some = |number: u64| (number > 0).then_some(number);
        Keep { builds: some(builds), days: (days > 0).then_some(days), disk: size(disk) }
    }

    #[test]
    fn builds_go_by_number_age_and_room_and_some_never_do() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        // What there is, what is kept (builds, days, bytes), bytes of all; the days of those that go.
        type Row = (&'static str, (u64, u32, u64), u64, &'static [i64]);
        let table: [Row; 15] = [
            ("1g 2g 3g", (0, 0, 0), 0, &[]),
            ("1g 2g 3g", (2, 0, 0), 0, &[3]),
            ("1g 2g 3g", (1, 0, 0), 0, &[3, 2]),
            ("1f 2f 3g 4g", (1, 0, 0), 0, &[4, 2]),
            ("1f 2f 3f", (1, 0, 0), 0, &[3, 2]),
            ("1g 2g! 3g", (1, 0, 0), 0, &[3]),
            ("1g 2g@p2 3g 4f@p2", (1, 0, 0), 0, &[4, 3]),
            ("1g 2g 3g", (0, 2, 0), 0, &[3]),
            ("90g 91g 92f", (0, 2, 0), 0, &[92, 91]),
            ("1g 2g 3g 4g", (3, 2, 0), 0, &[4, 3]),
            ("1g 2g 3g", (0, 0, 20), 0, &[3]),
            ("1g 2g 3g", (0, 0, 1), 0, &[3, 2]),
            ("1g=a 2g=a 3g=b", (0, 0, 120), 0, &[3]),
            ("1g=a 2g=b 3g=a", (0, 0, 0), 120, &[3, 2]),
            ("1g=a 2g! 3g 4f", (0, 0, 0), 1, &[4, 3]),
        ];
        for (there, (builds, days, disk), all, expected) in table {
            let keep = keep(builds, days, disk);
            let there_are = candidates(there, "job", now);
            let gone = decide(&there_are, |_| &keep, size(all), now);
            let gone: Vec<i64> = gone.iter().map(|(id, _)| now.duration_since(id.time()).as_hours() / 24).collect();
            assert_eq!(gone, expected, "{there} {keep:?} {all}");
        }
    }

    #[test]
    fn a_job_keeps_what_it_says_and_others_do_not_count_for_it() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let mut all = candidates("1g 2g 3g", "a", now);
        all.extend(candidates("1g 2g 3g", "b", now));
        let (one, every) = (keep(1, 0, 0), Keep::default());
        let gone = decide(&all, |job| if job.as_str() == "a" { &one } else { &every }, None, now);
        assert_eq!(gone.len(), 2);
        assert!(gone.iter().all(|(id, reason)| id.job().as_str() == "a" && *reason == Reason::Builds(1)));
        // What a build of another job has, too, is not freed.
        let mut shared = candidates("1g=x 2g=x", "a", now);
        shared.extend(candidates("1g=x", "b", now));
        assert_eq!(decide(&shared, |_| &every, size(130), now), []);
        assert_eq!(decide(&shared, |_| &every, size(129), now).len(), 1);
    }

    #[test]
    fn a_rebuild_goes_with_what_it_repeats_and_takes_nobodys_place() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let originals = candidates("2g 3g 4g", "job", now);
        let rebuild = |of: &Candidate| Candidate {
            id: BuildId::unique_rebuild(now, &of.id).unwrap(),
            of: Some(of.id.clone()),
            ..of.clone()
        };
        let mut all = originals.clone();
        all.extend(originals.iter().map(rebuild));
        let gone = |all: &[Candidate], keep: &Keep| -> Vec<(BuildId, Reason)> { decide(all, |_| keep, None, now) };
        let reasons =
            |gone: Vec<(BuildId, Reason)>| -> Vec<Reason> { gone.into_iter().map(|(_, reason)| reason).collect() };
        assert_eq!(reasons(gone(&all, &keep(2, 0, 0))), [Reason::Builds(2), Reason::Repeats]);
        // The newest stays whatever its age, and with it what confirms it; one whose original is gone goes.
        assert_eq!(gone(&all, &keep(0, 1, 0)).len(), 4);
        let orphan = [originals[0].clone(), rebuild(&originals[1])];
        assert_eq!(reasons(gone(&orphan, &keep(5, 0, 0))), [Reason::Repeats]);
        let kept = [originals[0].clone(), Candidate { kept: true, ..rebuild(&originals[1]) }];
        assert_eq!(gone(&kept, &keep(5, 0, 0)), []);
    }

    #[test]
    fn a_clock_that_goes_back_lets_nothing_go_by_its_age() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let there = candidates("1g 2g 3g", "job", now);
        let keep = keep(0, 1, 0);
        assert_eq!(decide(&there, |_| &keep, None, now - SignedDuration::from_hours(24 * 365)), []);
    }
}
