//! What a script left in its output directory: regular files, by path, size and content.

use crate::protocol::Offer;
use spool::artifact_path::ArtifactPath;
use spool::digest::Sha256;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The artifacts, sorted by path.
    pub offers: Vec<Offer>,
    /// Which of them have an execute bit.
    pub executable: Vec<ArtifactPath>,
    /// What was left out, a line each.
    pub skipped: Vec<String>,
    sources: BTreeMap<Sha256, PathBuf>,
}

impl Collected {
    /// A file with this content.
    pub fn source(&self, digest: &Sha256) -> Option<&Path> {
        self.sources.get(digest).map(PathBuf::as_path)
    }
}

/// Collects below a directory. Symlinks are never followed, so nothing outside is collected.
pub fn collect(root: &Path) -> Collected {
    let mut found = Collected::default();
    for entry in walkdir::WalkDir::new(root).follow_links(false).min_depth(1).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let path = e.path().unwrap_or(root).strip_prefix(root).unwrap_or(root).to_owned();
                let why = e.io_error().map_or("a loop".to_owned(), io::Error::to_string);
                found.skipped.push(format!("{}: {why}", shown(&path)));
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if let Err(why) = take(&mut found, entry.path(), relative, entry.file_type()) {
            found.skipped.push(format!("{}: {why}", shown(relative)));
        }
    }
    found
}

fn take(found: &mut Collected, path: &Path, relative: &Path, kind: std::fs::FileType) -> Result<(), String> {
    if kind.is_symlink() {
        return Err("a symbolic link".into());
    }
    if !kind.is_file() {
        return Err("not a regular file".into());
    }
    let name = relative.to_str().ok_or("its name is not UTF-8")?;
    let artifact: ArtifactPath = name.parse().map_err(|e: spool::Error| e.to_string())?;
    let file = File::open(path).map_err(|e| e.to_string())?;
    let executable = file.metadata().map_err(|e| e.to_string())?.mode() & 0o111 != 0;
    let (sha256, size) = Sha256::of_reader(file).map_err(|e| e.to_string())?;
    found.sources.entry(sha256).or_insert_with(|| path.to_owned());
    if executable {
        found.executable.push(artifact.clone());
    }
    found.offers.push(Offer { path: artifact, size, sha256 });
    Ok(())
}

fn shown(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string().chars().take(200).collect()
}
