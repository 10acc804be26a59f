//! What a worker has signed, as it comes with the end of its build.

use super::armor::Signature;
use super::statement::{self, Statement};
use crate::digest::Sha256;
use crate::disk;
use crate::error::Result;
use crate::held::HeldBuild;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::record::BuildResult;
use crate::worker::PublicKey;

/// A statement that a worker has signed. Nothing of it is trusted.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The worker's key, as the server knows it.
    pub key: PublicKey,
    /// What it has signed.
    pub statement: String,
    /// Its signature.
    pub signature: String,
}

impl Vouched {
    /// Why it can't be kept for a build of which the server says `own`; nothing when it can.
    fn unfit(&self, own: &str) -> Option<String> {
        if self.statement.len() > statement::LONGEST {
            return Some(format!("it has more than {} bytes", statement::LONGEST));
        }
        if self.statement != own {
            let other = own.lines().zip(self.statement.lines()).find(|(own, said)| own != said);
            let own = other.map_or("another number of lines", |(own, _)| own);
            return Some(format!("the worker has signed something else than `{own}`"));
        }
        Signature::parse(self.signature.as_bytes()).err().map(|e| e.to_string())
    }
}

impl HeldBuild<'_> {
    /// Keeps what the worker has signed, or says in the result why not. The contents are durable on return, the names are
    /// not. `files` are the digests of what went in.
    pub(crate) fn keep_statement(
        &self,
        result: &mut BuildResult,
        manifest: &Manifest,
        files: &[(&str, Sha256)],
        vouched: Option<&Vouched>,
    ) -> Result<()> {
        // An end that a crash has interrupted may have left some.
        for name in [file::STATEMENT, file::STATEMENT_SIGNATURE] {
            disk::remove_file(&self.path().join(name))?;
        }
        let Some(vouched) = vouched else { return Ok(()) };
        let mut files = files.to_vec();
        files.extend((!manifest.is_empty()).then(|| (file::MANIFEST, Sha256::of(&manifest.to_bytes()))));
        let (worker, outcome) = (result.worker.as_ref(), &result.outcome);
        let own = Statement { build: &self.id, worker, key: Some(&vouched.key), files, outcome }.to_string();
        if let Some(why) = vouched.unfit(&own) {
            result.skipped.push(format!("{}: {why}", file::STATEMENT_SIGNATURE));
            return Ok(());
        }
        disk::write_new(&self.path().join(file::STATEMENT), own.as_bytes(), 0o644)?;
        disk::write_new(&self.path().join(file::STATEMENT_SIGNATURE), vouched.signature.as_bytes(), 0o644)
    }
}
