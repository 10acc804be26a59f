//! Answers that say no: a status for the program, a reason for a person.

use super::wire::Short;
use std::io;

/// Status codes (draft-ietf-secsh-filexfer-02, section 7).
pub mod status {
    pub const OK: u32 = 0;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const BAD_MESSAGE: u32 = 5;
    pub const OP_UNSUPPORTED: u32 = 8;
}

/// How much of a text is shown, in characters.
const SHOWN: usize = 300;

/// Why a request is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u32,
    /// One line.
    pub reason: String,
}

impl Refusal {
    /// What nobody may do here.
    pub fn denied(reason: impl Into<String>) -> Refusal {
        Refusal { status: status::PERMISSION_DENIED, reason: reason.into() }
    }

    /// What does not work.
    pub fn failed(reason: impl Into<String>) -> Refusal {
        Refusal { status: status::FAILURE, reason: reason.into() }
    }

    /// What is not there.
    pub fn missing(reason: impl Into<String>) -> Refusal {
        Refusal { status: status::NO_SUCH_FILE, reason: reason.into() }
    }

    /// What this server does not have.
    pub fn unsupported(reason: impl Into<String>) -> Refusal {
        Refusal { status: status::OP_UNSUPPORTED, reason: reason.into() }
    }

    /// What the system refused to do with a file.
    pub fn system(name: &[u8], error: &io::Error) -> Refusal {
        Refusal::failed(format!("{}: {error}", shown(name)))
    }
}

impl From<Short> for Refusal {
    fn from(_: Short) -> Refusal {
        Refusal { status: status::BAD_MESSAGE, reason: "a packet ends within a field".into() }
    }
}

/// What the other side calls something, as it can be printed anywhere: cut, and without control characters.
pub fn shown(text: &[u8]) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(text).chars().take(SHOWN).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_t_take_over_a_terminal() {
        assert_eq!(shown(b"/artifacts/a\x1b[2J\n\xff'"), "/artifacts/a\u{fffd}[2J\u{fffd}\u{fffd}'");
        assert_eq!(shown(&[b'a'; 4000]).len(), SHOWN);
    }
}
