//! When a job is due: pure functions of the job, what was fired, and now.

use crate::error::{Error, Kind, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How often a job runs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Each hour from the first moment on.
    Hourly,
    /// Each 24 hours.
    Daily,
    /// Each 7 days.
    Weekly,
    /// Only when somebody asks.
    Never,
}

impl Every {
    /// The time between two runs.
    fn period(self) -> Option<SignedDuration> {
        let hours = match self {
            Every::Hourly => 1,
            Every::Daily => 24,
            Every::Weekly => 7 * 24,
            Every::Never => return None,
        };
        Some(SignedDuration::from_hours(hours))
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Every::Hourly => "hourly",
            Every::Daily => "daily",
            Every::Weekly => "weekly",
            Every::Never => "never",
        }
    }
}

impl FromStr for Every {
    type Err = Error;
    fn from_str(text: &str) -> Result<Every> {
        [Every::Hourly, Every::Daily, Every::Weekly, Every::Never]
            .into_iter()
            .find(|every| every.word() == text)
            .ok_or_else(|| {
                let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
                Error::new(Kind::Usage, format!("`{shown}` is no schedule")).hint("use hourly, daily, weekly or never")
            })
    }
}

/// The moments at which a job is due: one, or one each period for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// How often.
    pub every: Every,
    /// The first moment; `--at` with `every = "never"` makes it the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
}

impl Schedule {
    /// The latest moment that is due by `now` and was not fired; however many were missed, it is one.
    ///
    /// A clock that was ahead leaves a `fired` in the future. It counts for a period, so that a clock that is
    /// mended does not hold a job back for longer than that.
    pub fn due(&self, fired: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let latest = self.latest(now)?;
        let horizon = self.every.period().and_then(|period| now.checked_add(period).ok());
        let counts = |fired: &Timestamp| horizon.is_none_or(|horizon| *fired <= horizon);
        match fired.filter(counts) {
            Some(fired) if fired >= latest => None,
            _ => Some(latest),
        }
    }

    /// The next moment after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.first?;
        if now < first {
            return Some(first);
        }
        self.latest(now)?.checked_add(self.every.period()?).ok()
    }

    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.first.filter(|first| *first <= now)?;
        let Some(period) = self.every.period() else { return Some(first) };
        let passed = now.duration_since(first).as_millis() / period.as_millis();
        let since_first = i64::try_from(passed * period.as_millis()).ok()?;
        first.checked_add(SignedDuration::from_millis(since_first)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    #[test]
    fn a_schedule_fires_once_for_all_that_was_missed() {
        let daily = Schedule { every: Every::Daily, first: Some(at(0)) };
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
    fn a_moment_fires_once_and_never_again() {
        let once = Schedule { every: Every::Never, first: Some(at(5)) };
        assert_eq!(once.due(None, at(4)), None);
        assert_eq!(once.due(None, at(500)), Some(at(5)));
        assert_eq!(once.due(Some(at(5)), at(500)), None);
        assert_eq!((once.next(at(4)), once.next(at(5))), (Some(at(5)), None));
    }

    #[test]
    fn a_manual_job_is_never_due() {
        let manual = Schedule { every: Every::Never, first: None };
        assert_eq!((manual.due(None, at(0)), manual.next(at(0))), (None, None));
    }
}
