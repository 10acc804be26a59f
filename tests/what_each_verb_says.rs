//! Every verb, in golden/VERB.console: where it does what it is told, and each way in which it refuses.
//!
//! The same files are run on the spool itself and on another machine, with a key of the role admin. What they are made of
//! stands in harness/golden.rs. To take over what is said now, and then look at the difference:
//!
//! GOLDEN=overwrite cargo test --test what_each_verb_says -- --test-threads=1; git diff tests/golden

use harness::golden::{self, Place};
use harness::{Finished, binary};
use std::path::{Path, PathBuf};
use std::process::Command;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn holds(name: &str, place: Place) {
    golden::holds(&directory().join(format!("{name}.console")), place);
}

/// Two tests for each file.
macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        mod here { $(#[test] fn $name() { super::holds(stringify!($name), super::Place::Here); })* }
        mod afar { $(#[test] fn $name() { super::holds(stringify!($name), super::Place::Afar); })* }
    };
}

files! {
    init add set edit rm run ls status next watch log show diff find verify repro verify_signature get latest pin unpin import export gc cancel history platform template drain check worker setup doctor gate completion
}

#[test]
fn each_verb_has_its_file_and_each_file_its_test() {
    let names = std::fs::read_dir(directory()).expect("the files").flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    let mut listed: Vec<String> =
        FILES.iter().chain(&["without_builderd"]).map(|name| format!("{name}.console")).collect();
    listed.sort();
    assert_eq!(names, listed);
    let help = Finished::of(Command::new(binary("builder")).arg("--help")).stdout;
    let (_, verbs) = help.split_once("Commands:\n").expect("the verbs");
    let verbs = verbs.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    for verb in verbs.filter_map(|line| line.trim_start().split(' ').next()).filter(|verb| *verb != "help") {
        assert!(FILES.contains(&verb.replace('-', "_").as_str()), "{verb} has no golden file");
    }
}

/// Whoever owns the spool needs no builderd, and whoever does not is told that it is down.
#[test]
fn without_builderd() {
    if harness::is_superuser() {
        holds("without_builderd", Place::Here);
    }
}
