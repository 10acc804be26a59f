//! The server's own key, and its public half for everybody.

use super::armor::Fingerprint;
use super::{PROVENANCE, SEAL, SERVER, keygen};
use crate::disk::{self, Moved};
use crate::error::{Error, Kind, Result};
use crate::layout::Layout;
use crate::spool::Spool;
use crate::tmp::{self, Draft};
use crate::worker::PublicKey;
use std::path::{Path, PathBuf};

/// No list of keys is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// The key with which the server signs.
#[derive(Clone, Debug)]
pub struct ServerKey {
    /// Its file, or that of its public half when an agent holds it.
    pub(super) file: PathBuf,
    pub(super) fingerprint: Fingerprint,
}

impl ServerKey {
    /// The key in short.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl Spool {
    /// The key that is named, which must be there, or the spool's own, which is made when it is missing. Its public half
    /// is listed in `signers` then, before those that the server had earlier. Durable on return.
    ///
    /// # Errors
    /// [`Kind::Config`] when ssh-keygen(1) is not installed, [`Kind::NoInput`] when the key is not there.
    pub fn server_key(&self, named: Option<&Path>) -> Result<ServerKey> {
        let file = named.map_or_else(|| self.layout().server_key(), Path::to_owned);
        if !file.is_file() {
            match named {
                None => make(self.layout(), &file)?,
                Some(_) => {
                    return Err(Error::new(Kind::NoInput, format!("there is no key {}", file.display()))
                        .hint("make one with `ssh-keygen -t ed25519 -N ''`, as the spool's owner"));
                }
            }
        }
        let public = keygen::public_half(&file)?;
        let fingerprint = Fingerprint::of(&public)
            .ok_or_else(|| Error::new(Kind::Data, format!("the key {} can't be read", file.display())))?;
        self.list_signer(&public)?;
        Ok(ServerKey { file, fingerprint })
    }

    fn list_signer(&self, key: &PublicKey) -> Result<()> {
        let path = self.layout().signers();
        let old = disk::read_if_there(&path, LONGEST)?.unwrap_or_default();
        let old = String::from_utf8_lossy(&old).into_owned();
        let line = format!("{SERVER} namespaces=\"{SEAL},{PROVENANCE}\" {key}\n");
        match old.starts_with(&line) {
            true => Ok(()),
            false => tmp::replace_file(self.layout(), &path, format!("{line}{}", old.replace(&line, "")).as_bytes()),
        }
    }

    /// Whether the server has, or had, this key.
    pub(crate) fn is_signer(&self, key: &Fingerprint) -> bool {
        let known = disk::read_if_there(&self.layout().signers(), LONGEST).ok().flatten().unwrap_or_default();
        let known = String::from_utf8_lossy(&known).into_owned();
        let key_of = |line: &str| line.strip_prefix(SERVER)?.trim().split_once(' ')?.1.parse::<PublicKey>().ok();
        known.lines().filter_map(key_of).any(|known| Fingerprint::of(&known).as_ref() == Some(key))
    }
}

/// Makes the key where nobody else sees it, and gives it its name when it is whole; of two who do that one wins.
fn make(layout: &Layout, file: &Path) -> Result<()> {
    let room = Draft::directory(layout)?;
    let fresh = room.path().join("key");
    keygen::make(&fresh)?;
    let bytes = disk::read_if_there(&fresh, LONGEST)?.unwrap_or_default();
    let dir = file.parent().unwrap_or(layout.root());
    disk::make_dir_synced(dir)?;
    let draft = Draft::file(layout, &bytes, 0o600)?;
    if disk::rename_new(draft.path(), file)? == Moved::Yes {
        draft.published();
    }
    disk::sync_dir(dir)
}
