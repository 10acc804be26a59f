//! How people read times, durations, sizes and tables.

use jiff::Timestamp;
use spool::build_id::BuildId;
use spool::error::Result;
use spool::job::Job;
use spool::name::JobName;
use spool::record::Outcome;

/// `2026-11-24 09:47:01Z`.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `0.4s`, `12.3s`, `11min21s`, `2h05min`, `3d04h`: two units at the most.
pub fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}min{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}min", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86400, s / 3600 % 24),
    }
}

/// The time from one moment to a later one; nothing has passed when it is not later.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    duration(to.duration_since(from).as_millis().max(0) as u64)
}

/// `due now`, `in 40 s`, `in 4 min`, `in 3 h`, `in 2 d`.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    match at.duration_since(now).as_secs() {
        ..=0 => "due now".to_owned(),
        seconds => format!("in {}", rough(seconds)),
    }
}

/// `just now`, `40 s ago`, `4 min ago`, `3 h ago`, `2 d ago`.
pub fn since(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..=0 => "just now".to_owned(),
        seconds => format!("{} ago", rough(seconds)),
    }
}

/// The nearest whole number of the unit that people would choose.
pub fn rough(seconds: i64) -> String {
    let (minutes, hours, days) = ((seconds + 30) / 60, (seconds + 1800) / 3600, (seconds + 43_200) / 86_400);
    match (seconds, minutes, hours) {
        (..60, ..) => format!("{seconds} s"),
        (_, ..60, _) => format!("{minutes} min"),
        (_, _, ..48) => format!("{hours} h"),
        _ => format!("{days} d"),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
pub fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A text of somebody else's, fit for a terminal: nothing in it moves the cursor.
pub fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `917B`, `7.08MB`, `1.07GB`: powers of 1000, three digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{}", UNITS[unit])
}

/// `2026-11-24 09:47Z`.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// How a build ended, in a word or two.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Silent => "timed out (silent)".to_owned(),
        Outcome::Lost => "lost".to_owned(),
        Outcome::Aborted { .. } => "aborted".to_owned(),
        other => other.to_string(),
    }
}

/// When a job is due next, as a sentence.
pub fn when(name: &JobName, job: &Job, now: Timestamp) -> Result<String> {
    Ok(match job.schedule(name)?.next(now) {
        Some(next) => format!("{name} is due at {}", time(next)),
        None if !job.after.is_empty() => format!("{name} is built {}", job.schedule_word()),
        None => format!("{name} is built when you say `builder run {name}`"),
    })
}

/// " and 2 queued builds:" and a line for each; nothing for none.
pub fn list(items: &[BuildId], word: &str) -> String {
    if items.is_empty() {
        return String::new();
    }
    let lines: String = items.iter().map(|item| format!("\n  {item}")).collect();
    format!(", and {} with it:{lines}", count(items.len(), word))
}

/// "1 build", "2 builds".
pub fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Rows as lines whose columns stand below each other, indented by two.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("  {cell:width$}")).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let table = [
            (0, "0.0s"),
            (999, "0.9s"),
            (12_345, "12.3s"),
            (681_000, "11min21s"),
            (7_500_000, "2h05min"),
            (273_600_000, "3d04h"),
        ];
        for (ms, expected) in table {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn moments_read_as_people_say_them() {
        let table = [
            (-1, "due now"),
            (0, "due now"),
            (1, "in 1 s"),
            (59, "in 59 s"),
            (60, "in 1 min"),
            (89, "in 1 min"),
            (90, "in 2 min"),
            (3569, "in 59 min"),
            (3570, "in 1 h"),
            (86_399, "in 24 h"),
            (170_999, "in 47 h"),
            (171_000, "in 2 d"),
            (864_000, "in 10 d"),
        ];
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, expected) in table {
            assert_eq!(until(at(seconds), now), expected, "{seconds}");
        }
        assert_eq!((since(now, at(200)), since(at(1), now)), ("3 min ago".to_owned(), "just now".to_owned()));
    }

    #[test]
    fn ordinals_end_as_they_should() {
        let table = [
            (1, "1st"),
            (2, "2nd"),
            (3, "3rd"),
            (4, "4th"),
            (11, "11th"),
            (12, "12th"),
            (13, "13th"),
            (21, "21st"),
            (102, "102nd"),
            (111, "111th"),
        ];
        for (number, expected) in table {
            assert_eq!(ordinal(number), expected);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (7_080_000, "7.08MB"),
            (99_960, "100kB"),
            (999_999, "1.00MB"),
            (1 << 30, "1.07GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "b"], ["long", "c"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "  a     b\n  long  c\n");
    }
}
