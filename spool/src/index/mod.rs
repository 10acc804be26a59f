//! The index: what the finished builds' records say, in SQLite, so that a question need not read a million of them.
//!
//! It is a cache. builderd writes it (`Keeper`), whoever asks only reads it, and nothing depends on it: missing, locked,
//! half made, damaged or of another release, it answers nothing, and the directories do. What it does answer is true:
//! of each month it holds the directory's stamp from before the listing that it reflects, and it speaks for a month only
//! while the directory has that stamp still. Of any other month the names are listed, and the records that it does not
//! know are read. A build's record is written once, so what is known of a build that is there stays true; a repair
//! changes one, and drops the index.
//!
//! Without the feature `index` there is none, and everything is answered from the directories.

#[cfg(feature = "index")]
mod asking;
#[cfg(feature = "index")]
mod change;
#[cfg(feature = "index")]
mod keeping;
#[cfg(feature = "index")]
mod schema;
#[cfg(feature = "index")]
mod stamp;
#[cfg(feature = "index")]
mod taking;
#[cfg(not(feature = "index"))]
mod without;

#[cfg(feature = "index")]
pub(crate) use asking::Index;
#[cfg(feature = "index")]
pub use keeping::{Keeper, Round};
#[cfg(not(feature = "index"))]
pub(crate) use without::Index;

use crate::disk;
use crate::error::Result;
use crate::spool::Spool;

impl Spool {
    /// The index, if there is one that can be read.
    pub(crate) fn index(&self) -> Option<Index> {
        self.uses_index().then(|| Index::open(self)).flatten()
    }

    /// Whether the index speaks for all finished builds now.
    pub fn index_is_true(&self) -> Result<bool> {
        let Some(index) = Index::open(self) else { return Ok(false) };
        Ok(self.months()?.iter().all(|month| index.is_true_of(month)))
    }

    /// Removes the index, because a record of which it may know was changed. Its journal is left to builderd.
    pub(crate) fn drop_index(&self) -> Result<()> {
        disk::remove_file(&self.layout().index_file())
    }
}
