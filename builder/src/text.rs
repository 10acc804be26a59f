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
