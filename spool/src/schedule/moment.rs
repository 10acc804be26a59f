//! A moment as people write it, and the time zone that they mean.

pub use super::zone::zone;

use super::wall;
use crate::error::{Error, Kind, Result};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// The longest text that is read, in bytes.
const LONGEST: usize = 100;

/// The moment that somebody means, in letters of any case:
///
/// - `now`, and `+2h`, `+90m`, `+1d`, `+1h30m` after it, where a day has 24 hours;
/// - `03:00`, `noon`, `midnight`: the next such time; `mon 03:00`, `monday`: that weekday's next;
/// - `today 15:00`, `tomorrow`, `tomorrow noon`, `2026-11-25`, `2026-11-25 03:00`, `2026-11-25T03:00:30`: a day
///   without a time begins at midnight;
/// - RFC 3339 with its own offset, and `@1700000000`, seconds since 1970.
///
/// `zone` is that of all times without an offset. Of two times with one name the first is meant; for a time that
/// the clock skips, the end of the gap. Anything else is refused ([`Kind::Usage`]).
pub fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let read = || {
        let text = Some(text.trim()).filter(|text| text.is_ascii() && text.len() <= LONGEST)?.to_ascii_lowercase();
        relative(&text, now).or_else(|| absolute(&text)).or_else(|| local(&text, now, zone))
    };
    read().ok_or_else(|| {
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        Error::new(Kind::Usage, format!("`{shown}` is no moment")).hint(
            "write now, +2h, +1d, 03:00, noon, midnight, today 15:00, tomorrow, tomorrow 03:00, monday, mon 03:00, \
             2026-11-25, 2026-11-25 03:00, 2026-11-25T03:00:00Z, 2026-11-25T04:00:00+01:00 or @1700000000",
        )
    })
}

fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    let span: Span = text.strip_prefix('+')?.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_add(duration).ok().filter(|_| !duration.is_negative())
}

fn absolute(text: &str) -> Option<Timestamp> {
    match text.strip_prefix('@') {
        Some(seconds) => Timestamp::from_second(seconds.parse().ok()?).ok(),
        // A name of a zone in brackets would be believed beside the offset.
        None if text.contains('[') => None,
        None => text.to_ascii_uppercase().parse().ok(),
    }
}

/// A day, a time, or both.
fn local(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let today = zone.to_datetime(now).date();
    let at = |date: Date, time: Time| wall::first_time(zone, date.to_datetime(time));
    match words[..] {
        [word] => match (time(word), word) {
            (Some(time), _) => next_of(today, 1, now, |date| at(date, time)),
            (None, "today") => None,
            (None, word) => match word.split_once('t').and_then(|(day, time_of)| Some((date(day)?, time(time_of)?))) {
                Some((date, time)) => at(date, time),
                None => on(word, Time::midnight(), today, now, at),
            },
        },
        [day, time_of] => on(day, time(time_of)?, today, now, at),
        _ => None,
    }
}

fn on(
    day: &str,
    time: Time,
    today: Date,
    now: Timestamp,
    at: impl Fn(Date, Time) -> Option<Timestamp>,
) -> Option<Timestamp> {
    match (day, weekday(day)) {
        ("today", _) => at(today, time),
        ("tomorrow", _) => at(today.tomorrow().ok()?, time),
        (_, Some(weekday)) => {
            let ahead = i64::from(today.weekday().until(weekday));
            next_of(today.checked_add(Span::new().days(ahead)).ok()?, 7, now, |date| at(date, time))
        }
        _ => at(date(day)?, time),
    }
}

/// On this day if that is still to come, else `days` later.
fn next_of(day: Date, days: i64, now: Timestamp, at: impl Fn(Date) -> Option<Timestamp>) -> Option<Timestamp> {
    let later = || at(day.checked_add(Span::new().days(days)).ok()?);
    at(day).filter(|at| *at > now).or_else(later)
}

fn weekday(word: &str) -> Option<Weekday> {
    use Weekday::*;
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Monday),
        ("tuesday", Tuesday),
        ("wednesday", Wednesday),
        ("thursday", Thursday),
        ("friday", Friday),
        ("saturday", Saturday),
        ("sunday", Sunday),
    ];
    let named = NAMES.into_iter().find(|(name, _)| word == *name || word == &name[..3]);
    named.map(|(_, weekday)| weekday)
}

/// `2026-11-25`, with all its digits.
fn date(word: &str) -> Option<Date> {
    let [year, month, day] = numbers(word, '-', &[4, 2, 2])?[..] else { return None };
    Date::new(year, month as i8, day as i8).ok()
}

/// `03:00`, `03:00:30`, `noon` or `midnight`.
fn time(word: &str) -> Option<Time> {
    match word {
        "noon" => return Some(Time::constant(12, 0, 0, 0)),
        "midnight" => return Some(Time::midnight()),
        _ => {}
    }
    let parts = numbers(word, ':', &[2, 2]).or_else(|| numbers(word, ':', &[2, 2, 2]))?;
    Time::new(parts[0] as i8, parts[1] as i8, parts.get(2).map_or(0, |second| *second as i8), 0).ok()
}

/// Numbers with exactly so many digits each.
fn numbers(word: &str, between: char, digits: &[usize]) -> Option<Vec<i16>> {
    let parts: Vec<&str> = word.split(between).collect();
    let fits = |(part, digits): (&&str, &usize)| part.len() == *digits && part.bytes().all(|b| b.is_ascii_digit());
    let fit = parts.len() == digits.len() && parts.iter().zip(digits).all(fits);
    fit.then(|| parts.iter().map(|part| part.parse().ok()).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wednesday, 2026-11-25, 12:00 in Berlin.
    const NOW: &str = "2026-11-25T11:00:00Z";

    fn read(text: &str, now: &str) -> Result<Timestamp> {
        moment(text, now.parse().unwrap(), &zone(Some("Europe/Berlin")).unwrap())
    }

    #[test]
    fn moments_as_people_write_them() {
        for (text, expected) in [
            ("now", NOW),
            ("+2h", "2026-11-25T13:00:00Z"),
            ("+90m", "2026-11-25T12:30:00Z"),
            ("+1d", "2026-11-26T11:00:00Z"),
            ("+1h30m", "2026-11-25T12:30:00Z"),
            (" 03:00 ", "2026-11-26T02:00:00Z"),
            ("12:00", "2026-11-26T11:00:00Z"),
            ("12:00:01", "2026-11-25T11:00:01Z"),
            ("NOON", "2026-11-26T11:00:00Z"),
            ("midnight", "2026-11-25T23:00:00Z"),
            ("today 15:00", "2026-11-25T14:00:00Z"),
            ("today 03:00", "2026-11-25T02:00:00Z"),
            ("Tomorrow", "2026-11-25T23:00:00Z"),
            ("tomorrow 03:00", "2026-11-26T02:00:00Z"),
            ("tomorrow  noon", "2026-11-26T11:00:00Z"),
            ("mon 03:00", "2026-11-30T02:00:00Z"),
            ("Monday", "2026-11-29T23:00:00Z"),
            ("wed 12:30", "2026-11-25T11:30:00Z"),
            ("wed 12:00", "2026-12-02T11:00:00Z"),
            ("wednesday", "2026-12-01T23:00:00Z"),
            ("2026-11-25", "2026-11-24T23:00:00Z"),
            ("2026-11-25 03:00", "2026-11-25T02:00:00Z"),
            ("2026-11-25 03:00:30", "2026-11-25T02:00:30Z"),
            ("2026-11-25T03:00", "2026-11-25T02:00:00Z"),
            ("2026-11-25t03:00z", "2026-11-25T03:00:00Z"),
            ("2026-11-25T03:00:00Z", "2026-11-25T03:00:00Z"),
            ("2026-11-25T03:00:00-05:00", "2026-11-25T08:00:00Z"),
            ("2026-11-25 03:00+05:30", "2026-11-24T21:30:00Z"),
            ("@1700000000", "2023-11-14T22:13:20Z"),
            ("@-1", "1969-12-31T23:59:59Z"),
            // Skipped: the end of the gap. Repeated: the first.
            ("2027-03-28 02:30", "2027-03-28T01:00:00Z"),
            ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(read(text, NOW).unwrap().to_string(), expected, "{text}");
        }
        // A time that is skipped today is over when the gap is.
        assert_eq!(read("02:30", "2027-03-28T00:59:00Z").unwrap().to_string(), "2027-03-28T01:00:00Z");
        assert_eq!(read("02:30", "2027-03-28T01:00:00Z").unwrap().to_string(), "2027-03-29T00:30:00Z");
    }

    #[test]
    fn anything_else_is_refused_in_one_line() {
        for text in [
            "",
            " ",
            "+",
            "+-2h",
            "+2h ago",
            "+1 month",
            "-2h",
            "2h",
            "today",
            "yesterday",
            "mon tue",
            "25:00",
            "24:00",
            "3:00",
            "03:60",
            "0300",
            "2026-02-30",
            "2026-11-25 03",
            "26-11-25",
            "2026-11-25T03:00:00+01:00[Europe/Paris]",
            "@",
            "@x",
            "@99999999999999",
            "next monday",
            "mond",
            "12:00\n13:00",
            "möndag",
            "+999999999h",
            "now now",
        ] {
            let error = read(text, NOW).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text}");
            assert!(error.to_string().contains("is no moment; write now, +2h,"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(read(&"+1h".repeat(1 << 20), NOW).unwrap_err().to_string().len() < 500);
    }
}
