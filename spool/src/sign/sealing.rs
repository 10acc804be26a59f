//! Sealing a build that is over.

use super::list::Seal;
use super::server::ServerKey;
use super::statement::{FILES, Signer, Statement};
use super::verify::{Standing, worker_standing};
use super::{SEAL, keygen, provenance};
use crate::digest::Sha256;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::job::Ended;
use crate::keep::lock_ended;
use crate::layout::file;
use crate::spool::Spool;
use crate::tmp;

/// What came of sealing a build.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its worker's signature.
    pub worker: Standing,
    /// How many files it lists.
    pub files: usize,
}

impl Spool {
    /// Seals a build: makes what is missing of its statement, its signers and its provenance, and signs the digests of all
    /// its files. Reads all of them. Durable on return; done again, it comes to the same.
    ///
    /// # Errors
    /// When the build is gone, the disk is full or fails, or ssh-keygen(1) can't sign with the key.
    pub fn seal(&self, ended: &Ended, key: &ServerKey) -> Result<Sealed> {
        self.make_sure_of_room()?;
        let gone = || Error::new(Kind::NoInput, format!("{} was removed", ended.id));
        let build = self.build(&ended.id)?.ok_or_else(gone)?;
        let _lock = lock_ended(&build)?;
        let dir = build.dir();
        let mut seal = Seal::of(&dir)?;
        let put = |seal: &mut Seal, name: &str, bytes: &[u8]| {
            seal.set(name, Sha256::of(bytes));
            tmp::put_file(self.layout(), &dir.join(name), bytes)
        };
        if seal.get(file::STATEMENT_SIGNATURE).is_none() {
            let statement = statement(ended, &seal);
            put(&mut seal, file::STATEMENT, statement.as_bytes())?;
        } else if let Ok(Some(bytes)) =
            disk::read_if_there(&dir.join(file::STATEMENT), super::statement::LONGEST as u64)
            && let Some(line) = Signer::read(&bytes).ok().and_then(|signer| signer.line())
        {
            put(&mut seal, file::SIGNERS, line.as_bytes())?;
        }
        if ended.result.output.is_some() {
            let envelope = provenance(ended, &build.manifest()?, &seal, key)?;
            put(&mut seal, file::PROVENANCE, &envelope)?;
        }
        let list = seal.to_bytes();
        let signature = keygen::sign(&key.file, SEAL, &list)?;
        tmp::put_file(self.layout(), &dir.join(file::SEAL_SIGNATURE), signature.as_str().as_bytes())?;
        tmp::put_file(self.layout(), &dir.join(file::SEAL), &list)?;
        disk::sync_dir(&dir)?;
        Ok(Sealed { worker: worker_standing(&dir, None)?, files: seal.len() })
    }
}

/// The statement of a build whose worker has signed none.
fn statement(ended: &Ended, seal: &Seal) -> String {
    let files = FILES.iter().filter_map(|name| Some((*name, seal.get(name)?))).collect();
    let result = &ended.result;
    Statement { build: &ended.id, worker: result.worker.as_ref(), key: None, files, outcome: &result.outcome }
        .to_string()
}
