//! Contents by way of diffoscope(1), which looks into archives, packages and programs.
//!
//! SECURITY. It starts many programs on what a worker has sent, as whoever types this. That is why somebody else's
//! verb never gets here: see `terms`.

use crate::{program, text};
use spool::error::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where it is; nothing when it is not installed.
pub fn find() -> Option<PathBuf> {
    program::installed("diffoscope")
}

/// What it says of two files, indented.
///
/// # Errors
/// [`Kind::Internal`] when it fails, with its last line.
pub fn compare(program: &Path, left: &Path, right: &Path) -> Result<String> {
    let mut command = Command::new(program);
    command.args(["--text", "-", "--no-progress", "--exclude-directory-metadata", "yes", "--"]).args([left, right]);
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|e| failed(program, &e.to_string()))?;
    // As diff(1) has it, 1 says that they differ.
    match ran.status.code() {
        Some(0 | 1) => {
            let said = String::from_utf8_lossy(&ran.stdout);
            Ok(said.lines().map(|line| format!("  {}\n", text::tame(line))).collect())
        }
        _ => {
            let said = String::from_utf8_lossy(&ran.stderr);
            Err(failed(program, said.trim().lines().last().unwrap_or("it was killed")))
        }
    }
}

fn failed(program: &Path, why: &str) -> Error {
    Error::new(Kind::Internal, format!("{} has failed: {}", program.display(), text::tame(why)))
        .hint("--plain compares without it")
}
