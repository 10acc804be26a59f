//! Both ends of builder's SSH session.
//!
//! `builder-run worker` runs in a jail, a container or on a machine of its own: it connects, waits for a build,
//! runs its script in a fresh directory and sends back what it printed and left. `builder-run serve` is the
//! forced command of the worker's key on the server: it hands out builds and writes them down in the spool.
//!
//! SECURITY. `serve` trusts nothing that comes from the worker: names are parsed, lengths are bounded, and
//! the only paths that it makes are the spool's own. A worker reaches the build that it holds and no other.

pub mod args;
pub mod keys;
pub mod protocol;
pub mod serve;
pub mod sftp;
pub mod worker;
