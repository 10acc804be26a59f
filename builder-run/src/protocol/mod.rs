//! What the two ends of a session say to each other; `protocol.md` has it for people.

pub mod inbox;
pub mod message;

pub use message::{Offer, Signed, Signer, ToServer, ToWorker};

/// The versions of the protocol that this program speaks: the lowest and the highest.
pub const PROTOCOL: [u32; 2] = [1, 1];

/// The longest line of JSON, in bytes.
pub const LONGEST_LINE: usize = 1 << 20;

/// The longest raw data behind a line, in bytes.
pub const LONGEST_DATA: usize = 8 << 20;

/// The longest name of a worker's process, in bytes.
pub const LONGEST_INSTANCE: usize = 64;

/// The longest piece of console, in bytes.
pub const LONGEST_CONSOLE: usize = 64 << 10;
