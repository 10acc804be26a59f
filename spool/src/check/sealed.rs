//! Builds that are sealed: they are what the server has signed.
//!
//! The signature decides who is wrong: what does not have its digest in a seal that was signed has changed; where the
//! signature does not fit, the seal has.

use super::ended::Over;
use super::eye::Eye;
use super::finding::{Cure, Invariant};
use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::error::Result;
use crate::layout::file;
use crate::sign::armor::Signature;
use crate::sign::statement::Signer;
use crate::sign::{Seal, Standing, is_sealed, keygen, seal_standing};

/// The files that are links into the store, which may have what is missing here.
const CONTENTS: [&str; 4] = [file::SCRIPT, file::ENVIRONMENT, file::PACKAGES, file::MANIFEST];

impl Over<'_> {
    /// Compares the build with its seal; what was found since `before` is known.
    pub fn sealed(&self, eye: &mut Eye<'_>, id: &BuildId, before: usize) -> Result<()> {
        // One that waits for its seal may have half of one.
        if self.lost.contains(file::SEAL) || eye.spool.owes_seal(id) {
            return Ok(());
        }
        let Some(entry) = self.members.get(file::SEAL) else {
            if self.members.contains_key(file::SEAL_SIGNATURE) && !self.is_in_the_way(eye, file::SEAL)? {
                self.lose(eye, Invariant::Sealed, file::SEAL, "it is missing, and its signature is there");
            }
            return Ok(());
        };
        let Some(bytes) = eye.bytes(entry) else { return Ok(()) };
        let Some(standing) = self.standing(eye, &bytes)? else { return Ok(()) };
        let Ok(seal) = Seal::parse(&bytes) else {
            self.lose(eye, Invariant::Sealed, file::SEAL, "it can't be read");
            return Ok(());
        };
        self.of_this_build(eye, id);
        for (name, digest) in seal.iter() {
            let path = self.dir.path.join(name);
            if !eye.found[before..].iter().any(|finding| finding.path == path) {
                self.listed(eye, name, &digest, standing.is_good())?;
            }
        }
        let new = self.members.iter().filter(|(name, _)| is_sealed(name) && seal.get(name).is_none());
        new.for_each(|(name, entry)| {
            if !self.lost.contains(name) {
                eye.damaged(Invariant::Sealed, &entry.path, "the seal does not list it");
            }
        });
        Ok(())
    }

    /// What the seal is worth; nothing when it is worth nothing, which is noted. Without ssh-keygen(1), and without a deep
    /// look, nobody knows.
    fn standing(&self, eye: &mut Eye<'_>, seal: &[u8]) -> Result<Option<Standing>> {
        let Some(entry) = self.members.get(file::SEAL_SIGNATURE) else {
            if !self.is_in_the_way(eye, file::SEAL_SIGNATURE)? {
                self.lose(eye, Invariant::Sealed, file::SEAL_SIGNATURE, "it is missing");
            }
            return Ok(Some(Standing::Absent));
        };
        if !eye.deep || !keygen::is_there() || self.lost.contains(file::SEAL_SIGNATURE) {
            return Ok(Some(Standing::Absent));
        }
        let claimed = eye.bytes(entry).and_then(|bytes| Signature::parse(&bytes).ok());
        let Some(claimed) = claimed else { return Ok(self.unfit(eye)) };
        if !eye.spool.is_signer(claimed.key()) {
            let wrong = format!("{} is no key of the server: `signers` does not list it", claimed.key());
            let how = "builderd lists its own key when it starts; find out whose this one is".to_owned();
            eye.find(Invariant::Sealed, &entry.path, wrong, Cure::Human(how));
            return Ok(Some(Standing::Absent));
        }
        let parts = [claimed.as_str().as_bytes(), seal].map(|part| Sha256::of(part).to_string());
        let both = Sha256::of(parts.concat().as_bytes());
        if !eye.memory.good_seals.contains(&both) {
            if !seal_standing(&eye.layout().signers(), &self.dir.path, seal)?.is_good() {
                return Ok(self.unfit(eye));
            }
            eye.memory.good_seals.insert(both);
        }
        Ok(Some(Standing::Good { key: claimed.key().clone() }))
    }

    fn unfit(&self, eye: &mut Eye<'_>) -> Option<Standing> {
        self.lose(eye, Invariant::Sealed, file::SEAL, "its signature does not fit it");
        None
    }

    /// A build that took another one's place has all of its files.
    fn of_this_build(&self, eye: &mut Eye<'_>, id: &BuildId) {
        let Some(entry) = self.members.get(file::STATEMENT) else { return };
        let said = eye.bytes(entry).and_then(|bytes| Signer::read(&bytes).ok());
        if let Some(other) = said.filter(|said| said.build != *id) {
            let wrong = format!("it is of the build {}", other.build);
            let how = "find out who has moved it here".to_owned();
            eye.find(Invariant::Sealed, &entry.path, wrong, Cure::Human(how));
        }
    }

    /// Looks at one file.
    fn listed(&self, eye: &mut Eye<'_>, name: &str, digest: &Sha256, signed: bool) -> Result<()> {
        if self.lost.contains(name) || self.is_in_the_way(eye, name)? {
            return Ok(());
        }
        let path = self.dir.path.join(name);
        let Some(entry) = self.members.get(name) else {
            match eye.spool.store().size_of(digest) {
                Some(_) if CONTENTS.contains(&name) => {
                    eye.find(Invariant::Sealed, &path, "it is missing", Cure::Link(*digest));
                }
                _ => self.lose(eye, Invariant::Sealed, name, "it is missing"),
            }
            return Ok(());
        };
        if !eye.deep || eye.digest(entry).is_none_or(|now| now == *digest) {
            return Ok(());
        }
        let wrong = "it is not what was sealed";
        match (signed, name) {
            (true, _) if CONTENTS.contains(&name) => eye.damaged(Invariant::Sealed, &path, wrong),
            // Without it the whole build would have to go.
            (true, file::RESULT) | (false, _) => {
                let how =
                    format!("find out who has changed it; write {name} into the build's file `lost` to have it stay");
                eye.find(Invariant::Sealed, &path, wrong, Cure::Human(how));
            }
            (true, _) => self.lose(eye, Invariant::Sealed, name, wrong),
        }
        Ok(())
    }
}
