//! Other programs, for what they alone know: ssh's and sshd's, and builder's own.

use spool::error::{At, Error, Kind, Result};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

/// What a program did.
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
    /// The last line that it printed on standard error.
    pub complaint: String,
}

/// Where a program of this name is in PATH; nothing when it is not installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// Runs a program to its end, with this on its standard input.
///
/// # Errors
/// When it can't be run. How it ended is no matter here.
pub fn run(command: &mut Command, input: &str) -> Result<Done> {
    let name = command.get_program().display().to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().at("run", &name)?;
    if let Some(mut to) = child.stdin.take() {
        // Who does not read what it is given says why by how it ends.
        let _ = to.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().at("wait for", &name)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(Done {
        status: output.status,
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaint: complaint.chars().filter(|c| !c.is_control()).collect(),
    })
}

/// What a program prints that exits 0.
///
/// # Errors
/// In its own words, when it does not.
pub fn output(command: &mut Command, input: &str) -> Result<String> {
    let name = command.get_program().display().to_string();
    let done = run(command, input)?;
    match done.status.success() {
        true => Ok(done.output),
        false => Err(Error::new(Kind::Io, format!("{name} failed, {}: {}", done.status, done.complaint))),
    }
}
