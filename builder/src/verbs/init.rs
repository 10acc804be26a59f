//! `builder init`: a spool with its modes.

use crate::out;
use spool::error::Result;
use spool::spool::Made;
use spool::{Spool, durability, owner};
use std::path::Path;

/// Makes the spool, or what is missing of it.
pub fn run(root: &Path) -> Result<()> {
    if let Ok(spool) = Spool::open(root) {
        owner::become_owner(&spool)?;
    }
    owner::make_readable();
    let (spool, made) = Spool::init(root)?;
    let root = spool.layout().root();
    if let Some(weakness) = durability::weakness(root) {
        out::hint(&format!("warning: {weakness}"));
    }
    out::print(&match made {
        Made::New => format!("made a spool at {}\n", root.display()),
        Made::Completed => format!("the spool at {} is whole\n", root.display()),
    })
}
