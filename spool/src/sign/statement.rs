//! What a worker and its server say of a build in the same words, each from what it knows itself.
//!
//! The worker signs the text; the server keeps the signature only when its own text is the same, byte for byte.

use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::layout::file;
use crate::name::WorkerName;
use crate::record::Outcome;
use crate::worker::PublicKey;
use std::fmt;

/// No statement is longer, in bytes.
pub const LONGEST: usize = 16 << 10;

/// The first line.
const FORMAT: &str = "builder statement 1";

/// The files whose digests stand in it, in this order.
pub const FILES: [&str; 4] = [file::SCRIPT, file::ENVIRONMENT, file::PACKAGES, file::MANIFEST];

/// A build in brief.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Which.
    pub build: &'a BuildId,
    /// Who ran it; nothing when nobody did.
    pub worker: Option<&'a WorkerName>,
    /// The key with which the worker signs this; nothing when it does not.
    pub key: Option<&'a PublicKey>,
    /// The digests of [`FILES`], those that there are.
    pub files: Vec<(&'a str, Sha256)>,
    /// How it ended.
    pub outcome: &'a Outcome,
}

/// One fact a line.
impl fmt::Display for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nbuild {}", self.build)?;
        self.worker.iter().try_for_each(|worker| writeln!(f, "worker {worker}"))?;
        self.key.iter().try_for_each(|key| writeln!(f, "key {key}"))?;
        for name in FILES {
            let known = self.files.iter().find(|(file, _)| *file == name);
            known.iter().try_for_each(|(name, digest)| writeln!(f, "{name} {digest}"))?;
        }
        writeln!(f, "outcome {}", fact(self.outcome))
    }
}

/// An outcome without the words that explain it: those of a worker and of its server may differ.
fn fact(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Signalled { signal } => format!("signalled {signal}"),
        Outcome::TimedOut => "timed-out".into(),
        Outcome::Silent => "silent".into(),
        Outcome::Cancelled => "cancelled".into(),
        Outcome::Lost => "lost".into(),
        Outcome::Aborted { .. } => "aborted".into(),
    }
}

/// What a statement says of who has signed it, and of which build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The build.
    pub build: BuildId,
    /// The worker; nothing when nobody ran it.
    pub worker: Option<WorkerName>,
    /// Its key; nothing when it has not signed.
    pub key: Option<PublicKey>,
}

impl Signer {
    /// Reads it from a statement.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is none.
    pub fn read(statement: &[u8]) -> Result<Signer> {
        let wrong = || Error::new(Kind::Data, "this is no statement of a build");
        let text = std::str::from_utf8(statement).ok().filter(|text| text.len() <= LONGEST).ok_or_else(wrong)?;
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return Err(wrong());
        }
        let find = |word: &str| text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        Ok(Signer {
            build: find("build").and_then(|id| id.parse().ok()).ok_or_else(wrong)?,
            worker: find("worker").map(|name| name.parse().map_err(|_| wrong())).transpose()?,
            key: find("key").map(|key| key.parse().map_err(|_| wrong())).transpose()?,
        })
    }

    /// The line of allowed signers (ssh-keygen(1)) with which its signature can be checked.
    pub fn line(&self) -> Option<String> {
        let (worker, key) = (self.worker.as_ref()?, self.key.as_ref()?);
        Some(format!("{worker} namespaces=\"{}\" {key}\n", super::STATEMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_fact_a_line_and_says_who_signed_it() {
        let build = "20261124T094701.123Z-hello@debian-12-k3f9x2".parse().unwrap();
        let worker = "jail1".parse().unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINig29h7TQK1of0JAX8SwdhoCddlr5sd9pONEhc9K/ac x".parse().unwrap();
        let digest = Sha256::of(b"");
        let outcome = Outcome::Aborted { reason: "no\nbuild other".into() };
        let files = vec![(file::MANIFEST, digest), (file::SCRIPT, digest)];
        let all = Statement { build: &build, worker: Some(&worker), key: Some(&key), files, outcome: &outcome };
        let text = format!(
            "builder statement 1\nbuild {build}\nworker jail1\nkey {key}\nscript {digest}\nmanifest {digest}\noutcome aborted\n"
        );
        assert_eq!(all.to_string(), text);
        let signer = Signer::read(text.as_bytes()).unwrap();
        assert_eq!((&signer.build, signer.worker.as_ref(), signer.key.as_ref()), (&build, Some(&worker), Some(&key)));
        assert_eq!(signer.line().unwrap(), format!("jail1 namespaces=\"statement@builder\" {key}\n"));
        for other in ["", "builder statement 2\n", "builder statement 1\nbuild x\n", "builder statement 1\n"] {
            assert!(Signer::read(other.as_bytes()).is_err(), "{other}");
        }
    }
}
