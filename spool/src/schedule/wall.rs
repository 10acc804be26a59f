//! What clocks on the wall do to a schedule: the rule of Debian's cron(8) for daylight saving.
//!
//! A job at fixed times that falls into an hour that is skipped runs once, at the end of the gap; in an hour that
//! is repeated it runs once, the first time. A job whose minute or hour starts with `*` runs whenever the clock
//! shows one of its times: never in a gap, and twice where an hour is repeated.

use super::calendar::{self, Calendar};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The first moment of a job at fixed times that is later than `after`.
pub(super) fn next_fixed(calendar: &Calendar, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    first_time(zone, civil(calendar.next(held_reading(zone, after))?)?)
}

/// The last moment of a job at fixed times that is not later than `now`.
pub(super) fn latest_fixed(calendar: &Calendar, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    first_time(zone, civil(calendar.latest(held_reading(zone, now))?)?)
}

/// The first moment later than `after` at which the clock shows one of these times: one stretch of constant
/// offset after the other, until the calendar ends.
pub(super) fn next_wild(calendar: &Calendar, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut from = whole_second(after) + 1;
    loop {
        let start = Timestamp::from_second(from).ok()?;
        let offset = i64::from(zone.to_offset(start).seconds());
        let next = calendar.next(from - 1 + offset)? - offset;
        match zone.following(start).next().map(|change| change.timestamp().as_second()) {
            Some(change) if change <= next => from = change,
            _ => return Timestamp::from_second(next).ok(),
        }
    }
}

/// The last moment at or before `now` at which the clock showed one of these times.
pub(super) fn latest_wild(calendar: &Calendar, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    // Two days are more than any offset; from the year 9999 it would be a long way back.
    let mut from = whole_second(now).min(calendar::END + 2 * 86_400);
    loop {
        let start = Timestamp::from_second(from).ok()?;
        let offset = i64::from(zone.to_offset(start).seconds());
        let latest = calendar.latest(from + offset)? - offset;
        match last_change(zone, start).map(|change| change.as_second()) {
            Some(change) if latest < change => from = change - 1,
            _ => return Timestamp::from_second(latest).ok(),
        }
    }
}

/// The moment at which the clock shows this; the first of two, and the end of the gap where there is none.
pub(super) fn first_time(zone: &TimeZone, shown: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
        // Counted on as if the clock had not been set, it is in the stretch that the gap's end begins.
        AmbiguousOffset::Gap { before, .. } => last_change(zone, before.to_timestamp(shown).ok()?),
    }
}

/// The reading of a clock that stands still, one second before its end, while an hour is repeated.
///
/// Such a clock never goes back: what it showed is over, and what it has not shown comes.
fn held_reading(zone: &TimeZone, at: Timestamp) -> i64 {
    let (second, offset) = (whole_second(at), zone.to_offset(at));
    let Ok(shown) = Timestamp::from_second(second).map(|at| offset.to_datetime(at)) else { return second };
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Fold { before, after } if offset == after => {
            let change = last_change(zone, at).map_or(second, Timestamp::as_second);
            change + i64::from(before.seconds()) - 1
        }
        _ => second + i64::from(offset.seconds()),
    }
}

/// The last change of the zone's offset at or before this moment.
fn last_change(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let just_after = Timestamp::from_second(whole_second(at) + 1).ok()?;
    zone.preceding(just_after).next().map(|change| change.timestamp())
}

fn whole_second(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}

fn civil(reading: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(reading).ok()?))
}
