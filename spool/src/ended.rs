//! Finished builds, month by month, the newest first: as the index has them where it is true, else as they lie there.

use crate::build_id::{BuildId, is_rebuild};
use crate::digest::Sha256;
use crate::disk;
use crate::error::Result;
use crate::find::Build;
use crate::index::Index;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::{End, Place};
use crate::record::BuildResult;
use crate::spool::Spool;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A directory of builds that are over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Month {
    /// Its name, such as `2026-11`.
    pub name: String,
    /// Where it is.
    pub end: End,
}

/// Which finished builds are meant, by what their names say: all that is said must be so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'w> {
    /// Of this job.
    pub job: Option<&'w JobName>,
    /// On this platform.
    pub platform: Option<&'w Platform>,
    /// With this in the id.
    pub part: Option<&'w str>,
    /// Queued before this one.
    pub before: Option<&'w BuildId>,
    /// Ended in this way.
    pub end: Option<End>,
    /// Whether it repeats another build.
    pub rebuild: Option<bool>,
    /// Of the month of this one, or a later one.
    pub not_older: Option<&'w BuildId>,
}

/// What is known of a finished build whose record can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who ran it.
    pub worker: Option<WorkerName>,
    /// What went in.
    pub input: Option<Sha256>,
    /// What came out.
    pub output: Option<Sha256>,
}

/// What is known of the builds of a month that may answer a question.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// Whether these are all that do.
    pub all: bool,
    /// Those that do, or did when they were there.
    pub hits: Vec<BuildId>,
    /// Where they are not all: those of which it is known whether they do.
    pub known: Vec<BuildId>,
}

impl Month {
    /// What the ids in it begin with.
    pub fn start(&self) -> String {
        self.name.replacen('-', "", 1)
    }

    /// The ids among these names that belong here. A job's are told from the others' before any is parsed: a month may
    /// have 100,000.
    pub fn ids<'n>(&self, names: &'n [String], wanted: &'n Wanted<'_>) -> impl Iterator<Item = BuildId> + use<'n> {
        let start = self.start();
        let fits = move |name: &&String| {
            name.starts_with(&start)
                && wanted.job.is_none_or(|job| is_of(name, job, wanted.platform))
                && wanted.part.is_none_or(|part| name.contains(part))
                && wanted.rebuild.is_none_or(|rebuild| rebuild == is_rebuild(name))
        };
        names.iter().filter(fits).filter_map(|name| name.parse().ok()).filter(|id| wanted.fits(id))
    }
}

impl Wanted<'_> {
    /// Whether a build of the right end is meant.
    pub fn fits(&self, id: &BuildId) -> bool {
        self.job.is_none_or(|job| id.job() == job)
            && self.platform.is_none_or(|platform| id.platform() == platform)
            && self.part.is_none_or(|part| id.as_str().contains(part))
            && self.before.is_none_or(|other| id < other)
            && self.rebuild.is_none_or(|rebuild| rebuild == id.is_rebuild())
    }

    /// Whether a month may have what is meant.
    fn has(&self, month: &Month) -> bool {
        self.end.is_none_or(|end| end == month.end) && self.not_older.is_none_or(|id| month.name >= id.month())
    }
}

impl Known {
    pub(crate) fn of(result: BuildResult) -> Known {
        Known { worker: result.worker, input: result.input, output: result.output }
    }
}

impl Spool {
    /// Finished builds whose name passes a test, the newest first; `most` of them at the most. They are listed from the
    /// directories.
    pub fn ended_builds(&self, most: usize, wanted: impl Fn(&str) -> bool) -> Result<Vec<Build<'_>>> {
        let mut found: Vec<(String, End)> = Vec::new();
        let mut last_month = String::new();
        for month in self.months()? {
            // Both directories of a month are read before it is known which builds are its newest.
            if found.len() >= most && month.name != last_month {
                break;
            }
            let (names, start) = (disk::names(&self.month_dir(&month))?, month.start());
            found.extend(
                names.into_iter().filter(|name| name.starts_with(&start) && wanted(name)).map(|one| (one, month.end)),
            );
            last_month = month.name;
        }
        // Names sort as ids do, and only as many are parsed as are wanted.
        found.sort_unstable_by(|a, b| b.cmp(a));
        let ids = found.iter().filter_map(|(name, end)| Some((name.parse::<BuildId>().ok()?, *end)));
        Ok(ids.take(most).map(|(id, end)| self.ended_build(id, end)).collect())
    }

    /// The finished builds of a job, on a platform or anywhere, the newest first; `most` of them at the most.
    pub fn ended_of(&self, job: &JobName, platform: Option<&Platform>, most: usize) -> Result<Vec<Build<'_>>> {
        self.ended_as(most, &Wanted { job: Some(job), platform, ..Wanted::default() })
    }

    /// The finished builds of a job or of all, on a platform or anywhere, that did not exit 0, the newest first; `most` of
    /// them at the most.
    pub fn failed_of(&self, job: Option<&JobName>, platform: Option<&Platform>, most: usize) -> Result<Vec<Build<'_>>> {
        self.ended_as(most, &Wanted { job, platform, end: Some(End::Failed), ..Wanted::default() })
    }

    /// What came out of the finished builds of a job on a platform, of those with an output, the newest first.
    pub fn outputs_of(&self, job: &JobName, platform: &Platform) -> Result<Vec<(BuildId, Sha256)>> {
        let all = self.known_of(job, Some(platform))?;
        Ok(all.into_iter().filter_map(|(build, known)| Some((build.id, known.output?))).collect())
    }

    /// The newest build of a job that exited 0, and repeats no other one.
    pub fn newest_done_of(&self, job: &JobName) -> Result<Option<Build<'_>>> {
        let done = Wanted { job: Some(job), end: Some(End::Done), rebuild: Some(false), ..Wanted::default() };
        Ok(self.ended_as(1, &done)?.into_iter().next())
    }

    /// The finished builds that ended at this moment or later, in one of the ways or in any, with how they ended; the one
    /// that was queued last comes first. One whose record can't be read is none of them.
    pub fn ended_since(&self, since: Timestamp, end: Option<End>) -> Result<Vec<(Build<'_>, BuildResult)>> {
        let index = self.index();
        let index = index.as_ref();
        let mut found = Vec::new();
        for month in self.months()?.iter().filter(|month| end.is_none_or(|end| end == month.end)) {
            let hits = index.map(|index| index.since(month, since)).unwrap_or_default();
            for id in self.may_be(month, hits)? {
                let build = self.ended_build(id, month.end);
                let result = build.result().ok().flatten().filter(|result| result.finished >= since);
                found.extend(result.map(|result| (build, result)));
            }
        }
        found.sort_by(|(a, _), (b, _)| b.id.cmp(&a.id));
        Ok(found)
    }

    /// The finished builds that are meant, the newest first; `most` of them at the most.
    pub(crate) fn ended_as(&self, most: usize, wanted: &Wanted<'_>) -> Result<Vec<Build<'_>>> {
        let index = self.index();
        let index = index.as_ref();
        let mut found: Vec<(BuildId, End)> = Vec::new();
        let mut last_month = String::new();
        for month in self.months()?.into_iter().filter(|month| wanted.has(month)) {
            if found.len() >= most && month.name != last_month {
                break;
            }
            found.extend(self.ids_in(index, &month, wanted)?.into_iter().map(|id| (id, month.end)));
            last_month = month.name;
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(most);
        Ok(found.into_iter().map(|(id, end)| self.ended_build(id, end)).collect())
    }

    /// The builds of a month that are meant, in no order.
    pub(crate) fn ids_in(&self, index: Option<&Index>, month: &Month, wanted: &Wanted<'_>) -> Result<Vec<BuildId>> {
        match index.and_then(|index| index.ids(month, wanted)) {
            Some(ids) => Ok(ids),
            None => {
                let names = disk::names(&self.month_dir(month))?;
                Ok(month.ids(&names, wanted).collect())
            }
        }
    }

    /// The finished builds of a job whose records can be read, with what these say, the newest first.
    pub(crate) fn known_of(&self, job: &JobName, platform: Option<&Platform>) -> Result<Vec<(Build<'_>, Known)>> {
        let wanted = Wanted { job: Some(job), platform, ..Wanted::default() };
        let index = self.index();
        let index = index.as_ref();
        let mut all = Vec::new();
        for month in self.months()? {
            let (all_of_it, mut known) = index.map(|index| index.of_job(&month, job, platform)).unwrap_or_default();
            if !all_of_it {
                let names = disk::names(&self.month_dir(&month))?;
                let there = month.ids(&names, &wanted).filter_map(|id| {
                    let read = || self.ended_build(id.clone(), month.end).result().ok().flatten().map(Known::of);
                    Some((id.clone(), known.remove(&id).or_else(read)?))
                });
                known = there.collect();
            }
            all.extend(known.into_iter().map(|(id, known)| (self.ended_build(id, month.end), known)));
        }
        all.sort_by(|(a, _), (b, _)| (&b.id, b.place.end()).cmp(&(&a.id, a.place.end())));
        Ok(all)
    }

    /// The builds of a month that may answer a question: those that do as far as is known, and those of which nothing is.
    /// Their files tell.
    pub(crate) fn may_be(&self, month: &Month, Hits { all, hits, known }: Hits) -> Result<Vec<BuildId>> {
        if all {
            return Ok(hits);
        }
        let names = disk::names(&self.month_dir(month))?;
        let (hits, known) = (BTreeSet::from_iter(hits), BTreeSet::from_iter(known));
        let everything = Wanted::default();
        let there = month.ids(&names, &everything);
        Ok(there.filter(|id| hits.contains(id) || !known.contains(id)).collect())
    }

    /// The directories of finished builds, the newest month first.
    pub(crate) fn months(&self) -> Result<Vec<Month>> {
        let mut months: Vec<Month> = Vec::new();
        for end in End::ALL {
            months.extend(disk::names(&self.layout().ended(end))?.into_iter().map(|name| Month { name, end }));
        }
        months.sort_by(|a, b| b.cmp(a));
        Ok(months)
    }

    /// Where a month is.
    pub(crate) fn month_dir(&self, month: &Month) -> PathBuf {
        self.layout().ended(month.end).join(&month.name)
    }

    /// A build that is over.
    pub(crate) fn ended_build(&self, id: BuildId, end: End) -> Build<'_> {
        Build::at(self, id, Place::Ended(end))
    }
}

/// Whether a build's name is that of a build of this job, without parsing it: a month may have 100,000.
pub(crate) fn is_of(name: &str, job: &JobName, platform: Option<&Platform>) -> bool {
    let rest = name.get(BuildId::TIME_LEN..).and_then(|rest| rest.strip_prefix('-'));
    let rest = rest.and_then(|rest| rest.strip_prefix(job.as_str())).and_then(|rest| rest.strip_prefix('@'));
    rest.is_some_and(|rest| {
        platform.is_none_or(|platform| rest.strip_prefix(platform.as_str()).is_some_and(|tail| tail.len() == 7))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_from_those_of_jobs_with_similar_names() {
        let job = |text: &str| text.parse::<JobName>().unwrap();
        let name = "20261124T094701.123Z-x-hello@debian-12-k3f9x2";
        let platform = "debian-12".parse().unwrap();
        assert!(is_of(name, &job("x-hello"), None) && is_of(name, &job("x-hello"), Some(&platform)));
        assert!(!is_of(name, &job("hello"), None) && !is_of(name, &job("x"), None));
        assert!(!is_of(name, &job("x-hello"), Some(&"debian".parse().unwrap())));
    }
}
