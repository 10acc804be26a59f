//! What was made of what, as the server has signed it.

use crate::out;
use crate::save::Saving;
use spool::error::{At, Result};
use spool::find::Build;
use std::io::Write;

/// Writes the envelope, once it is what the server has sealed.
pub fn write(build: &Build<'_>, begin: impl FnOnce() -> Result<Option<Saving>>) -> Result<()> {
    let envelope = build.provenance()?;
    let Some(mut saving) = begin()? else { return out::print(&envelope) };
    saving.write_all(envelope.as_bytes()).at("write", "the file")?;
    saving.keep()
}
