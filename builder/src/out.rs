//! Standard output: whole texts, and a reader who has seen enough is no error.

use serde::Serialize;
use spool::error::{At, Error, Kind, Result};
use std::io::{self, Write};

/// Prints a text, and its last line also when that has no end.
pub fn print(text: &str) -> Result<()> {
    unless_closed(all_of(text))
}

/// Prints bytes.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut to = io::stdout().lock();
    unless_closed(to.write_all(bytes).and_then(|()| to.flush()))
}

/// Prints a text. Says whether nobody reads any more.
pub fn print_unless_closed(text: &str) -> Result<bool> {
    is_closed(all_of(text))
}

fn all_of(text: &str) -> io::Result<()> {
    let mut to = io::stdout().lock();
    to.write_all(text.as_bytes())?;
    to.flush()
}

/// Prints a value as JSON, indented, with a newline at its end.
pub fn json(value: &impl Serialize) -> Result<()> {
    print(&as_json(value)?)
}

/// A value as JSON, indented, with a newline at its end.
pub fn as_json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Kind::Internal, format!("this can't be printed as JSON: {e}")))?;
    Ok(text + "\n")
}

/// `builder log … | head` ends when head does, and that is what was asked for.
pub fn unless_closed(result: io::Result<()>) -> Result<()> {
    is_closed(result).map(drop)
}

fn is_closed(result: io::Result<()>) -> Result<bool> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other.at("write to", "standard output").map(|()| false),
    }
}

/// Tells the person something that no pipe wants to read.
pub fn hint(text: &str) {
    // Nobody may be there to read it, and then it is not needed.
    let _ = writeln!(io::stderr(), "builder: {text}");
}
