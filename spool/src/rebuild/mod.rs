//! Rebuilds: a build once more, by somebody else and under other circumstances, to see whether the same comes out.
//!
//! A rebuild has the script, the values and the limits of the build that it repeats, and an id that says what it is. It is no
//! news of its job: it never is the job's latest build, makes no other job follow, and is not tried again.

mod order;
mod turn;
mod vary;
mod verdict;

pub use order::Wish;
pub use vary::Vary;
pub use verdict::{Rebuilt, Standing, Verdict};

use crate::build_id::BuildId;
use crate::name::WorkerName;
use serde::{Deserialize, Serialize};

/// No build is repeated more often at once.
pub const MOST: u32 = 100;

/// `rebuild` of `build.toml`: what this build repeats, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    /// The build that it repeats.
    pub of: BuildId,
    /// Which of its rebuilds this is, from 1.
    pub number: u32,
    /// The others that were known when it was queued: this one is for somebody else than those who have these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<BuildId>,
    /// The workers that may run it; empty when any may, one that has not built it before others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<WorkerName>,
    /// What its worker is to make different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<Vary>,
}
