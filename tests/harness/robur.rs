//! Files of robur's builder, made by openssl(1) of the descriptions in `robur/`.

use crate::Lab;
use std::path::{Path, PathBuf};

/// A file of `robur/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("robur").join(name)
}

/// A path as a word.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What a file of `robur/` holds.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).expect("a fixture")
}

/// All that lies in the spool, but for locks and what is empty, with its bytes.
pub fn contents(lab: &Lab) -> Vec<(PathBuf, Vec<u8>)> {
    let all = walkdir::WalkDir::new(lab.root()).sort_by_file_name().into_iter().flatten();
    let files = all.filter(|entry| entry.file_type().is_file() && entry.file_name() != ".lock");
    files.map(|entry| (entry.path().to_owned(), std::fs::read(entry.path()).expect("readable"))).collect()
}

/// Lets a file come in. Returns the build's id.
pub fn import(lab: &Lab, path: &Path) -> String {
    let said = lab.ok(&["import", text(path)]);
    said.trim().strip_prefix("imported ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// Whatever is wrong with a file, one line says where, and nothing has come in.
pub fn refused(lab: &Lab, bytes: &[u8], says: &str) {
    let file = lab.path("bad");
    std::fs::write(&file, bytes).expect("written");
    let done = lab.builder(&["import", text(&file)]);
    done.refused(65, says);
    assert!(done.stderr.contains(&format!("builder: {}: byte ", file.display())), "{done:?}");
}

/// A build, with a part of it that must be there exchanged for another one of the same length.
pub fn with(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut whole = bytes("full-exited.der");
    let at = whole.windows(from.len()).position(|window| window == from).expect("the part");
    whole[at..at + to.len()].copy_from_slice(to);
    whole
}
