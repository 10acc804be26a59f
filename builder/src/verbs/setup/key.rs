//! A worker's key pair: both halves or none, whenever it is interrupted.
#![allow(clippy::disallowed_methods)]

use crate::program;
use spool::error::{At, Error, Kind, Result};
use spool::name::WorkerName;
use spool::worker::PublicKey;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What ssh-keygen(1) says of a key that it can't open without its passphrase.
const HAS_PASSPHRASE: &str = "incorrect passphrase";

/// Makes a key where there is none. One that is there is kept: somebody may have let it in already. Returns the public half, as
/// one line.
///
/// # Errors
/// [`Kind::Data`] when what is there is no key.
pub fn make(name: &WorkerName, file: &Path) -> Result<String> {
    if !file.exists() {
        generate(name, file)?;
    }
    let beside = std::fs::read_to_string(public(file)).unwrap_or_default();
    let beside = beside.trim();
    let said: Option<PublicKey> = beside.parse().ok();
    match (derive(file)?, said) {
        (None, Some(_)) => Ok(beside.to_owned()),
        (Some(key), Some(said)) if key == said => Ok(beside.to_owned()),
        (Some(key), _) => {
            let line = format!("{key} {name}");
            write_public(file, &line)?;
            Ok(line)
        }
        (None, None) => Err(broken(file, "it has a passphrase, and there is no public key beside it")),
    }
}

fn public(file: &Path) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(".pub");
    name.into()
}

fn broken(file: &Path, why: &str) -> Error {
    Error::new(Kind::Data, format!("{} is no key that can be used: {why}", file.display()))
        .hint("mend or remove it, and say this again")
}

/// In a directory of its own first. The private half gets its name last but for the public one, which can be had from it.
fn generate(name: &WorkerName, file: &Path) -> Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let draft = tempfile::tempdir_in(directory).at("make a directory in", directory)?;
    let made = draft.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name.as_str(), "-f"]).arg(&made);
    program::output(&mut keygen, "")?;
    for (from, to) in [(made.clone(), file.to_owned()), (public(&made), public(file))] {
        File::open(&from).and_then(|half| half.sync_all()).at("sync", &from)?;
        std::fs::rename(&from, &to).at("make", &to)?;
    }
    File::open(directory).and_then(|directory| directory.sync_all()).at("sync", directory)
}

/// The public half, from the private one; nothing when that takes a passphrase.
fn derive(file: &Path) -> Result<Option<PublicKey>> {
    let done = program::run(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(file), "")?;
    match done.status.success() {
        true => done.output.parse().map(Some),
        false if done.complaint.contains(HAS_PASSPHRASE) => Ok(None),
        false => Err(broken(file, &done.complaint)),
    }
}

fn write_public(file: &Path, line: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let to = public(file);
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(directory).at("make a file in", directory)?;
    let write = |draft: &mut tempfile::NamedTempFile| {
        writeln!(draft, "{line}")?;
        draft.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        draft.as_file().sync_all()
    };
    write(&mut draft).at("write", &to)?;
    draft.persist(&to).map_err(|e| e.error).at("write", &to).map(drop)
}
