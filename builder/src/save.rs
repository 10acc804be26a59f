//! A file of the caller's that is there whole or not at all.

use crate::out;
use spool::error::{At, Error, Kind, Result};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file in the making, beside its place; it goes unless it is kept.
#[derive(Debug)]
pub struct Saving {
    file: NamedTempFile,
    to: PathBuf,
}

impl Saving {
    /// Begins a file, which must not be there.
    pub fn begin(to: &Path) -> Result<Saving> {
        if to.symlink_metadata().is_ok() {
            return Err(Error::new(Kind::CantCreate, format!("{} is there already", to.display()))
                .hint("give another one with -o, or remove it first"));
        }
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside = tempfile::Builder::new();
        // The umask takes some of it away.
        beside.prefix(".builder-").permissions(Permissions::from_mode(0o666));
        Ok(Saving { file: beside.tempfile_in(parent).at("create", to)?, to: to.to_owned() })
    }

    /// Gives it its name, over nothing, and prints that.
    pub fn keep(self) -> Result<()> {
        self.file.persist_noclobber(&self.to).map_err(|e| e.error).at("create", &self.to)?;
        out::print(&format!("{}\n", self.to.display()))
    }
}

impl Write for Saving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
