//! Of a build that was sealed no byte changes unnoticed: `builder check --deep` names the file, whatever has happened to it.

use harness::Lab;
use harness::sealed::{Change, changed, signed};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// All files of a build, and the contents of the store that it links.
fn files_of(lab: &Lab, dir: &Path) -> Vec<PathBuf> {
    let files = |root: &Path| -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().flatten();
        all.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    };
    [files(dir), files(&lab.root().join("store"))].concat()
}

#[test]
fn each_byte_of_a_sealed_build_and_of_the_store_is_vouched_for() {
    let lab = Lab::below(Path::new("/dev/shm"));
    let (dir, _) = signed(&lab, &[]);
    let files = files_of(&lab, &dir);
    let in_build = files.iter().filter(|path| path.starts_with(&dir)).count();
    assert!(in_build >= 16 && files.len() > in_build + 5, "{files:#?}");
    for path in &files {
        let length = std::fs::read(path).expect("a file").len();
        // Of what says who has signed each byte, of others some.
        let own = ["seal", "seal.sig", "statement.sig"].iter().any(|name| path.ends_with(name));
        let step = if own { 7 } else { (length / 3).max(1) };
        let flips = (0..length).step_by(step).chain([length - 1]).map(Change::Flipped);
        let in_store = path.starts_with(lab.root().join("store"));
        for change in flips.chain([Change::Cut, Change::Longer, Change::Gone]) {
            let findings = changed(path, change, || lab.spool.check(true).expect("readable").findings);
            // Of a content that is gone the builds that have it are named.
            let named = findings.iter().any(|one| one.path == *path || in_store || path.ends_with("seal.sig"));
            assert!(named, "{change:?} of {}: {findings:#?}", path.display());
        }
    }
    lab.check();
}

#[test]
fn what_a_repair_has_noted_is_not_said_again() {
    let lab = Lab::below(Path::new("/dev/shm"));
    let (dir, id) = signed(&lab, &[]);
    let names = spool::disk::names(&dir).expect("readable");
    assert!(names.len() > 12, "{names:?}");
    for name in names.iter().filter(|name| *name != "artifacts") {
        let path = dir.join(name);
        let length = std::fs::read(&path).expect("a file").len();
        for change in [Change::Flipped(length / 2), Change::Cut, Change::Gone] {
            changed(&path, change, || {
                let damaged = lab.path("damaged");
                harness::put_copy(lab.root(), &damaged);
                let spool = spool::Spool::open(&damaged).expect("a spool");
                let said = spool.repair(true, spool::clock::now()).expect("repaired");
                let left = said.checked.findings;
                // A record that says something else than the files do accuses them, too.
                let accused = |path: &Path| name == "result.toml" || path.ends_with("result.toml");
                let for_humans = left.iter().all(|one| accused(&one.path) && !one.cure.is_known());
                assert!(for_humans, "{change:?} of {name}: {left:#?}");
                let again = spool.repair(true, spool::clock::now()).expect("repaired");
                assert!(again.done.is_empty(), "{change:?} of {name}: {:#?}", again.done);
                // Of the times of a console that was cut those that can be true stay.
                let times = damaged.join(dir.strip_prefix(lab.root()).expect("below")).join("console.times");
                assert!(name != "console.log" || times.exists(), "{change:?}");
            });
        }
    }
    // An operator's hand is no damage.
    lab.ok(&["pin", &id]);
    lab.check();
    assert_eq!(lab.builder(&["verify-signature", &id]).code, 0);
    lab.ok(&["unpin", &id]);
    // What a human lets stay is left alone, and an auditor is told all the same.
    std::fs::set_permissions(dir.join("result.toml"), PermissionsExt::from_mode(0o644)).expect("a mode");
    let text = std::fs::read_to_string(dir.join("result.toml")).expect("a result");
    std::fs::write(dir.join("result.toml"), format!("{text}\n")).expect("written");
    assert_eq!(lab.builder(&["check", "--deep"]).code, 65);
    std::fs::write(dir.join("lost"), "result.toml\n").expect("written");
    lab.check();
    let refused = lab.builder(&["verify-signature", &id]);
    assert!(refused.code == 1 && refused.stdout.contains("result.toml: it is not what it was"), "{refused:?}");
}

#[test]
fn a_file_that_came_later_is_named() {
    let lab = Lab::new();
    let (dir, id) = signed(&lab, &[]);
    let later = dir.join("console.log.1");
    std::fs::write(&later, "something\n").expect("written");
    let findings = lab.spool.check(true).expect("readable").findings;
    assert!(findings.len() == 1 && findings[0].path == later, "{findings:#?}");
    let refused = lab.builder(&["verify-signature", &id]);
    assert!(refused.code == 1 && refused.stdout.contains("console.log.1: it was not there"), "{refused:?}");
    lab.ok(&["check", "--deep", "--repair"]);
    assert_eq!(lab.builder(&["verify-signature", &id]).code, 0);
}

#[test]
fn a_build_in_the_place_of_another_one_is_named() {
    let lab = Lab::new();
    let (dir, id) = signed(&lab, &[]);
    let other = dir.with_file_name(id.replace("-job@", "-jab@"));
    std::fs::rename(&dir, &other).expect("renamed");
    let findings = lab.spool.check(true).expect("readable").findings;
    assert!(findings.iter().any(|one| one.wrong == format!("it is of the build {id}")), "{findings:#?}");
    let refused = lab.builder(&["verify-signature", "jab"]);
    assert!(refused.code == 1 && refused.stdout.contains("it is of another build"), "{refused:?}");
}
