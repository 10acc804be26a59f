//! Removes what scripts have left, whatever they did against that.
#![allow(clippy::disallowed_methods)]

use std::fs::{Permissions, remove_dir_all, set_permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// How deep a tree is that is removed without a file descriptor for each of its levels. So many names of 255 bytes still are a
/// path of less than PATH_MAX.
const SHALLOW: usize = 8;

/// Removes a tree, also one whose directories a script made unwritable, or so deep that it takes more file descriptors than
/// there are. What is gone is fine.
///
/// # Errors
/// Some of it can't be removed.
pub fn stubborn(root: &Path) -> Result<()> {
    if remove(root).is_ok() {
        return Ok(());
    }
    flatten(root);
    remove(root)
}

/// As [`stubborn`]; what is left is only told of.
pub fn or_warn(root: &Path) {
    if let Err(e) = stubborn(root) {
        tracing::warn!("can't remove {}: {e}", root.display());
    }
}

fn remove(root: &Path) -> Result<()> {
    match remove_dir_all(root) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes each directory writable and moves the deep ones up, so that every path in the tree is short.
fn flatten(root: &Path) {
    let (mut waiting, mut names) = (vec![root.to_owned()], 0..);
    while let Some(top) = waiting.pop() {
        let entries = WalkDir::new(&top).max_depth(SHALLOW).into_iter().flatten();
        for directory in entries.filter(|entry| entry.file_type().is_dir()) {
            let _ = set_permissions(directory.path(), Permissions::from_mode(0o700));
            if directory.depth() == SHALLOW {
                waiting.extend(moved(root, &directory, &mut names));
            }
        }
    }
}

/// Where a directory is now, if it could be moved. A name that a script has taken is left to it.
fn moved(root: &Path, directory: &DirEntry, names: &mut impl Iterator<Item = u32>) -> Option<PathBuf> {
    let taken = [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty, ErrorKind::NotADirectory];
    for number in names {
        let place = root.join(format!("deep.{number}"));
        match std::fs::rename(directory.path(), &place) {
            Ok(()) => return Some(place),
            Err(e) if taken.contains(&e.kind()) => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own, since a limit is that of all its threads.
    #[test]
    fn a_deep_tree_goes() {
        const ALONE: &str = "FEW_DESCRIPTORS";
        if std::env::var_os(ALONE).is_none() {
            let mut alone = std::process::Command::new("sh");
            alone.args(["-c", "ulimit -n 512 && exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
            alone.args(["--exact", "worker::remove::tests::a_deep_tree_goes"]).env(ALONE, "");
            let said = alone.output().unwrap();
            assert!(String::from_utf8_lossy(&said.stdout).contains("1 passed"), "{said:?}");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("build");
        // Its whole path is longer than any that can be named.
        let name = "d".repeat(200);
        std::fs::create_dir(&top).unwrap();
        for _ in 0..1500 {
            let above = place.path().join("above");
            std::fs::create_dir(&above).unwrap();
            std::fs::rename(&top, above.join(&name)).unwrap();
            std::fs::rename(&above, &top).unwrap();
        }
        std::fs::create_dir_all(top.join("deep.0/x")).unwrap();
        std::fs::write(top.join("deep.1"), "").unwrap();
        stubborn(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn what_is_gone_is_fine_and_what_stays_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        stubborn(&place.path().join("nothing")).unwrap();
        assert!(stubborn(Path::new("/proc/self/task")).is_err());
    }
}
