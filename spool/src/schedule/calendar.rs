//! The moments that an expression has on a clock on the wall, whatever that clock does at night.
//!
//! A reading of the clock is a number of seconds: since 1970 began on it, as if it had never been set.
//! The search is that of the `cron` crate in UTC, which has no changes of the clock. It knows the years 1970 to
//! 2100, and that ends each search.

use super::expression::Fields;
use crate::error::{Error, Kind, Result};
use chrono::{DateTime, Utc};

/// One second before 1970, and the first second of 2101: the `cron` crate has nothing beyond.
const BEFORE: i64 = -1;
pub(super) const END: i64 = 4_133_980_800;

/// Fields that can be searched: one schedule, or the union of two where a day of either kind is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calendar {
    schedules: Vec<cron::Schedule>,
}

impl Calendar {
    pub(super) fn new(fields: &Fields) -> Result<Calendar> {
        let any_day: Vec<u8> = (1..=31).collect();
        let any_weekday: Vec<u8> = (0..=6).collect();
        let schedules = match fields.either_day {
            true => vec![schedule(fields, &fields.days, &any_weekday)?, schedule(fields, &any_day, &fields.weekdays)?],
            false => vec![schedule(fields, &fields.days, &fields.weekdays)?],
        };
        Ok(Calendar { schedules })
    }

    /// The first reading after this one.
    pub(super) fn next(&self, after: i64) -> Option<i64> {
        let after = moment(after.max(BEFORE))?;
        self.schedules.iter().filter_map(|schedule| schedule.after(&after).next()).min().map(|next| next.timestamp())
    }

    /// The last reading that is not after this one.
    pub(super) fn latest(&self, now: i64) -> Option<i64> {
        // The crate looks for what is strictly earlier, and takes a year before Christ for a late one.
        let before = moment(now.saturating_add(1).clamp(0, END))?;
        let last = |schedule: &cron::Schedule| schedule.after(&before).next_back();
        self.schedules.iter().filter_map(last).max().map(|latest| latest.timestamp())
    }
}

fn moment(reading: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(reading, 0)
}

/// The crate's weekdays are 1 to 7 from Sunday, and its first field is the second.
fn schedule(fields: &Fields, days: &[u8], weekdays: &[u8]) -> Result<cron::Schedule> {
    let weekdays: Vec<u8> = weekdays.iter().map(|day| day + 1).collect();
    let lists = [&fields.minutes, &fields.hours, days, &fields.months, &weekdays].map(joined);
    let text = format!("0 {}", lists.join(" "));
    text.parse().map_err(|e| Error::new(Kind::Internal, format!("the schedule `{text}` can't be searched: {e}")))
}

fn joined(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(expression: &str) -> Calendar {
        Calendar::new(&Fields::parse(expression).unwrap()).unwrap()
    }

    #[test]
    fn the_search_agrees_with_looking_at_each_minute() {
        let start = 1_709_078_400; // 2024-02-28
        for expression in ["*/7 3,4 * * *", "0 0 29 2 *", "5 4 1 * 5", "1 1 29 * */2", "59 23 * * 6", "0 0 1 1,3 *"] {
            let fields = Fields::parse(expression).unwrap();
            let minutes = (start - 86_400 * 40..start + 86_400 * 40).step_by(60);
            let hits: Vec<i64> = minutes.filter(|minute| due(&fields, *minute)).collect();
            let calendar = calendar(expression);
            for pair in hits.windows(2) {
                assert_eq!(calendar.next(pair[0]), Some(pair[1]), "{expression}");
                assert_eq!(calendar.latest(pair[1] - 1), Some(pair[0]), "{expression}");
                assert_eq!(calendar.latest(pair[1]), Some(pair[1]), "{expression}");
            }
            assert!(!hits.is_empty(), "{expression}");
        }
    }

    fn due(fields: &Fields, minute: i64) -> bool {
        use chrono::{Datelike, Timelike};
        let at = moment(minute).unwrap();
        let day = fields.days.contains(&(at.day() as u8));
        let weekday = fields.weekdays.contains(&(at.weekday().num_days_from_sunday() as u8));
        fields.minutes.contains(&(at.minute() as u8))
            && fields.hours.contains(&(at.hour() as u8))
            && fields.months.contains(&(at.month() as u8))
            && if fields.either_day { day || weekday } else { day && weekday }
    }

    #[test]
    fn the_years_of_the_crate_end_each_search() {
        let yearly = calendar("0 0 1 1 *");
        assert_eq!((yearly.next(i64::MIN), yearly.next(-1), yearly.next(0)), (Some(0), Some(0), Some(31_536_000)));
        assert_eq!((yearly.latest(-1), yearly.latest(-300_000_000_000)), (None, None));
        let last = 4_102_444_800; // 2100-01-01
        assert_eq!((yearly.next(last), yearly.latest(i64::MAX)), (None, Some(last)));
        assert_eq!(yearly.next(i64::MAX), None);
        assert_eq!(calendar("0 0 30 2 *").next(0), None);
    }
}
