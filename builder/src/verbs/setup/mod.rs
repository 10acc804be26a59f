//! `builder setup`: a server and a worker that find each other. Each side prints the line that the other one needs; nothing
//! is taken on trust.

mod address;
mod host_key;
mod key;
mod server;
mod worker;

pub use address::Address;
pub use host_key::is_known;
pub use server::run as server;
pub use worker::{Files, run as worker};

use spool::error::{Error, Kind, Result};

/// This machine's name, as far as it knows.
fn host_name() -> Result<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match name.is_empty() {
        true => Err(Error::new(Kind::Config, "this machine has no name").hint("give one with --name")),
        false => Ok(name),
    }
}
