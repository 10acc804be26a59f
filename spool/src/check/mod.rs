//! Whether a spool is what `spool-layout.md` says, invariant by invariant; and putting right what can be put right.
//!
//! A check takes no lock and changes nothing, so that everybody who can read the spool can check it, also while builds
//! run: what is found counts when it is found twice, and a build that a server has is left to it.

mod artifacts;
mod builds;
mod ended;
mod eye;
mod finding;
mod house;
mod lost;
mod repair;
mod sealed;
mod store;
mod words;

pub use eye::{Counts, Memory};
pub use finding::{Cure, Finding, Invariant};
pub use repair::Repaired;

use crate::error::Result;
use crate::spool::Spool;
use eye::Eye;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What is wrong, in the order of the spool's rooms.
    pub findings: Vec<Finding>,
    /// What there is.
    pub counts: Counts,
}

impl Spool {
    /// Looks at everything. Contents are read only when it is to be `deep`: then it takes as long as reading the store.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub fn check(&self, deep: bool) -> Result<Checked> {
        self.check_again(deep, &mut Memory::default())
    }

    /// As [`Spool::check`], with what was found out before: no content is read twice, and no signature asked about.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub fn check_again(&self, deep: bool, memory: &mut Memory) -> Result<Checked> {
        let (first, counts) = self.look(deep, memory)?;
        if first.is_empty() {
            return Ok(Checked { findings: first, counts });
        }
        let (mut findings, counts) = self.look(deep, memory)?;
        findings.retain(|finding| first.contains(finding));
        Ok(Checked { findings, counts })
    }

    fn look(&self, deep: bool, memory: &mut Memory) -> Result<(Vec<Finding>, Counts)> {
        let mut eye = Eye::new(self, deep, std::mem::take(memory))?;
        house::look(&mut eye)?;
        words::look(&mut eye)?;
        // First: a build whose script is a content that has changed must not run.
        store::look(&mut eye)?;
        builds::look(&mut eye)?;
        let (found, counts, known) = eye.into_parts();
        *memory = known;
        Ok((found, counts))
    }
}
