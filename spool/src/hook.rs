//! Hooks: programs that builderd runs when a build is over. One that others could have written is none.

use crate::disk;
use crate::error::Result;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The programs in a directory that are named as hooks are, by letters, digits, `_` and `-`, in their order.
///
/// # Errors
/// When the directory can't be read; one that is not there has none.
pub fn all(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut names = disk::names(directory)?;
    names.retain(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).filter(|path| is_program(path)).collect())
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether nobody but the spool's owner, by this number, and the superuser can change it.
pub fn is_trusted(path: &Path, owner: u32) -> bool {
    path.metadata().is_ok_and(|meta| (meta.uid() == owner || meta.uid() == 0) && meta.mode() & 0o022 == 0)
}
