//! The messages: one JSON object a line, told apart by `t`; `n` raw bytes follow where a message has an `n`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spool::artifact_path::ArtifactPath;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::name::{Platform, SecretName, WorkerName};
use spool::rebuild::Vary;
use spool::record::Outcome;
use spool::worker::PublicKey;
use std::collections::BTreeMap;

/// What the server says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum ToWorker {
    /// The first line of a session.
    Hello {
        /// The lowest and the highest protocol version that the server speaks.
        protocol: [u32; 2],
        /// The server's release.
        version: String,
        /// Seconds after which a worker that is not heard loses its build.
        grace_seconds: u32,
        /// When it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<Timestamp>,
    },
    /// A secret of the build that comes next; `n` bytes follow.
    Secret {
        /// What the script finds it as.
        name: SecretName,
        /// Bytes.
        n: usize,
    },
    /// A build for the worker; `n` bytes of script follow.
    Build {
        /// Which.
        id: BuildId,
        /// What the worker shows when it comes back to the build over another connection.
        lease: String,
        /// Seconds that the script may run.
        timeout_seconds: u64,
        /// Seconds for which the script may print nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        silence_seconds: Option<u64>,
        /// Bytes that the script may print.
        console_bytes: u64,
        /// Whether the script may use the network; a worker without a sandbox withholds it from none.
        #[serde(default, skip_serializing_if = "is_false")]
        network: bool,
        /// What the script sees as SOURCE_DATE_EPOCH.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_date: Option<i64>,
        /// What is to be different from the build that this one repeats; the worker says what it has made so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        vary: Vec<Vary>,
        /// Which rebuild this is: each has other values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rebuild: Option<u32>,
        /// As whom the worker signs what it says of the build; missing when the server knows no key of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signer: Option<Box<Signer>>,
        /// Bytes of script.
        n: usize,
    },
    /// The build is the worker's still: say `accept` again, and go on.
    Resumed {
        /// Which.
        id: BuildId,
        /// How many bytes of its console the server has.
        console: u64,
    },
    /// The build was taken from the worker: kill the script and forget it.
    Lapsed {
        /// Which.
        id: BuildId,
    },
    /// Inputs that the server has not got: send them with `input`; a `finish` that came before waits for them.
    Need {
        /// Some of `environment` and `packages`.
        inputs: Vec<String>,
    },
    /// Contents to upload before the next `finish`, at most 4,096.
    Want {
        /// Their digests, as offered.
        sha256: Vec<Sha256>,
    },
    /// The build is over and durable.
    Finished {
        /// Which.
        id: BuildId,
    },
    /// Kill the script and finish.
    Cancel {
        /// What to finish with.
        outcome: Outcome,
    },
    /// Answer with `pong`.
    Ping,
    /// The answer to `ping`.
    Pong,
    /// The session ends here.
    Error {
        /// What was wrong, for people.
        text: String,
        /// Its class as a code of sysexits(3).
        #[serde(default)]
        code: u8,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What the worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum ToServer {
    /// The worker's first line.
    Hello {
        /// The protocol version that it chose.
        protocol: u32,
        /// What names this process of the worker and no other, at most 64 letters and digits. The server of an earlier
        /// connection of the same process leaves; that of another one stays.
        #[serde(default)]
        instance: String,
        /// What it wants to build; empty for all that it may.
        #[serde(default)]
        platforms: Vec<Platform>,
        /// What it is: os, kernel, arch, cores, memory, versions.
        #[serde(default)]
        system: BTreeMap<String, String>,
    },
    /// It waits for a build.
    Ready,
    /// It has a build, and comes back to it. It says this in the place of its first `ready`.
    Resume {
        /// Which.
        id: BuildId,
        /// Its lease, as the server gave it.
        lease: String,
    },
    /// It takes the build that it was given, and starts it; or goes on with it.
    Accept {
        /// Which.
        id: BuildId,
        /// The digests of `environment` and, where there is one, `packages`.
        #[serde(default)]
        inputs: BTreeMap<String, Sha256>,
    },
    /// An input that the server needs; `n` bytes follow.
    Input {
        /// `environment` or `packages`.
        name: String,
        /// Bytes.
        n: usize,
    },
    /// What the script printed; `n` bytes follow, at most 65,536.
    Con {
        /// Milliseconds since the script's start.
        ms: u64,
        /// Bytes.
        n: usize,
    },
    /// Artifacts, in as many messages as it takes.
    Offer {
        /// Some of them.
        files: Vec<Offer>,
    },
    /// What was offered can't be sent: the build ends without it, aborted.
    Withdraw {
        /// Why.
        reason: String,
    },
    /// The script is over and all artifacts were offered.
    Finish {
        /// How it ended.
        outcome: Outcome,
        /// How long the script ran, in milliseconds.
        duration_ms: u64,
        /// Which artifacts had an execute bit.
        #[serde(default)]
        executable: Vec<ArtifactPath>,
        /// What was left out, and why.
        #[serde(default)]
        skipped: Vec<String>,
        /// What was made different for a rebuild, and how.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        varied: BTreeMap<String, String>,
        /// The statement of the build, when the worker signs it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Signed>,
    },
    /// The worker must stop: give its build to another one.
    Abandon {
        /// Why.
        reason: String,
    },
    /// Answer with `pong`.
    Ping,
    /// The answer to `ping`.
    Pong,
}

/// A worker as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// Its name.
    pub worker: WorkerName,
    /// Its public key.
    pub key: PublicKey,
}

/// What a worker vouches for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// See [`spool::sign::statement`]; at most 16 KiB.
    pub statement: String,
    /// Its signature as ssh-keygen(1) writes it; at most 16 KiB.
    pub signature: String,
}

/// An artifact that the worker has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// Where in the output directory.
    pub path: ArtifactPath,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub sha256: Sha256,
}

/// A message that may have raw bytes behind its line.
pub trait Framed {
    /// How many raw bytes follow.
    fn data_len(&self) -> usize;
}

impl Framed for ToWorker {
    fn data_len(&self) -> usize {
        match self {
            ToWorker::Build { n, .. } | ToWorker::Secret { n, .. } => *n,
            _ => 0,
        }
    }
}

impl Framed for ToServer {
    fn data_len(&self) -> usize {
        match self {
            ToServer::Input { n, .. } | ToServer::Con { n, .. } => *n,
            _ => 0,
        }
    }
}
