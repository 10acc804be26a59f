//! How long finished builds are kept, and how they go.

mod decide;
mod going;
mod pin;
mod size;

pub use decide::{Candidate, Reason, Weight, decide};
pub use going::Going;
pub use pin::Pin;
pub(crate) use pin::lock_ended;
pub use size::Size;

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// What is kept of a job's finished builds; all of them where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// So many of the newest on each platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builds: Option<u64>,
    /// Those that were queued in the last so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// The newest that fit into so many bytes. In builder.toml: of all jobs together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
}

impl Keep {
    /// Refuses to keep nothing at all, which is never meant.
    pub fn check(&self) -> Result<()> {
        match self.builds == Some(0) || self.days == Some(0) {
            true => Err(Error::new(Kind::Data, "`keep` must say 1 or more")),
            false => Ok(()),
        }
    }
}
