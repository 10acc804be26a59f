//! The spool directory of builder: names, layout, transitions, store.
//!
//! A directory is a state and a rename is a transition. Whatever a build needs is complete and durable under
//! `tmp/` before the rename that publishes it; then the directory that got the name is synced. Renames never
//! replace anything, so of two who want the same build one wins, and the other is told.
//!
//! Four locks: an active build's directory is locked by the process that serves it ([`held::HeldBuild`]),
//! a shard of the store is locked shared by publishers, exclusively by the garbage collector
//! ([`store::Store`]), `jobs/.lock` by whoever changes a job or fires its timer, and `active/.lock` by whoever
//! claims a build. `spool-layout.md` has every file.
//!
//! There is no async, no network and no terminal in this crate.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod artifact_path;
mod backoff;
pub mod build_id;
pub mod check;
pub mod clock;
pub mod compare;
pub mod config;
pub mod console;
pub mod digest;
pub mod disk;
pub mod door;
pub mod durability;
mod ended;
pub mod ending;
pub mod error;
pub mod find;
pub mod health;
pub mod held;
pub mod hook;
pub mod import;
pub mod index;
pub mod inputs;
pub mod job;
pub mod keep;
pub mod latest;
pub mod launch;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod mend;
pub mod name;
pub mod owner;
pub mod place;
pub mod platform;
pub mod queue;
pub mod rebuild;
pub mod record;
pub mod resume;
pub mod role;
pub mod room;
pub mod schedule;
pub mod secret;
pub mod session;
pub mod sign;
pub mod spool;
pub mod status;
pub mod store;
pub mod suggest;
pub mod template;
pub mod tmp;
pub mod upload;
pub mod usual;
pub mod wake;
pub mod worker;

pub use error::{At, Error, Kind, Result};
pub use spool::Spool;
