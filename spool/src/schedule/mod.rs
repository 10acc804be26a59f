//! When a job is due: pure functions of the job, what was fired, and now.
//!
//! `every` is a plain period, `crontab` an expression in a zone: `field` and `expression` read it, `calendar`
//! finds its times, `wall` makes moments of them. `moment` reads a single one. `schedule.md` is what users read.

mod calendar;
mod crontab;
mod every;
mod expression;
mod field;
mod jitter;
pub mod moment;
mod wall;
mod zone;

pub use crontab::Cron;
pub(crate) use crontab::one_blank_between;
pub use every::Every;
pub use jitter::jitter_of;

use jiff::{SignedDuration, Timestamp};

/// What makes the moments.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// A period from the first moment on.
    Every(Every),
    /// An expression of crontab(5).
    Cron(Cron),
}

/// The moments at which a job is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// What makes them.
    pub rule: Rule,
    /// The first moment, and nothing before it. Periods count from it, and [`Every::Never`] makes it the only
    /// one; without it, a period has no moments. An expression goes on with its own moments after it.
    pub first: Option<Timestamp>,
    /// Nothing is due at this moment or before it.
    pub since: Option<Timestamp>,
    /// How much later than the rule says (and than `first`) this job is due, as [`jitter_of`] gives it.
    pub jitter: SignedDuration,
}

impl Schedule {
    /// The latest moment that is due by `now` and was not fired; however many were missed, it is one.
    ///
    /// A clock that was ahead leaves a `fired` in the future. It counts until the next moment, so that a clock
    /// that is mended does not hold a job back for longer than that.
    pub fn due(&self, fired: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let latest = self.latest(now)?;
        let counts = |fired: &Timestamp| self.next(now).is_none_or(|next| *fired <= next);
        match fired.filter(counts) {
            Some(fired) if fired >= latest => None,
            _ => Some(latest),
        }
    }

    /// The next moment after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let after = self.since.map_or(now, |since| since.max(now)).checked_sub(self.jitter).ok()?;
        let next = match (&self.rule, self.first) {
            (_, Some(first)) if after < first => Some(first),
            (Rule::Every(every), first) => every.next(first?, after),
            (Rule::Cron(cron), _) => cron.next(after),
        };
        next?.checked_add(self.jitter).ok()
    }

    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let by = now.checked_sub(self.jitter).ok()?;
        let latest = match (&self.rule, self.first) {
            (_, Some(first)) if by < first => None,
            (Rule::Every(every), first) => every.latest(first?, by),
            (Rule::Cron(cron), first) => cron.latest(by).max(first),
        };
        let latest = latest?.checked_add(self.jitter).ok()?;
        self.since.is_none_or(|since| since < latest).then_some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn every(every: Every, first: Option<i64>) -> Schedule {
        Schedule { rule: Rule::Every(every), first: first.map(at), since: None, jitter: SignedDuration::ZERO }
    }

    /// 1_800_000_000 is 2027-01-15T08:00:00Z: a job at each full hour.
    fn cron() -> Schedule {
        let rule = Rule::Cron(Cron::parse("0 * * * *", None).unwrap());
        Schedule { rule, first: None, since: None, jitter: SignedDuration::ZERO }
    }

    #[test]
    fn a_schedule_fires_once_for_all_that_was_missed() {
        let daily = every(Every::Daily, Some(0));
        let table = [
            (None, -1, None),
            (None, 0, Some(0)),
            (Some(0), 23, None),
            (Some(0), 24, Some(24)),
            (Some(0), 100, Some(96)),
            (Some(96), 100, None),
            // The clock went back: nothing again.
            (Some(96), 80, None),
            // It had been far ahead: the schedule goes on.
            (Some(9000), 50, Some(48)),
        ];
        for (fired, now, expected) in table {
            assert_eq!(daily.due(fired.map(at), at(now)), expected.map(at), "{fired:?} {now}");
        }
        assert_eq!(daily.next(at(25)), Some(at(48)));
        assert_eq!(daily.next(at(-5)), Some(at(0)));
    }

    #[test]
    fn an_expression_fires_once_for_all_that_was_missed() {
        let table = [
            (None, 0, Some(0)),
            (Some(0), 0, None),
            (Some(0), 1, Some(1)),
            (Some(0), 100, Some(100)),
            // The clock went back by less than a period, and by more.
            (Some(6), 5, None),
            (Some(7), 5, Some(5)),
        ];
        for (fired, now, expected) in table {
            assert_eq!(cron().due(fired.map(at), at(now)), expected.map(at), "{fired:?} {now}");
        }
    }

    #[test]
    fn a_moment_fires_once_and_never_again() {
        let once = every(Every::Never, Some(5));
        assert_eq!(once.due(None, at(4)), None);
        assert_eq!(once.due(None, at(500)), Some(at(5)));
        assert_eq!(once.due(Some(at(5)), at(500)), None);
        assert_eq!((once.next(at(4)), once.next(at(5))), (Some(at(5)), None));
    }

    #[test]
    fn a_manual_job_is_never_due() {
        let manual = every(Every::Never, None);
        assert_eq!((manual.due(None, at(0)), manual.next(at(0))), (None, None));
    }

    #[test]
    fn the_first_moment_of_an_expression_is_one_and_nothing_is_before_it() {
        let half = SignedDuration::from_mins(30);
        let from = Schedule { first: Some(at(5) + half), ..cron() };
        assert_eq!((from.due(None, at(5)), from.next(at(0))), (None, Some(at(5) + half)));
        assert_eq!(from.due(None, at(5) + half), Some(at(5) + half));
        assert_eq!((from.next(at(5) + half), from.due(None, at(7))), (Some(at(6)), Some(at(7))));
    }

    #[test]
    fn nothing_is_due_that_was_before_since() {
        for schedule in [cron(), every(Every::Hourly, Some(-100))] {
            let since = Schedule { since: Some(at(5)), ..schedule };
            assert_eq!((since.due(None, at(5)), since.next(at(0))), (None, Some(at(6))));
            assert_eq!((since.due(None, at(6)), since.next(at(6))), (Some(at(6)), Some(at(7))));
        }
        let once = Schedule { since: Some(at(5)), ..every(Every::Never, Some(5)) };
        assert_eq!((once.due(None, at(50)), once.next(at(0))), (None, None));
    }

    #[test]
    fn jitter_makes_each_moment_later() {
        let jitter = SignedDuration::from_mins(10);
        for schedule in [cron(), Schedule { first: Some(at(0)), ..cron() }, every(Every::Hourly, Some(0))] {
            let late = Schedule { jitter, ..schedule };
            assert_eq!((late.next(at(0)), late.next(at(0) + jitter)), (Some(at(0) + jitter), Some(at(1) + jitter)));
            assert_eq!(late.due(Some(at(0) + jitter), at(1)), None);
            assert_eq!(late.due(Some(at(0) + jitter), at(1) + jitter), Some(at(1) + jitter));
            // A moment that was due before `since` by the rule, and after it by the jitter, is one.
            let since = Schedule { since: Some(at(1) + jitter / 2), ..late };
            assert_eq!(since.next(at(0)), Some(at(1) + jitter));
        }
        assert_eq!(Schedule { jitter, ..every(Every::Never, Some(5)) }.due(None, at(6)), Some(at(5) + jitter));
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        for schedule in [cron(), every(Every::Hourly, Some(0)), Schedule { first: Some(Timestamp::MAX), ..cron() }] {
            for jitter in [SignedDuration::ZERO, SignedDuration::from_secs(1), SignedDuration::MAX] {
                let schedule = Schedule { jitter, ..schedule.clone() };
                for end in [Timestamp::MIN, Timestamp::MAX] {
                    let _ = (schedule.next(end), schedule.due(None, end), schedule.due(Some(end), at(0)));
                }
            }
        }
    }
}
