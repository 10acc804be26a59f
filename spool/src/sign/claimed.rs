//! Who says that they have signed a build, for whoever only looks at it: nothing is checked.

use super::armor::{Fingerprint, LONGEST, Signature};
use crate::disk;
use crate::find::Build;
use crate::layout::file;
use serde::Serialize;

/// The keys of a build's signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Claimed {
    /// Its worker's; nothing when it has not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<Fingerprint>,
    /// The server's; nothing when it is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Fingerprint>,
}

impl Build<'_> {
    /// Who says that they have signed it. `builder verify-signature` checks whether they have.
    pub fn claimed(&self) -> Claimed {
        let key = |name: &str| {
            let bytes = disk::read_if_there(&self.dir().join(name), LONGEST as u64).ok().flatten()?;
            Signature::parse(&bytes).ok().map(|signature| signature.key().clone())
        };
        let sealed = self.dir().join(file::SEAL).is_file();
        Claimed {
            worker: key(file::STATEMENT_SIGNATURE),
            server: if sealed { key(file::SEAL_SIGNATURE) } else { None },
        }
    }
}
