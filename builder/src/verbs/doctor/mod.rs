//! `builder doctor`: whether a server and its workers are set up so that builds come and go, and what to mend.
//!
//! It changes nothing. What is in the spool, `builder check` looks at.

mod admission;
mod profile;
mod server;
mod sshd;
mod worker;

pub use server::owner;
pub use sshd::{Sshd, findings as sshd};

use crate::args::DoctorArgs;
use crate::verbs::setup::Files;
use crate::{out, text};
use serde::Serialize;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::name::WorkerName;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// To be mended.
    Mend,
    /// It can't be told from here.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    state: State,
    what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Finding {
        Finding { state: State::Ok, what: what.into(), mend: None }
    }

    fn mend(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { state: State::Mend, what: what.into(), mend: Some(mend.into()) }
    }

    fn unknown(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { state: State::Unknown, what: what.into(), mend: Some(mend.into()) }
    }

    /// What is wrong where something failed; its hint is in its words.
    fn failed(error: &Error) -> Finding {
        Finding { state: State::Mend, what: error.to_string(), mend: None }
    }

    /// Whether nothing is to be done about it.
    pub fn is_well(&self) -> bool {
        self.state == State::Ok
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of it is in the words of whoever is at the other end.
        f.write_str(&text::tame(&self.what))?;
        self.mend.iter().try_for_each(|mend| write!(f, "; {}", text::tame(mend)))
    }
}

/// A part of what was looked at.
#[derive(Serialize)]
struct Part {
    of: String,
    findings: Vec<Finding>,
}

/// Looks at a worker, or at everything that is set up here. Exits 1 when something is to be mended.
pub fn run(root: &Path, config: Result<Config>, args: &DoctorArgs) -> Result<ExitCode> {
    let directory = Files::directory(args.directory.as_deref())?;
    let parts = match &args.worker {
        Some(name) => vec![of_worker(&name.parse()?, &directory)?],
        None => of_all(root, config, args, &directory)?,
    };
    match args.json {
        true => out::json(&parts)?,
        false => out::print(&parts.iter().map(page).collect::<String>())?,
    }
    let is_ill = parts.iter().flat_map(|part| &part.findings).any(|one| one.state == State::Mend);
    Ok(ExitCode::from(u8::from(is_ill)))
}

fn of_all(root: &Path, config: Result<Config>, args: &DoctorArgs, directory: &Path) -> Result<Vec<Part>> {
    let workers = worker::all(directory);
    let mut parts = Vec::new();
    if workers.is_empty() || (root.exists() && !server::is_idle(root, &config)) {
        if config.is_ok() && !root.exists() {
            return Err(Error::new(
                Kind::NoInput,
                format!("there is no spool at {} and no worker in {}", root.display(), directory.display()),
            )
            .hint("`builder setup server` and `builder setup worker` make them"));
        }
        let findings = server::findings(root, config, args.sshd_config.as_deref());
        parts.push(Part { of: format!("spool {}", root.display()), findings });
    }
    for name in &workers {
        parts.push(of_worker(name, directory)?);
    }
    Ok(parts)
}

fn of_worker(name: &WorkerName, directory: &Path) -> Result<Part> {
    Ok(Part { of: format!("worker {name}"), findings: worker::findings(name, &Files::of(name, Some(directory))?) })
}

fn page(part: &Part) -> String {
    let line = |one: &Finding| {
        let state = match one.state {
            State::Ok => "ok",
            State::Mend => "mend",
            State::Unknown => "?",
        };
        format!("  {state:<4}  {one}\n")
    };
    format!("{}\n{}", part.of, part.findings.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_said_moves_no_cursor() {
        let found = Finding::mend("the server is of release \x1b]0;x\x07", "wait\n");
        assert_eq!(found.to_string(), "the server is of release ?]0;x?; wait?");
    }
}
