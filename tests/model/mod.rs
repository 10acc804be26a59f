//! A model of a spool: which builds there are, in which state, and who has them.

pub mod operation;
mod workers;
pub mod world;

/// How many of each there are.
pub const JOBS: usize = 3;
pub const PLATFORMS: usize = 2;
pub const WORKERS: usize = 3;
