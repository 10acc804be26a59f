//! Workers that are started when builds wait and nobody is free: `[launch.PLATFORM]` of builder.toml.
//!
//! Each launch is that of one worker, whose name and key there are already: `slurm-1` to `slurm-4`, when four may be
//! launched. So no more of them than that can ever be connected, whatever a crash has forgotten, a worker that comes is
//! known for the one that was launched, and what its command starts can be named after it, so that the cluster refuses a
//! second one.
//!
//! What was launched and has not come is noted on the disk before the command runs: after a crash it is waited for, not
//! launched again.

mod decide;
mod need;
mod standing;

pub use decide::Step;
pub use need::{Need, Slot};
pub use standing::{Launches, UnderWay};

use crate::error::{Error, Kind, Result};
use crate::name::{Platform, WorkerName};
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// So many workers can be launched on a platform at the most.
const MOST: u32 = 1000;

/// What is launched on a platform, and when that is given up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// What starts a worker.
    pub command: Words,
    /// What the workers are called, each with `-` and its number behind it; the platform's name, when nothing is said.
    #[serde(default)]
    pub worker: Option<String>,
    /// How many there are.
    #[serde(default = "defaults::limit")]
    pub limit: u32,
    /// Seconds within which a worker that was launched must connect.
    #[serde(default = "defaults::patience")]
    pub patience_seconds: u32,
    /// Seconds without a launch after one that has failed; twice as long each time, an hour at the most.
    #[serde(default = "defaults::retry")]
    pub retry_seconds: u32,
    /// Seconds that the command may run.
    #[serde(default = "defaults::command")]
    pub command_seconds: u32,
}

mod defaults {
    pub fn limit() -> u32 {
        1
    }
    pub fn patience() -> u32 {
        300
    }
    pub fn retry() -> u32 {
        30
    }
    pub fn command() -> u32 {
        60
    }
}

impl Launch {
    /// The workers that it launches, in their order.
    ///
    /// # Errors
    /// [`Kind::Data`] for a name that no worker can have.
    pub fn workers(&self, platform: &Platform) -> Result<Vec<WorkerName>> {
        let stem = self.worker.as_deref().unwrap_or(platform.as_str());
        (1..=self.limit).map(|number| format!("{stem}-{number}").parse()).collect()
    }

    /// How long a worker is waited for.
    pub fn patience(&self) -> SignedDuration {
        SignedDuration::from_secs(self.patience_seconds.into())
    }

    /// How long its command may run.
    pub fn command_limit(&self) -> Duration {
        Duration::from_secs(self.command_seconds.into())
    }

    fn check(&self) -> Result<()> {
        let within = |key: &str, value: u32, most: u32| match (1..=most).contains(&value) {
            true => Ok(()),
            false => Err(Error::new(Kind::Data, format!("`{key}` must be 1 to {most}, not {value}"))),
        };
        within("limit", self.limit, MOST)?;
        within("patience_seconds", self.patience_seconds, u32::MAX)?;
        within("retry_seconds", self.retry_seconds, u32::MAX)?;
        within("command_seconds", self.command_seconds, 3600)
    }
}

/// Makes sure that launches make sense, each and all together.
///
/// # Errors
/// [`Kind::Data`] for one that does not, with its platform.
pub fn check(all: &BTreeMap<Platform, Launch>) -> Result<()> {
    let mut names = BTreeSet::new();
    for (platform, launch) in all {
        let here = |e: Error| Error::new(Kind::Data, format!("[launch.{platform}]: {e}"));
        launch.check().map_err(here)?;
        for name in launch.workers(platform).map_err(here)? {
            if names.contains(&name) {
                let twice = Error::new(Kind::Data, format!("worker {name} is launched for another platform, too"));
                return Err(here(twice.hint("give each its own `worker`")));
            }
            names.insert(name);
        }
    }
    Ok(())
}

/// A command and its arguments, written as for sh(1): quotes keep words together, and nothing else has a meaning.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Words(Vec<String>);

impl Words {
    /// The program.
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    /// Its arguments.
    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }
}

impl TryFrom<String> for Words {
    type Error = Error;
    fn try_from(text: String) -> Result<Words> {
        let wrong = |why: &str| Error::new(Kind::Data, format!("this is no command: {why}"));
        if text.contains('\0') {
            return Err(wrong("it has a zero byte"));
        }
        let words = shell_words::split(&text).map_err(|_| wrong("a quote is not closed"))?;
        if words.first().is_none_or(String::is_empty) {
            return Err(wrong("it names no program"));
        }
        Ok(Words(words))
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell_words::join(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<Platform, Launch>> {
        let all: BTreeMap<Platform, Launch> =
            toml::from_str(text).map_err(|e| Error::new(Kind::Data, e.message().to_owned()))?;
        check(&all).map(|()| all)
    }

    #[test]
    fn the_workers_are_numbered_and_belong_to_one_platform() {
        let all = read("[p]\ncommand = \"a 'b c' $d\"\nlimit = 3\n[q]\ncommand = \"x\"\nworker = \"jail\"\n").unwrap();
        let of = |platform: &str| {
            let platform = platform.parse().unwrap();
            let names = all[&platform].workers(&platform).unwrap();
            names.iter().map(WorkerName::to_string).collect::<Vec<_>>()
        };
        assert_eq!((of("p"), of("q")), (vec!["p-1".into(), "p-2".into(), "p-3".into()], vec!["jail-1".to_owned()]));
        let command = &all[&"p".parse().unwrap()].command;
        assert_eq!((command.program(), command.arguments()), ("a", ["b c".to_owned(), "$d".to_owned()].as_slice()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_platform() {
        for (text, why) in [
            ("command = \"\"", "it names no program"),
            ("command = \"a 'b\"", "a quote is not closed"),
            ("limit = 2", "missing field `command`"),
            ("command = \"x\"\nlimits = 2", "unknown field `limits`"),
            ("command = \"x\"\nlimit = 0", "[launch.p]: `limit` must be 1 to 1000, not 0"),
            ("command = \"x\"\npatience_seconds = 0", "[launch.p]: `patience_seconds` must be 1"),
            ("command = \"x\"\ncommand_seconds = 7200", "[launch.p]: `command_seconds` must be 1 to 3600"),
            ("command = \"x\"\nworker = \"a/b\"", "[launch.p]: `a/b-1` is not a worker name"),
            (
                "command = \"x\"\n[o]\ncommand = \"x\"\nworker = \"p\"",
                "worker p-1 is launched for another platform, too",
            ),
        ] {
            let error = read(&format!("[p]\n{text}\n")).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
