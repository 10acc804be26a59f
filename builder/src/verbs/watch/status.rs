//! The status line of a build that is followed: from what is known of it to a text.

use crate::terminal::shorten;
use crate::text;
use spool::name::{JobName, Platform};
use spool::platform::Withheld;

/// A bar is not narrower and not wider than this, with its brackets.
const NARROWEST: usize = 7;
const WIDEST: usize = 32;

/// A job's name is not made shorter than this: it is left out.
const SHORTEST_NAME: usize = 6;

/// What is known of a build that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits.
    Queued {
        /// Its place in the queue and how many wait there, when it was found.
        position: Option<(usize, usize)>,
        /// Why nothing is handed out.
        withheld: Option<Withheld>,
    },
    /// It runs.
    Running {
        /// For so many milliseconds.
        elapsed: u64,
        /// So many are usual.
        usual: Option<u64>,
    },
}

/// The line, which never has more columns than the terminal less one: a full line could wrap.
pub fn line(status: &Status, job: &JobName, platform: &Platform, width: usize) -> String {
    let room = width.saturating_sub(1);
    let (said, share) = match status {
        Status::Queued { position, withheld } => (queued(*position, *withheld, platform), None),
        Status::Running { elapsed, usual: None } => (format!("running {}", clock(*elapsed)), None),
        Status::Running { elapsed, usual: Some(usual) } => {
            let seconds = usual.div_ceil(1000).max(1);
            let said = format!("running {} of about {}", clock(*elapsed), clock(seconds.saturating_mul(1000)));
            (said, Some((*elapsed, *usual)))
        }
    };
    let bar = share.map_or(0, |_| NARROWEST + 1);
    let for_name = room.saturating_sub(said.chars().count() + bar + 2);
    let name = match for_name {
        0..SHORTEST_NAME if job.as_str().len() > for_name => String::new(),
        _ => format!("{}: ", shorten::middle(job.as_str(), for_name)),
    };
    let said = format!("{name}{said}");
    let left = room.saturating_sub(said.chars().count() + 1);
    match share {
        Some((elapsed, usual)) if left >= NARROWEST => {
            format!("{said} {}", self::bar(elapsed, usual, left.min(WIDEST)))
        }
        _ => shorten::end(&said, room),
    }
}

fn queued(position: Option<(usize, usize)>, withheld: Option<Withheld>, platform: &Platform) -> String {
    let place = match position {
        Some((position, of)) => format!("queued, {} of {of} on {platform}", text::ordinal(position)),
        None => format!("queued on {platform}"),
    };
    match withheld {
        None => place,
        Some(Withheld::Paused) => format!("{place}, which is paused"),
        Some(Withheld::Dropped) => format!("{place}, which is dropped"),
        Some(Withheld::Draining) => format!("{place}; the spool drains"),
    }
}

/// Why a build waits, and what to do about it, as the end of a sentence; nothing when it just waits for its turn.
pub fn reason(withheld: Option<Withheld>, platform: &Platform) -> String {
    match withheld {
        None => String::new(),
        Some(Withheld::Paused) => {
            format!(": platform {platform} is paused; `builder platform resume {platform}` opens it again")
        }
        Some(Withheld::Dropped) => {
            format!(": platform {platform} is dropped; `builder platform restore {platform}` takes that back")
        }
        Some(Withheld::Draining) => ": the spool drains; `builder drain --off` ends that".to_owned(),
    }
}

/// `0:42`, `11:21`, `2:05:10`: a clock that keeps its width.
fn clock(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..3600 => format!("{}:{:02}", s / 60, s % 60),
        _ => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

/// `[####----]`; a bar is full when as much is done as is usual, and stays so.
fn bar(done: u64, usual: u64, width: usize) -> String {
    let inner = width.saturating_sub(2);
    let filled = (u128::from(done) * inner as u128 / u128::from(usual.max(1))).min(inner as u128) as usize;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(inner - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(position: Option<(usize, usize)>, withheld: Option<Withheld>) -> Status {
        Status::Queued { position, withheld }
    }

    fn running(elapsed: u64, usual: Option<u64>) -> Status {
        Status::Running { elapsed, usual }
    }

    #[test]
    fn a_status_is_one_line_that_fits() {
        let table = [
            (queued(Some((3, 12)), None), 80, "hello-world: queued, 3rd of 12 on debian-12"),
            (queued(None, None), 80, "hello-world: queued on debian-12"),
            (
                queued(Some((1, 1)), Some(Withheld::Paused)),
                80,
                "hello-world: queued, 1st of 1 on debian-12, which is paused",
            ),
            (
                queued(Some((1, 1)), Some(Withheld::Draining)),
                80,
                "hello-world: queued, 1st of 1 on debian-12; the spool drains",
            ),
            (queued(Some((3, 12)), None), 40, "hel…rld: queued, 3rd of 12 on debian-12"),
            (queued(Some((3, 12)), None), 20, "queued, 3rd of 12 …"),
            (running(42_900, None), 80, "hello-world: running 0:42"),
            (
                running(45_000, Some(90_000)),
                80,
                "hello-world: running 0:45 of about 1:30 [###############---------------]",
            ),
            (running(45_000, Some(90_000)), 40, "running 0:45 of about 1:30 [#####-----]"),
            (running(95_000, Some(90_000)), 40, "running 1:35 of about 1:30 [##########]"),
            (running(0, Some(90_000)), 50, "hello-world: running 0:00 of about 1:30 [-------]"),
            (running(7_510_000, Some(0)), 50, "hello…orld: running 2:05:10 of about 0:01 [#####]"),
            (running(7_510_000, None), 50, "hello-world: running 2:05:10"),
            (running(45_000, Some(90_000)), 10, "running …"),
            (running(45_000, Some(90_000)), 1, ""),
        ];
        let (job, platform) = ("hello-world".parse().unwrap(), "debian-12".parse().unwrap());
        for (status, width, expected) in table {
            assert_eq!(line(&status, &job, &platform, width), expected, "{status:?} {width}");
        }
    }

    #[test]
    fn no_status_is_as_wide_as_its_terminal() {
        let job = "j".repeat(100).parse().unwrap();
        let platform = "p".repeat(60).parse().unwrap();
        for width in 1..300 {
            for status in [
                queued(Some((99_999, 100_000)), Some(Withheld::Draining)),
                running(u64::MAX, Some(1)),
                running(1, Some(u64::MAX)),
            ] {
                let said = line(&status, &job, &platform, width);
                assert!(said.chars().count() < width, "{width}: {said}");
            }
        }
    }

    #[test]
    fn a_bar_is_never_more_than_full() {
        let table = [
            (0, 10, "[----]"),
            (5, 10, "[##--]"),
            (9, 10, "[###-]"),
            (10, 10, "[####]"),
            (99, 10, "[####]"),
            (1, 0, "[####]"),
        ];
        for (done, usual, expected) in table {
            assert_eq!(bar(done, usual, 6), expected, "{done} of {usual}");
        }
    }
}
