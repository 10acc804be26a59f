//! What is promised of whatever is sent to builder, each promise a function of bytes that panics when it is broken.
//!
//! Two drive them: cargo-fuzz, from `cargo/`, which looks for bytes that break one, and
//! `tests/whatever_is_sent_breaks_nothing.rs`, which gives them the bytes of `corpus/` and `regressions/`. A promise is
//! more than that nothing panics: what can be read means the same when it is written and read again, answers are what the
//! protocol says, a spool passes its deep check afterwards, and nothing outside has changed.

mod command;
mod cron;
mod job;
mod lab;
mod records;
mod robur;
mod session;
mod sftp;
mod template;

pub use command::command;
pub use cron::cron;
pub use job::job;
pub use records::records;
pub use robur::robur;
pub use session::session;
pub use sftp::sftp;
pub use template::template;

/// A promise about bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their directories.
pub const TARGETS: [(&str, Target); 8] = [
    ("command", command),
    ("cron", cron),
    ("job", job),
    ("records", records),
    ("robur", robur),
    ("session", session),
    ("sftp", sftp),
    ("template", template),
];

/// The longest that a person is told, in characters.
const LONGEST_LINE: usize = 5000;

/// What people are told is one line, and moves no cursor.
fn is_a_line(said: &impl std::fmt::Display) {
    let said = said.to_string();
    assert!(!said.chars().any(char::is_control), "{said:?}");
    assert!(said.chars().count() <= LONGEST_LINE, "{} characters", said.chars().count());
}
