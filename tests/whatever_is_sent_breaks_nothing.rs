//! Whatever is sent breaks nothing: what a fuzzer has found interesting, and what it has broken, again.
//!
//! The promises are those of the package `fuzz`; SECURITY.md says how a fuzzer is let loose on them.

use std::path::{Path, PathBuf};

fn files(directory: &str, target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(directory).join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let (_, promise) = fuzz::TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let corpus = files("corpus", target);
    assert!(corpus.len() >= 5, "{target} has {} files to begin with", corpus.len());
    for file in corpus.iter().chain(&files("regressions", target)) {
        let bytes = std::fs::read(file).expect("a file");
        if std::panic::catch_unwind(|| promise(&bytes)).is_err() {
            panic!("{} breaks a promise", file.display());
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets!(command cron job records robur session sftp template);

/// A target that nobody replays, or that no fuzzer gets at, would be forgotten.
#[test]
fn each_target_is_replayed_and_known_to_cargo_fuzz() {
    let names: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REPLAYED);
    for name in names {
        let program = include_str!("../fuzz/cargo/Cargo.toml").contains(&format!("path = \"fuzz_targets/{name}.rs\""));
        assert!(program, "{name} is not in fuzz/cargo/Cargo.toml");
    }
}
