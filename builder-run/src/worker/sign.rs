//! The worker's signature: it signs what it says of a build with the key that it logs in with.
//!
//! A worker that can't goes on without: it says so once, and asks nobody for anything.

use super::job::{Job, Signer};
use super::session::Reach;
use crate::protocol::Signed;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::layout::file;
use spool::manifest::Manifest;
use spool::record::Outcome;
use spool::sign::statement::Statement;
use spool::sign::{STATEMENT, keygen};
use spool::worker::PublicKey;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tracing::warn;

/// Where the private half of the worker's key was found, and whether it was said that it can't be used.
#[derive(Default)]
pub struct Pen {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    key: Option<(PublicKey, PathBuf)>,
    complained: bool,
}

/// What is known of a build's inputs: names and digests of `environment` and `packages`.
pub type Inputs = Vec<(&'static str, Sha256)>;

/// Signs a build. Nothing when the server knows no key of this worker, or it can't be used here.
pub fn sign(reach: &Reach, job: &Job, inputs: Inputs, artifacts: &Manifest, outcome: &Outcome) -> Option<Signed> {
    let signer = job.signer.as_ref()?;
    let mut known = reach.pen.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match try_to_sign(reach, job, signer, inputs, artifacts, outcome, &mut known) {
        Ok(signed) => Some(signed),
        Err(e) => {
            known.key = None;
            if !std::mem::replace(&mut known.complained, true) {
                warn!(build = %job.id, "builds go without this worker's signature: {e}");
            }
            None
        }
    }
}

fn try_to_sign(
    reach: &Reach,
    job: &Job,
    signer: &Signer,
    inputs: Inputs,
    artifacts: &Manifest,
    outcome: &Outcome,
    known: &mut Known,
) -> Result<Signed> {
    let mut files = vec![(file::SCRIPT, Sha256::of(&job.script))];
    files.extend(inputs);
    files.extend((!artifacts.is_empty()).then(|| (file::MANIFEST, Sha256::of(&artifacts.to_bytes()))));
    let (worker, key) = (Some(&signer.worker), Some(&signer.key));
    let statement = Statement { build: &job.id, worker, key, files, outcome }.to_string();
    let path = match &known.key {
        Some((key, path)) if *key == signer.key => path.clone(),
        _ => find(reach, &signer.key)?,
    };
    let signature = keygen::sign(&path, STATEMENT, statement.as_bytes())?;
    known.key = Some((signer.key.clone(), path));
    Ok(Signed { statement, signature: signature.as_str().to_owned() })
}

/// The file of the private key; else one with the public key, for an agent that has the other half.
fn find(reach: &Reach, key: &PublicKey) -> Result<PathBuf> {
    let named: Vec<PathBuf> = reach.args.identity.iter().cloned().collect();
    let files = match (&reach.args.server, named.is_empty()) {
        (Some(server), true) => identities(server),
        _ => named,
    };
    if let Some(file) = files.into_iter().find(|file| file.is_file() && is_half_of(file, key)) {
        return Ok(file);
    }
    if std::env::var_os("SSH_AUTH_SOCK").is_none() {
        return Err(Error::new(Kind::NoInput, "the private half of the key that the server knows is not here"));
    }
    reach.place.public_key(&key.to_string())
}

/// Whether a private key, or the public half beside it, belongs to this public key.
fn is_half_of(file: &Path, key: &PublicKey) -> bool {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let beside = Path::new(&beside);
    let public = if beside.is_file() { beside } else { file };
    keygen::public_half(public).is_ok_and(|public| public == *key)
}

/// The keys that ssh(1) would try for a server (ssh_config(5), IdentityFile).
fn identities(server: &str) -> Vec<PathBuf> {
    let mut ssh = Command::new("ssh");
    ssh.args(["-G", "--", server]).stdin(Stdio::null()).stderr(Stdio::null());
    let said = ssh.output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let home = std::env::home_dir().unwrap_or_default();
    let path = |named: &str| match named.strip_prefix("~/") {
        Some(below) => home.join(below),
        None => PathBuf::from(named),
    };
    said.lines().filter_map(|line| line.strip_prefix("identityfile ")).map(path).collect()
}
