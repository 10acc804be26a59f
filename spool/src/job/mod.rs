//! Jobs: a readable TOML file each, and the builds that they owe.

mod after;
mod cancel;
mod fire;
mod jobs;
mod owed;
mod script;

pub use after::no_circle;
pub(crate) use fire::is_note;
pub use fire::{Fired, Queued, Wishes};
pub use jobs::{Changed, parse, stamp, text};
pub(crate) use owed::steps;
pub use owed::{Ended, Owed, delay};
pub use script::{LONGEST_SCRIPT, Variant, check_script};

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::error::{Error, Kind, Result};
use crate::keep::Keep;
use crate::name::{JobName, Platform, SecretName};
use crate::place::Priority;
use crate::rebuild::{self, Vary};
use crate::record::{Origin, Request, is_default};
use crate::schedule::{self, Cron, Every, Rule, Schedule};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a job is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenPlatforms", into = "WrittenPlatforms")]
pub enum Platforms {
    /// On these.
    Named(Vec<Platform>),
    /// On every platform for which it has a script, those included that appear later.
    All,
}

/// In a file: a list, or the word `all`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenPlatforms {
    Word(String),
    List(Vec<Platform>),
}

impl TryFrom<WrittenPlatforms> for Platforms {
    type Error = Error;
    fn try_from(written: WrittenPlatforms) -> Result<Platforms> {
        match written {
            WrittenPlatforms::List(list) if !list.is_empty() => Ok(Platforms::Named(list)),
            WrittenPlatforms::Word(word) if word == "all" => Ok(Platforms::All),
            _ => Err(Error::new(Kind::Data, "platforms must be a list of names, or \"all\"")),
        }
    }
}

impl From<Platforms> for WrittenPlatforms {
    fn from(platforms: Platforms) -> WrittenPlatforms {
        match platforms {
            Platforms::Named(list) => WrittenPlatforms::List(list),
            Platforms::All => WrittenPlatforms::Word("all".into()),
        }
    }
}

impl std::fmt::Display for Platforms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Platforms::All => f.pad("all"),
            Platforms::Named(list) => f.pad(&list.iter().map(Platform::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

/// `jobs/NAME.toml`: what somebody asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// When it was added.
    pub created: Timestamp,
    /// When its script or values were changed last; missing when they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Where it is to be built.
    pub platforms: Platforms,
    /// How often; missing when there is a `cron`, and then a job without either is built when somebody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// When, as crontab(5) has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron`, by its IANA name; UTC when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// The first moment of the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// No moment up to this one is owed: when the schedule was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Each moment is late by a part of these seconds, always the same for the job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub jitter_seconds: u64,
    /// The jobs whose success on a platform queues this one there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobName>,
    /// Its place in a queue.
    #[serde(default = "normal", skip_serializing_if = "is_normal")]
    pub priority: Priority,
    /// Seconds that a build may run.
    pub timeout_seconds: u64,
    /// Seconds for which a build may print nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<u64>,
    /// Bytes that a build may print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_bytes: Option<u64>,
    /// How often a build is tried: when its workers vanish and, with `retry_failures`, when it fails.
    pub attempts: u32,
    /// Whether a build that fails is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry_failures: bool,
    /// How many builds may run on a platform at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub concurrency: u32,
    /// Whether its script may use the network where a worker's sandbox withholds that from others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: bool,
    /// The secrets that its script may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// The artifacts that say what went into a build, by path; of a directory, all that lies in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ArtifactPath>,
    /// The artifact that people fetch; missing when it is the only one in `bin/`, or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<ArtifactPath>,
    /// How many rebuilds must give the same before a build is the latest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reproduce: u32,
    /// What those rebuilds have different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<Vary>,
    /// How long its finished builds are kept; missing when that is as builder.toml says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// The template that the script came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The script; of a template, its text. Empty when there are variants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// The values of the template's variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The templates of one name for different platforms; the first that fits is taken.
    #[serde(default, rename = "variant", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

fn normal() -> Priority {
    Priority::NORMAL
}

fn is_normal(priority: &Priority) -> bool {
    *priority == Priority::NORMAL
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

/// How often a build is tried when nobody says it.
const ATTEMPTS: u32 = 3;

/// Seconds that a build may run when nobody says it.
const TIMEOUT: u64 = 3600;

impl Job {
    /// A job without a script and a schedule, with the usual limits.
    pub fn new(platforms: Platforms, created: Timestamp) -> Job {
        Job {
            created,
            changed: None,
            platforms,
            every: None,
            cron: None,
            tz: None,
            first: None,
            since: None,
            jitter_seconds: 0,
            after: Vec::new(),
            priority: Priority::NORMAL,
            timeout_seconds: TIMEOUT,
            silence_seconds: None,
            console_bytes: None,
            attempts: ATTEMPTS,
            retry_failures: false,
            concurrency: 1,
            network: false,
            secrets: Vec::new(),
            inputs: Vec::new(),
            main: None,
            reproduce: 0,
            vary: Vec::new(),
            keep: None,
            template: None,
            script: String::new(),
            values: BTreeMap::new(),
            variants: Vec::new(),
        }
    }

    /// When it is due.
    ///
    /// # Errors
    /// What is wrong with a schedule that was written by hand.
    pub fn schedule(&self, name: &JobName) -> Result<Schedule> {
        let rule = match (&self.cron, self.every) {
            (Some(_), Some(_)) => {
                return Err(Error::new(Kind::Data, "it has both `every` and `cron`").hint("keep one of them"));
            }
            (Some(expression), None) => Rule::Cron(Cron::parse(expression, self.tz.as_deref())?),
            (None, every) => Rule::Every(every.unwrap_or(Every::Never)),
        };
        let most = SignedDuration::from_secs(i64::try_from(self.jitter_seconds).unwrap_or(i64::MAX));
        Ok(Schedule { rule, first: self.first, since: self.since, jitter: schedule::jitter_of(name, most) })
    }

    /// The schedule in a word or an expression, as people see it.
    pub fn schedule_word(&self) -> String {
        match (&self.cron, &self.tz, self.every) {
            (Some(cron), Some(tz), _) => format!("{} {tz}", schedule::one_blank_between(cron)),
            (Some(cron), None, _) => schedule::one_blank_between(cron),
            (None, _, None | Some(Every::Never)) if !self.after.is_empty() => {
                format!("after {}", self.after.iter().map(JobName::as_str).collect::<Vec<_>>().join(","))
            }
            (None, _, every) => every.unwrap_or(Every::Never).word().to_owned(),
        }
    }

    /// Makes sure that a job, perhaps written by hand, can be carried out.
    pub fn check(&self, name: &JobName) -> Result<()> {
        self.schedule(name)?;
        self.check_scripts()?;
        self.keep.as_ref().map(Keep::check).transpose()?;
        let wrong = |why: &str| Err(Error::new(Kind::Data, why.to_owned()));
        if self.timeout_seconds == 0 || self.silence_seconds == Some(0) {
            return wrong("a time-out of 0 seconds leaves no time for a build");
        }
        if self.attempts == 0 || self.concurrency == 0 {
            return wrong("`attempts` and `concurrency` must be 1 or more");
        }
        if self.reproduce > rebuild::MOST {
            return wrong("`reproduce` is more than 100");
        }
        if !self.vary.is_empty() && self.reproduce == 0 {
            return wrong("`vary` is for `reproduce`, and there is none");
        }
        if self.tz.is_some() && self.cron.is_none() {
            return wrong("`tz` is for `cron`, and there is none");
        }
        if self.jitter_seconds > LONGEST_JITTER {
            return wrong("`jitter_seconds` is more than a week");
        }
        Ok(())
    }

    fn request(&self, origin: Origin, now: Timestamp) -> Request {
        Request {
            silence_seconds: self.silence_seconds,
            console_bytes: self.console_bytes,
            attempts: self.attempts,
            concurrency: Some(self.concurrency),
            network: self.network,
            secrets: self.secrets.clone(),
            inputs: self.inputs.clone(),
            main: self.main.clone(),
            source_date: Some(self.changed.unwrap_or(self.created).as_second()),
            template: self.template.clone(),
            values: self.values.clone(),
            ..Request::new(origin, now, self.timeout_seconds)
        }
    }

    /// The request for a build that another build's end made.
    fn request_because(&self, origin: Origin, of: &BuildId, retry: u32, now: Timestamp) -> Request {
        Request { because_of: Some(of.clone()), retry, ..self.request(origin, now) }
    }
}

/// Jitter is for spreading jobs, not for hiding them.
pub const LONGEST_JITTER: u64 = 7 * 24 * 3600;
