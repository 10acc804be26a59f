//! Where a build is, which is what state it is in.

use crate::build_id::BuildId;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Who comes first in a queue: 0 before 99; equal ones by the time in their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// What a timer's builds get.
    pub const NORMAL: Priority = Priority(50);
    /// What `builder run` gives: before everything that nobody waits for.
    pub const FRONT: Priority = Priority(10);
}

impl TryFrom<u8> for Priority {
    type Error = Error;
    fn try_from(number: u8) -> Result<Priority> {
        if number > 99 {
            return Err(
                Error::new(Kind::Data, format!("priority {number} is out of range")).hint("use 0 (first) to 99 (last)")
            );
        }
        Ok(Priority(number))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority.0
    }
}

/// A place in a queue: the name of a directory in `new/PLATFORM/`, whose order is the queue's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Compared first.
    pub priority: Priority,
    /// Compared second: it starts with the time.
    pub id: BuildId,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{}", self.priority.0, self.id)
    }
}

impl FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Ticket> {
        let wrong = || Error::new(Kind::Data, format!("`{}` is not a place in a queue", text.escape_default()));
        let (priority, id) = text.split_once('-').ok_or_else(wrong)?;
        if priority.len() != 2 || !priority.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Ticket { priority: Priority(priority.parse().map_err(|_| wrong())?), id: id.parse()? })
    }
}

/// The two ways in which a build is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// It exited 0.
    Done,
    /// Anything else.
    Failed,
}

impl End {
    /// Both, in the order in which a reader looks.
    pub const ALL: [End; 2] = [End::Done, End::Failed];

    /// The name of its directory.
    pub fn directory(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Failed => "failed",
        }
    }
}

/// Where a reader found a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a queue.
    Queued(Ticket),
    /// Running, or waiting for its worker to come back.
    Active,
    /// Over.
    Ended(End),
}

impl Place {
    /// The word that people see: queued, active, done or failed.
    pub fn word(&self) -> &'static str {
        match self {
            Place::Queued(_) => "queued",
            Place::Active => "active",
            Place::Ended(end) => end.directory(),
        }
    }

    /// How it ended; nothing when it has not.
    pub fn end(&self) -> Option<End> {
        match self {
            Place::Ended(end) => Some(*end),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back_and_sorts_by_priority_then_time() {
        let ticket = |text: &str| text.parse::<Ticket>().unwrap();
        let first = ticket("10-20261124T094701.123Z-z@p-000000");
        let second = ticket("50-20250101T000000.000Z-a@p-000000");
        let third = ticket("50-20250101T000000.001Z-a@p-000000");
        assert!(first < second && second < third);
        assert_eq!(first.to_string(), "10-20261124T094701.123Z-z@p-000000");
        for bad in ["", "5-x", "+5-20261124T094701.123Z-z@p-000000", "20261124T094701.123Z-z@p-000000"] {
            assert!(bad.parse::<Ticket>().is_err(), "{bad}");
        }
    }
}
