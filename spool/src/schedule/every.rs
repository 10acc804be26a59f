//! A period that anybody understands: each hour, each day, each week.

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

    /// The latest of `first`, `first` + a period, `first` + two periods … that is not after `now`.
    pub(super) fn latest(self, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if now < first {
            return None;
        }
        let Some(period) = self.period() else { return Some(first) };
        let passed = now.duration_since(first).as_millis() / period.as_millis();
        let since_first = i64::try_from(passed * period.as_millis()).ok()?;
        first.checked_add(SignedDuration::from_millis(since_first)).ok()
    }

    /// The first of them that is later than `after`.
    pub(super) fn next(self, first: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match self.latest(first, after) {
            None => Some(first),
            Some(latest) => latest.checked_add(self.period()?).ok(),
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
