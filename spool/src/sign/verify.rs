//! Checking who vouches for a build, and that it is what they vouched for. Every signature is left to ssh-keygen(1).

use super::armor::Fingerprint;
use super::list::{self, Seal, is_sealed};
use super::statement::{self, Signer};
use super::{SEAL, SERVER, STATEMENT, keygen};
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::disk;
use crate::error::{At, Result};
use crate::find::Build;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::name::WorkerName;
use serde::Serialize;
use std::fs::File;
use std::path::Path;

/// What became of a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    /// It fits, and is by this key.
    Good {
        /// The key.
        key: Fingerprint,
    },
    /// It is there and not good.
    Bad {
        /// Why.
        why: String,
    },
    /// There is none.
    Absent,
}

impl Standing {
    /// Whether it fits.
    pub fn is_good(&self) -> bool {
        matches!(self, Standing::Good { .. })
    }

    fn bad(why: &str) -> Standing {
        Standing::Bad { why: why.to_owned() }
    }
}

/// Who vouches for a build, and whether it is that one.
#[derive(Clone, Debug, Serialize)]
pub struct Vouching {
    /// Which.
    pub build: BuildId,
    /// Who ran it, as its statement says.
    pub worker: Option<WorkerName>,
    /// The worker's signature of the statement.
    pub statement: Standing,
    /// The server's signature of the seal.
    pub seal: Standing,
    /// How many files the seal lists.
    pub files: usize,
    /// How many artifacts the manifest lists.
    pub artifacts: usize,
    /// What is not as it was sealed, a line each.
    pub differs: Vec<String>,
}

impl Build<'_> {
    /// Looks who vouches for a build that is over, and whether it is what they vouched for. The server's keys are those of
    /// `signers`, a file of allowed signers (ssh-keygen(1)); so are the worker's, when it is `outside` the spool and names
    /// the worker. Otherwise they are those in the build, for which the seal vouches.
    ///
    /// # Errors
    /// When the disk can't be read, or ssh-keygen(1) is not there.
    pub fn check_signatures(&self, signers: &Path, outside: bool) -> Result<Vouching> {
        let dir = self.dir();
        let said = disk::read_if_there(&dir.join(file::STATEMENT), statement::LONGEST as u64).ok().flatten();
        let signer = said.and_then(|bytes| Signer::read(&bytes).ok());
        let mut vouching = Vouching {
            build: self.id.clone(),
            worker: signer.as_ref().and_then(|signer| signer.worker.clone()),
            statement: worker_standing(&dir, outside.then_some(signers))?,
            seal: Standing::Absent,
            files: 0,
            artifacts: 0,
            differs: Vec::new(),
        };
        let Some(bytes) = disk::read_if_there(&dir.join(file::SEAL), list::LONGEST)? else { return Ok(vouching) };
        vouching.seal = seal_standing(signers, &dir, &bytes)?;
        let Ok(seal) = Seal::parse(&bytes) else { return Ok(vouching) };
        vouching.files = seal.len();
        vouching.differs = differences(&dir, &seal)?;
        if signer.is_some_and(|signer| signer.build != self.id) {
            vouching.differs.push(format!("{}: it is of another build", file::STATEMENT));
        }
        let manifest = self.manifest().unwrap_or_default();
        vouching.artifacts = manifest.len();
        vouching.differs.extend(artifacts(self, &manifest)?);
        Ok(vouching)
    }
}

/// What becomes of a seal by its signature.
pub(crate) fn seal_standing(signers: &Path, dir: &Path, seal: &[u8]) -> Result<Standing> {
    let signature = dir.join(file::SEAL_SIGNATURE);
    if !signature.is_file() {
        return Ok(Standing::Absent);
    }
    Ok(match keygen::verify(signers, SERVER, SEAL, &signature, seal)? {
        Some(key) => Standing::Good { key },
        None => Standing::bad("it does not fit the seal, or is by another key than the server's"),
    })
}

/// What becomes of a worker's signature. The worker's key is the one in the build, unless the file from outside has one
/// for it.
pub(super) fn worker_standing(dir: &Path, outside: Option<&Path>) -> Result<Standing> {
    let signature = dir.join(file::STATEMENT_SIGNATURE);
    if !signature.is_file() {
        return Ok(Standing::Absent);
    }
    let longest = statement::LONGEST as u64;
    let statement = disk::read_if_there(&dir.join(file::STATEMENT), longest).ok().flatten();
    let Some(statement) = statement else { return Ok(Standing::bad("its statement is missing")) };
    let Ok(signer) = Signer::read(&statement) else { return Ok(Standing::bad("its statement can't be read")) };
    let (Some(worker), Some(line)) = (&signer.worker, signer.line()) else {
        return Ok(Standing::bad("its statement names no worker and key"));
    };
    let own = dir.join(file::SIGNERS);
    let known = disk::read_if_there(&own, longest).ok().flatten().unwrap_or_default();
    let signers = match outside.filter(|outside| names(outside, worker)) {
        Some(outside) => outside,
        None if known == line.as_bytes() => &own,
        None => return Ok(Standing::bad("its statement names another key than its signers")),
    };
    Ok(match keygen::verify(signers, worker.as_str(), STATEMENT, &signature, &statement)? {
        Some(key) => Standing::Good { key },
        None => Standing::bad("it does not fit the statement, or is by another key than the worker's"),
    })
}

/// Whether a file of allowed signers has a line for somebody.
fn names(signers: &Path, who: &WorkerName) -> bool {
    let text = disk::read_if_there(signers, list::LONGEST).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .any(|all| all.split(',').any(|one| one == who.as_str()))
}

/// What of a build's files is not as it was sealed.
fn differences(dir: &Path, seal: &Seal) -> Result<Vec<String>> {
    let mut differs = Vec::new();
    for (name, digest) in seal.iter() {
        differs.extend(wrong(&dir.join(name), &digest)?.map(|why| format!("{name}: {why}")));
    }
    let new = disk::names(dir)?.into_iter().filter(|name| is_sealed(name) && seal.get(name).is_none());
    differs.extend(new.map(|name| format!("{name}: it was not there")));
    Ok(differs)
}

fn artifacts(build: &Build<'_>, manifest: &Manifest) -> Result<Vec<String>> {
    let mut differs = Vec::new();
    for (path, digest) in manifest.iter() {
        let why = wrong(&build.artifact(path), digest)?;
        differs.extend(why.map(|why| format!("{}/{path}: {why}", file::ARTIFACTS)));
    }
    Ok(differs)
}

/// What is wrong with a file that should have this digest; nothing when it has.
fn wrong(path: &Path, digest: &Sha256) -> Result<Option<&'static str>> {
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(Some("it is missing"));
    }
    let (now, _) = Sha256::of_reader(File::open(path).at("read", path)?).at("read", path)?;
    Ok((now != *digest).then_some("it is not what it was"))
}
