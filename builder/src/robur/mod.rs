//! The files of [robur's builder](https://github.com/robur-coop/builder), ASN.1 in DER: `full`, a build and all that came of
//! it, and `state`, its schedule and its queues. Both ways for the first, one way for the second.
//!
//! All tags are explicit and context-specific. What robur's builder calls a UTF8String is any bytes: artifacts, lines of a
//! console, and the 16 bytes of a UUID. Here only names, paths and messages have to be UTF-8.
//!
//! | | |
//! | --- | --- |
//! | `der` | a strict reader of tags, lengths and the few primitives, in bounded memory, from a stream |
//! | `write` | the same the other way |
//! | `fields` | what both files have: names, jobs, times |
//! | `full` | a build: its head, and its artifacts as they come |
//! | `state` | schedule, queues, dropped platforms |
//! | `signals` | the numbers that OCaml has for signals |

pub mod der;
pub mod fields;
pub mod full;
mod signals;
pub mod state;
pub mod write;

/// The tags of ASN.1 that occur (X.690, 8.1.2).
mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const NULL: u8 = 0x05;
    pub const UTF8: u8 = 0x0c;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;

    /// An explicit tag of the context.
    pub const fn explicit(number: u8) -> u8 {
        0xa0 | number
    }
}

/// What a file holds, as its first byte tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A schedule.
    State,
    /// A build, or nothing of robur's: the reader of builds says which.
    Full,
}

impl Holds {
    /// What a file with this first byte holds.
    pub fn of(first: Option<u8>) -> Holds {
        if first == Some(tag::SEQUENCE) { Holds::State } else { Holds::Full }
    }
}
