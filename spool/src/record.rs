//! The small TOML files of a build. None repeats what the build's place or name says.

use crate::artifact_path::ArtifactPath;
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::inputs::{Main, Sides};
use crate::manifest::Manifest;
use crate::name::{SecretName, WorkerName};
use crate::rebuild::Rebuild;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

/// No record is longer than this, in bytes.
const LONGEST: u64 = 16 << 20;

/// `build.toml`: what was asked for. Written once, before the build is queued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// When it was queued.
    pub queued: Timestamp,
    /// What made it.
    pub origin: Origin,
    /// Seconds that the script may run.
    pub timeout_seconds: u64,
    /// Seconds for which the script may print nothing; missing when that does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<u64>,
    /// Bytes that the script may print; missing when only the server's own limit holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_bytes: Option<u64>,
    /// How often it is tried when workers vanish.
    pub attempts: u32,
    /// How many builds of the job may run on the platform at once; missing when that does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Whether the script may use the network where a sandbox withholds that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: bool,
    /// The number of this retry, when an earlier build failed and this one tries again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: u32,
    /// The build whose end made this one: the one that is tried again, or the one of another job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<BuildId>,
    /// What the builder called it that carried it out, of an imported build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// What it repeats, when it repeats another build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Rebuild>,
    /// The secrets that the script may read, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// What the script sees as SOURCE_DATE_EPOCH, in seconds: when the job was made or its script changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_date: Option<i64>,
    /// The artifacts that say what went in, by path; of a directory, all that lies in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ArtifactPath>,
    /// The artifact that people fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<ArtifactPath>,
    /// The template that the script came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The values that were filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Request {
    /// A request with nothing but a time-out.
    pub fn new(origin: Origin, queued: Timestamp, timeout_seconds: u64) -> Request {
        Request {
            queued,
            origin,
            timeout_seconds,
            silence_seconds: None,
            console_bytes: None,
            attempts: 1,
            concurrency: None,
            network: false,
            retry: 0,
            because_of: None,
            uuid: None,
            rebuild: None,
            secrets: Vec::new(),
            source_date: None,
            inputs: Vec::new(),
            main: None,
            template: None,
            values: BTreeMap::new(),
        }
    }
}

/// Whether a field says nothing that its absence would not.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Who asked for a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A timer that was due.
    Timer,
    /// Somebody, by `builder run`.
    Run,
    /// The success of a build of another job.
    After,
    /// The failure of an earlier build.
    Retry,
    /// Nobody here: another builder carried it out.
    Import,
    /// Doubt: it repeats another build, by `builder verify` or because its job wants that.
    Rebuild,
}

impl Origin {
    /// All of them.
    pub const ALL: [Origin; 6] =
        [Origin::Timer, Origin::Run, Origin::After, Origin::Retry, Origin::Import, Origin::Rebuild];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Timer => "timer",
            Origin::Run => "run",
            Origin::After => "after",
            Origin::Retry => "retry",
            Origin::Import => "import",
            Origin::Rebuild => "rebuild",
        }
    }
}

/// `lease.toml`: a worker's hold on an active build. Its modification time is when the worker was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who runs it.
    pub worker: WorkerName,
    /// Since when.
    pub since: Timestamp,
    /// 32 random hexadecimal digits that name this hold and no other.
    pub token: String,
}

/// `attempts.toml`: the holds that were lost before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// The oldest first.
    #[serde(default, rename = "attempt")]
    pub list: Vec<Attempt>,
}

/// A lost hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The lease that was lost.
    #[serde(flatten)]
    pub lease: Lease,
    /// When it was taken away.
    pub lost: Timestamp,
    /// Why.
    pub reason: String,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// The script's own exit code.
    Exited {
        /// 0 to 255.
        code: u8,
    },
    /// A signal ended the script.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// It ran longer than it may, and was killed.
    TimedOut,
    /// It printed nothing for longer than it may, and was killed.
    Silent,
    /// Somebody cancelled it.
    Cancelled,
    /// Its worker vanished, as often as it was tried.
    Lost,
    /// It could not be carried out.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Whether it belongs in `done/`.
    pub fn succeeded(&self) -> bool {
        *self == Outcome::Exited { code: 0 }
    }

    /// The exit code of a program that waits for this build and stands for it: the script's own,
    /// 128 + N for signal N as sh(1) has it, 124 for a time-out as timeout(1) has it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited { code } => *code,
            Outcome::Signalled { signal } => signal.saturating_add(128).clamp(129, 255) as u8,
            Outcome::TimedOut | Outcome::Silent => 124,
            Outcome::Cancelled => 130,
            Outcome::Lost => Kind::TryAgain as u8,
            Outcome::Aborted { .. } => Kind::Internal as u8,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Exited { code } => write!(f, "exited {code}"),
            Outcome::Signalled { signal } => write!(f, "signalled {signal}"),
            Outcome::TimedOut => f.write_str("timed out"),
            Outcome::Silent => f.write_str("timed out: it printed nothing for too long"),
            Outcome::Cancelled => f.write_str("cancelled"),
            Outcome::Lost => f.write_str("lost: its worker vanished"),
            Outcome::Aborted { reason } => write!(f, "aborted: {reason}"),
        }
    }
}

/// `result.toml`: what came of a build. Written once, before the build leaves `active/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildResult {
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub finished: Timestamp,
    /// When the script was started; missing when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How long the script ran, in milliseconds of the worker's monotonic clock.
    #[serde(default)]
    pub duration_ms: u64,
    /// Who ran it; missing when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerName>,
    /// What must be the same for a fair comparison, see [`crate::inputs::input_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Sha256>,
    /// The digest of what came out, see [`crate::inputs::Sides::output_digest`]; missing when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Sha256>,
    /// The digest of `manifest`, where it is not `output` because some of the artifacts are inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Sha256>,
    /// The artifacts that say what went in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ArtifactPath>,
    /// The artifact that people fetch, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<Main>,
    /// How many artifacts there are.
    #[serde(default)]
    pub artifacts: u64,
    /// Their size together, in bytes.
    #[serde(default)]
    pub artifact_bytes: u64,
    /// Which of them had an execute bit: the store's objects have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executable: Vec<ArtifactPath>,
    /// What the script left and what was not kept, with the reason: symlinks, sockets, odd names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// What the worker said of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub system: BTreeMap<String, String>,
    /// What the worker of a rebuild says it has made different, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub varied: BTreeMap<String, String>,
}

impl BuildResult {
    /// The result of a build that nobody ran to its end.
    pub fn unrun(outcome: Outcome, now: Timestamp) -> BuildResult {
        BuildResult {
            outcome,
            finished: now,
            started: None,
            duration_ms: 0,
            worker: None,
            input: None,
            output: None,
            manifest: None,
            inputs: Vec::new(),
            main: None,
            artifacts: 0,
            artifact_bytes: 0,
            executable: Vec::new(),
            skipped: Vec::new(),
            system: BTreeMap::new(),
            varied: BTreeMap::new(),
        }
    }

    /// Notes which of the artifacts are inputs, what came out, and which of that is the main one.
    pub(crate) fn note_sides(&mut self, sides: &Sides, manifest: &Manifest, main: Option<&ArtifactPath>) {
        self.output = sides.output_digest();
        self.manifest = (!sides.inputs.is_empty()).then(|| Sha256::of(&manifest.to_bytes()));
        self.inputs = sides.inputs.iter().map(|(path, _)| path.clone()).collect();
        self.main = sides.main(main);
    }

    /// The digest of `manifest`; nothing when there is none.
    pub fn manifest_digest(&self) -> Option<Sha256> {
        self.manifest.or(self.output)
    }
}

/// Reads a build's lease. Half a lease is none: whoever wrote it died in the middle, or is about to go on.
pub fn read_lease(path: &Path) -> Result<Option<Lease>> {
    match read(path) {
        Err(e) if e.kind() == Kind::Data => Ok(None),
        other => other,
    }
}

/// Reads a record; nothing when the file does not exist.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = disk::read_if_there(path, LONGEST)? else {
        return Ok(None);
    };
    parse(path, &bytes).map(Some)
}

/// Reads a record from the bytes of its file; `path` is for messages.
///
/// # Errors
/// [`Kind::Data`] for what is no such record.
pub fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let damaged = |why: String| Error::new(Kind::Data, format!("{} is damaged: {why}", path.display()));
    let text = std::str::from_utf8(bytes).map_err(|e| damaged(e.to_string()))?;
    toml::from_str(text).map_err(|e| damaged(e.message().to_owned()))
}

/// Reads what people write: a complaint is one line that names the file and the line.
pub(crate) fn parse_written<T: DeserializeOwned>(path: &Path, bytes: &[u8], kind: Kind) -> Result<T> {
    let wrong = |why: &str| Error::new(kind, format!("{}: {}", path.display(), why.replace('\n', " ")));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
    toml::from_str(text).map_err(|e| {
        let before = e.span().map_or("", |span| &text[..span.start.min(text.len())]);
        wrong(&format!("line {}: {}", 1 + before.matches('\n').count(), e.message()))
    })
}

/// A record as the bytes of its file.
pub fn to_bytes(record: &impl Serialize) -> Result<Vec<u8>> {
    toml::to_string(record)
        .map(String::into_bytes)
        .map_err(|e| Error::new(Kind::Internal, format!("a record can't be written as TOML: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_reads_back() {
        let mut result = BuildResult::unrun(Outcome::Aborted { reason: "no \"space\"".into() }, Timestamp::UNIX_EPOCH);
        result.system.insert("os".into(), "Debian".into());
        let text = String::from_utf8(to_bytes(&result).unwrap()).unwrap();
        let again: BuildResult = toml::from_str(&text).unwrap();
        assert_eq!(again.outcome, result.outcome, "{text}");
        assert_eq!(again.system, result.system);
    }

    #[test]
    fn a_watcher_exits_as_the_build_did() {
        assert_eq!(Outcome::Exited { code: 3 }.exit_code(), 3);
        assert_eq!(Outcome::Signalled { signal: 9 }.exit_code(), 137);
        assert_eq!([i32::MIN, i32::MAX].map(|signal| Outcome::Signalled { signal }.exit_code()), [129, 255]);
        assert!(!Outcome::Exited { code: 1 }.succeeded());
    }
}
