//! What is true of each copy of an artifact, by whatever way it comes.

use spool::artifact_path::ArtifactPath;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use std::io;
use std::path::Path;

/// Refuses to copy into something else than a directory.
pub fn refuse_no_directory(output: &Path) -> Result<()> {
    match output.exists() && !output.is_dir() {
        true => Err(Error::new(Kind::CantCreate, format!("{} is not a directory", output.display()))
            .hint("nothing was copied; give another one with -o")),
        false => Ok(()),
    }
}

/// Refuses an artifact whose place is taken.
pub fn refuse_to_replace(output: &Path, path: &ArtifactPath) -> Result<()> {
    let target = output.join(path.as_str());
    match target.exists() {
        true => Err(Error::new(Kind::CantCreate, format!("{} is there already", target.display()))
            .hint("nothing was copied; give another directory with -o, or --force")),
        false => Ok(()),
    }
}

/// Reads an artifact's copy to its end: it must have the content that its name in the manifest has.
pub fn check(from: &Path, copy: impl io::Read, sha256: &Sha256) -> Result<()> {
    let (found, _) = Sha256::of_reader(copy).at("read", from)?;
    match found == *sha256 {
        true => Ok(()),
        false => {
            Err(Error::new(Kind::Data, format!("{} is damaged: its SHA-256 is {found}, not {sha256}", from.display()))
                .hint("it was not copied; build it again"))
        }
    }
}
