//! Questions to the index. Each is about one month, and its answer is from one moment. Where something goes wrong on the
//! way, nothing is known of that month.

use super::schema;
use super::stamp::Stamp;
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::ended::{Hits, Known, Month, Wanted};
use crate::name::{JobName, Platform};
use crate::place::End;
use crate::spool::Spool;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

/// The index, open for reading. It is locked no longer than for one answer: who keeps it must get on.
pub(crate) struct Index {
    base: Connection,
    spool: Spool,
    /// The lines that are meant, and the highest number that any line had then.
    lines: RefCell<(i64, Rc<Vec<Line>>)>,
    failed: Cell<bool>,
}

/// The builds of a job on a platform.
struct Line {
    number: i64,
    job: JobName,
    platform: Platform,
}

type Asked<T> = rusqlite::Result<T>;

/// A column that holds what nobody has written there.
fn nonsense(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, String::new(), rusqlite::types::Type::Null)
}

impl Index {
    /// The index of a spool, if it can be read now.
    pub fn open(spool: &Spool) -> Option<Index> {
        let base = schema::open(spool).ok()??;
        Some(Index { base, spool: spool.clone(), lines: RefCell::default(), failed: Cell::new(false) })
    }

    /// Whether its builds of a month are all that are there.
    pub fn is_true_of(&self, month: &Month) -> bool {
        self.at_once(|| self.speaks_for(month))
    }

    /// The builds of a month that are meant; nothing when it can't tell. A question means the same builds of each month.
    pub fn ids(&self, month: &Month, wanted: &Wanted<'_>) -> Option<Vec<BuildId>> {
        let tail = wanted.part.map(|part| only_tail(part).ok_or(())).transpose().ok()?;
        let mut ids = self.at_once(|| match (self.speaks_for(month)?, wanted.job, tail) {
            (false, ..) => Ok(None),
            (true, None, None) => self.all(month).map(Some),
            (true, _, None) => self.of_lines(month, wanted).map(Some),
            (true, _, Some(tail)) => {
                let mut ids = self.of_lines(month, wanted)?;
                ids.extend(self.with_tail(month, tail)?);
                Ok(Some(ids))
            }
        })?;
        ids.retain(|id| wanted.fits(id));
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    /// What is known of the builds of a job in a month, and whether these are all; else they may be there no more.
    pub fn of_job(
        &self,
        month: &Month,
        job: &JobName,
        platform: Option<&Platform>,
    ) -> (bool, BTreeMap<BuildId, Known>) {
        let sql = "SELECT time, tail, worker, input, output FROM builds WHERE line = ?1 AND time >= ?2 AND time < ?3 \
                   AND +failed = ?4 AND finished IS NOT NULL";
        let (within, wanted) = (moments(month), Wanted { job: Some(job), platform, ..Wanted::default() });
        self.at_once(|| {
            let mut all = BTreeMap::new();
            for line in self.lines(&wanted)?.iter() {
                let known = |row: &Row<'_>| Ok((line.id(row.get(0)?, row.get(1)?)?, known(row)?));
                all.extend(self.list(sql, (line.number, within.start, within.end, failed(month)), known)?);
            }
            Ok((self.speaks_for(month)?, all))
        })
    }

    /// The builds of a month that have a content.
    pub fn having(&self, month: &Month, content: &Sha256) -> Hits {
        let sql = "SELECT time, tail, job, platform FROM holds INDEXED BY holds_content CROSS JOIN \
                   builds INDEXED BY builds_by_manifest USING (manifest) CROSS JOIN lines USING (line) WHERE content = ?1 AND failed = ?2 AND time >= ?3 AND time < ?4";
        let within = moments(month);
        self.at_once(|| self.hits(month, sql, (short(content), failed(month), within.start, within.end)))
    }

    /// The builds of a month that ended at a moment or later.
    pub fn since(&self, month: &Month, since: Timestamp) -> Hits {
        let sql = "SELECT time, tail, job, platform FROM builds INDEXED BY builds_by_end CROSS JOIN lines USING (line) \
                   WHERE failed = ?1 AND finished >= ?2 AND time >= ?3 AND time < ?4";
        let within = moments(month);
        self.at_once(|| self.hits(month, sql, (failed(month), since.as_millisecond(), within.start, within.end)))
    }

    fn hits(&self, month: &Month, sql: &str, words: impl Params) -> Asked<Hits> {
        let hits = self.list(sql, words, id)?;
        Ok(match self.speaks_for(month)? {
            true => Hits { all: true, hits, known: Vec::new() },
            false => Hits { all: false, hits, known: self.all(month)? },
        })
    }

    fn all(&self, month: &Month) -> Asked<Vec<BuildId>> {
        let sql = "SELECT time, tail, job, platform FROM builds INDEXED BY builds_by_time CROSS JOIN lines USING (line) \
                   WHERE failed = ?1 AND time >= ?2 AND time < ?3";
        let within = moments(month);
        self.list(sql, (failed(month), within.start, within.end), id)
    }

    /// The builds of all lines that are meant: where a part is wanted, of those that have it in their names.
    fn of_lines(&self, month: &Month, wanted: &Wanted<'_>) -> Asked<Vec<BuildId>> {
        // With a `+` SQLite does not go by that column: a line's builds stand together, those of a month do not.
        let sql = "SELECT time, tail FROM builds WHERE line = ?1 AND time >= ?2 AND time < ?3 AND +failed = ?4";
        let within = moments(month);
        let mut ids = Vec::new();
        for line in self.lines(wanted)?.iter() {
            let id = |row: &Row<'_>| line.id(row.get(0)?, row.get(1)?);
            ids.extend(self.list(sql, (line.number, within.start, within.end, failed(month)), id)?);
        }
        Ok(ids)
    }

    fn with_tail(&self, month: &Month, tail: i64) -> Asked<Vec<BuildId>> {
        let sql = "SELECT time, tail, job, platform FROM builds INDEXED BY builds_by_tail CROSS JOIN lines USING (line) \
                   WHERE tail = ?1 AND failed = ?2 AND time >= ?3 AND time < ?4";
        let within = moments(month);
        self.list(sql, (tail, failed(month), within.start, within.end), id)
    }

    /// The lines that are meant: the same ones for each month, but that some may come meanwhile. None goes.
    fn lines(&self, wanted: &Wanted<'_>) -> Asked<Rc<Vec<Line>>> {
        let newest = self.base.prepare_cached("SELECT max(line) FROM lines")?.query_row([], |row| row.get(0))?;
        let newest: i64 = Option::unwrap_or_default(newest);
        if self.lines.borrow().0 != newest {
            let sql = "SELECT line, job, platform FROM lines WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR platform \
                       = ?2) AND (?3 IS NULL OR instr('-' || job || '@' || platform || '-', ?3) > 0)";
            let job = wanted.job.map(JobName::as_str);
            // With a name the tables' order helps, and without one there is no way but to read them all.
            let sql = if job.is_some() { sql.replace("(?1 IS NULL OR job = ?1)", "job = ?1") } else { sql.to_owned() };
            let line = |row: &Row<'_>| Ok(Line { number: row.get(0)?, job: name(row, 1)?, platform: name(row, 2)? });
            let lines = self.list(&sql, (job, wanted.platform.map(Platform::as_str), wanted.part), line)?;
            self.lines.replace((newest, Rc::new(lines)));
        }
        Ok(self.lines.borrow().1.clone())
    }

    /// Compares the month's directory with what it was when its listing went in.
    fn speaks_for(&self, month: &Month) -> Asked<bool> {
        let sql = "SELECT inode, modified, changed, links FROM months WHERE failed = ?1 AND month = ?2";
        let mut read = self.base.prepare_cached(sql)?;
        let then = read.query_row((failed(month), &month.name), |row| stamp(row, 0)).optional()?;
        Ok(then.is_some() && Stamp::of(&self.spool.month_dir(month)) == then)
    }

    fn list<T>(&self, sql: &str, words: impl Params, one: impl FnMut(&Row<'_>) -> Asked<T>) -> Asked<Vec<T>> {
        self.base.prepare_cached(sql)?.query_map(words, one)?.collect()
    }

    /// What is said at one moment; nothing when that can't be had, now or before.
    fn at_once<T: Default>(&self, ask: impl FnOnce() -> Asked<T>) -> T {
        if self.failed.get() {
            return T::default();
        }
        let answer = self.base.execute_batch("BEGIN").and_then(|()| ask());
        let ended = self.base.execute_batch("ROLLBACK");
        match answer.and_then(|answer| ended.map(|()| answer)) {
            Ok(answer) => answer,
            Err(_) => {
                self.failed.set(true);
                T::default()
            }
        }
    }
}

impl Line {
    fn id(&self, time: i64, tail: i64) -> Asked<BuildId> {
        BuildId::of_numbers(time, &self.job, &self.platform, tail).ok_or_else(|| nonsense(0))
    }
}

/// The moments, in milliseconds, of the ids that belong into a month; nothing when its name is none.
pub(super) fn times(month: &Month) -> Option<Range<i64>> {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let first = month.name.split_once('-').filter(|(year, number)| digits(year, 4) && digits(number, 2));
    let first = first.and_then(|(year, number)| Date::new(year.parse().ok()?, number.parse().ok()?, 1).ok())?;
    let start = |date: Date| Some(TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_millisecond());
    let next = first.checked_add(jiff::Span::new().months(1)).ok().and_then(start).unwrap_or(i64::MAX);
    Some(start(first)?..next)
}

/// As [`times`], and none where there is none.
fn moments(month: &Month) -> Range<i64> {
    times(month).unwrap_or(0..0)
}

/// 1 for `failed/`.
pub(super) fn failed(month: &Month) -> i64 {
    i64::from(month.end == End::Failed)
}

/// As many bits of a digest as fit into a number.
pub(super) fn short(digest: &Sha256) -> i64 {
    digest.bytes().iter().take(8).fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

/// What the directories were when their listings went in.
pub(super) fn stamps(base: &Connection) -> Asked<HashMap<Month, Stamp>> {
    let mut read = base.prepare_cached("SELECT failed, month, inode, modified, changed, links FROM months")?;
    let one = |row: &Row<'_>| {
        let end = if row.get(0)? { End::Failed } else { End::Done };
        Ok((Month { end, name: row.get(1)? }, stamp(row, 2)?))
    };
    read.query_map([], one)?.collect()
}

/// Of the columns from this one on.
fn stamp(row: &Row<'_>, first: usize) -> Asked<Stamp> {
    let [inode, modified, changed, links] = [0, 1, 2, 3].map(|n| row.get(first + n));
    Ok(Stamp { inode: inode?, modified: modified?, changed: changed?, links: links? })
}

/// The tail, when builds with this in their ids have that tail, or all of it within the names of job and platform.
fn only_tail(part: &str) -> Option<i64> {
    let (before, last) = part.rsplit_once('-').unwrap_or(("", part));
    let tail = BuildId::number_of_tail(last)?;
    // Else it might be in the time, which ends with a `Z`, or be some of its digits.
    let with_time = before.split('-').next().is_some_and(|first| first.ends_with('Z'));
    let of_time = part == last && last.bytes().all(|byte| byte.is_ascii_digit());
    (!with_time && !of_time).then_some(tail)
}

fn name<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> Asked<T> {
    row.get_ref(column)?.as_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| nonsense(column))
}

/// Of the columns time, tail, job, platform.
fn id(row: &Row<'_>) -> Asked<BuildId> {
    BuildId::of_numbers(row.get(0)?, &name(row, 2)?, &name(row, 3)?, row.get(1)?).ok_or_else(|| nonsense(0))
}

/// Of the columns worker, input, output behind two others.
fn known(row: &Row<'_>) -> Asked<Known> {
    let digest =
        |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<[u8; 32]>>(column)?.map(Sha256::of_its_bytes));
    let worker = match row.get_ref(2)?.as_str_or_null() {
        Ok(None) => None,
        _ => Some(name(row, 2)?),
    };
    Ok(Known { worker, input: digest(3)?, output: digest(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_only_an_end_can_have_is_told_from_others() {
        let tail = BuildId::number_of_tail("k3f9x2");
        for part in ["k3f9x2", "-k3f9x2", "debian-12-k3f9x2", "@debian-12-k3f9x2", "hello@debian-12-k3f9x2"] {
            assert_eq!(only_tail(part), tail, "{part}");
        }
        for part in
            ["", "k3f9x", "hello", "123456", "094701", "Z-a@p-k3f9x2", "701.123Z-k3f9x2", "k3f9x2-", "3f9x2", "K3F9X2"]
        {
            assert_eq!(only_tail(part), None, "{part}");
        }
        assert!(only_tail("-123456").is_some(), "the time has nothing before it");
    }

    #[test]
    fn a_month_has_the_moments_of_its_ids() {
        let times = |name: &str| times(&Month { name: name.into(), end: End::Done });
        assert_eq!(times("1970-01"), Some(0..31 * 86_400_000));
        assert!(times("9999-12").is_some());
        for name in ["", "2026", "2026-13", "2026-1", "lost", "+026-01", "-026-01"] {
            assert_eq!(times(name), None, "{name}");
        }
    }
}
