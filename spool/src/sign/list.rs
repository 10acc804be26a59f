//! The list of what a seal is for: the digest of each file whose bytes are fixed when its build is over, as
//! `sha256sum -c` reads it. The artifacts are in it by way of `manifest`.

use crate::digest::Sha256;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::layout::file::{self, is_earlier_console};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// No list is longer, in bytes.
pub const LONGEST: u64 = 4 << 20;

const FIXED: [&str; 13] = [
    file::BUILD,
    file::SCRIPT,
    file::ENVIRONMENT,
    file::PACKAGES,
    file::ATTEMPTS,
    file::CONSOLE,
    file::TIMES,
    file::RESULT,
    file::MANIFEST,
    file::STATEMENT,
    file::STATEMENT_SIGNATURE,
    file::SIGNERS,
    file::PROVENANCE,
];

/// Whether a seal lists a file of this name when it is there.
pub fn is_sealed(name: &str) -> bool {
    FIXED.contains(&name) || is_earlier_console(name)
}

/// Files of a build with their digests, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    files: BTreeMap<String, Sha256>,
}

impl Seal {
    /// That of what lies in a build's directory now. Everything is read, in bounded memory.
    pub fn of(dir: &Path) -> Result<Seal> {
        let mut seal = Seal::default();
        for name in disk::names(dir)?.into_iter().filter(|name| is_sealed(name)) {
            let path = dir.join(&name);
            let (digest, _) = Sha256::of_reader(File::open(&path).at("read", &path)?).at("read", &path)?;
            seal.set(&name, digest);
        }
        Ok(seal)
    }

    /// Lists a file.
    pub fn set(&mut self, name: &str, digest: Sha256) {
        self.files.insert(name.to_owned(), digest);
    }

    /// The digest of a file, when it is listed.
    pub fn get(&self, name: &str) -> Option<Sha256> {
        self.files.get(name).copied()
    }

    /// All files, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Sha256)> {
        self.files.iter().map(|(name, digest)| (name.as_str(), *digest))
    }

    /// How many files it lists.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.files.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect::<String>().into_bytes()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Kind::Data`] for anything but what [`Seal::to_bytes`] makes.
    pub fn parse(bytes: &[u8]) -> Result<Seal> {
        let mut seal = Seal::default();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        for (name, digest) in text.lines().filter_map(|line| line.split_once("  ").map(|(digest, name)| (name, digest)))
        {
            if let Ok(digest) = digest.parse()
                && is_sealed(name)
            {
                seal.set(name, digest);
            }
        }
        match !seal.is_empty() && seal.to_bytes() == bytes {
            true => Ok(seal),
            false => Err(Error::new(Kind::Data, "this is no seal of a build")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back_and_has_one_form_only() {
        let mut seal = Seal::default();
        for name in [file::RESULT, "console.log.2", file::BUILD] {
            seal.set(name, Sha256::of(name.as_bytes()));
        }
        let bytes = seal.to_bytes();
        assert_eq!(Seal::parse(&bytes).unwrap(), seal);
        let text = String::from_utf8(bytes).unwrap();
        let other = [
            text.replace("console", "sole"),
            text.replace("  ", " *"),
            text.to_uppercase(),
            format!("{text}{text}"),
            format!("{text}\n"),
            text.trim_end().into(),
            String::new(),
        ];
        assert!(other.iter().all(|other| Seal::parse(other.as_bytes()).is_err()));
        assert!(
            ["pinned", "lost", "seal", "seal.sig", "lease.toml", "console.log.0"].iter().all(|name| !is_sealed(name))
        );
    }
}
