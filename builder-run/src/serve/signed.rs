//! What a worker signs of a build, on its way into the spool. Nothing can be checked here but its words: this process can
//! start no program.

use super::building::Context;
use crate::protocol::{Signed, Signer};
use spool::sign::Vouched;

/// The worker with its key; nothing when it has none here.
pub fn signer(context: &Context<'_>) -> Option<Signer> {
    let worker = context.spool.worker(context.name).ok()?;
    worker.key.map(|key| Signer { worker: context.name.clone(), key })
}

/// What the spool is to keep, when the worker has signed and has a key here.
pub fn vouched(signer: Option<Signer>, signed: Option<Signed>) -> Option<Vouched> {
    let (Signer { key, .. }, Signed { statement, signature }) = signer.zip(signed)?;
    Some(Vouched { key, statement, signature })
}
