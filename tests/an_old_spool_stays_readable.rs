//! The spools of earlier releases are read and gone on with; one of a later release is refused by every verb.
//!
//! `fixtures/spool-N.tar.gz` is a spool as the last release of format N left it; nobody changes it after that release.
//! `FIXTURE=overwrite cargo test --test an_old_spool_stays_readable` makes the one of the format that is current.

use harness::{Finished, Lab, PLATFORM, house};
use spool::Spool;
use spool::place::{End, Place};
use spool::spool::FORMAT;
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/spool-{format}.tar.gz"))
}

fn tar(words: &[&str], paths: [&Path; 2]) {
    let mut tar = Command::new("tar");
    tar.args(words).arg(paths[0]).arg("--directory").arg(paths[1]);
    if words.contains(&"--create") {
        tar.arg(".");
    }
    let done = Finished::of(&mut tar);
    assert_eq!(done.code, 0, "{done:?}");
}

/// A lab with a spool of an earlier release.
fn old(format: u32) -> Lab {
    let lab = Lab::new();
    std::fs::remove_dir_all(lab.root()).expect("removed");
    if std::env::var("FIXTURE").is_ok_and(|word| word == "overwrite") && format == FORMAT {
        assert!(std::env::var_os("CI").is_none(), "fixtures are not changed by CI");
        house::furnish(lab.root());
        let one_way = ["--create", "--gzip", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--file"];
        tar(&one_way, [&fixture(format), lab.root()]);
        std::fs::remove_dir_all(lab.root()).expect("removed");
    }
    std::fs::create_dir(lab.root()).expect("a directory");
    tar(&["--extract", "--no-same-owner", "--same-permissions", "--file"], [&fixture(format), lab.root()]);
    lab
}

#[test]
fn each_format_up_to_this_one_has_its_fixture_and_is_read() {
    for format in 1..=FORMAT {
        let lab = old(format);
        assert!(lab.ok(&["check", "--deep"]).starts_with("nothing is wrong with"));
        let listed = lab.ok(&["ls", "--json"]);
        for job in ["again", "daily", "good", "hello", "lost", "sad", "waits"] {
            assert!(listed.contains(&format!("\"{job}\"")), "{job}: {listed}");
        }
        assert!(lab.ok(&["show", "hello"]).contains("exited 0") && lab.ok(&["show", "sad"]).contains("exited 1"));
        assert_eq!(lab.ok(&["log", "again"]), "this is again\n");
        assert!(lab.ok(&["history", "again"]).contains("exited 0"));
        assert!(lab.ok(&["worker", "ls"]).contains("debian-12"));
        assert!(lab.ok(&["platform", "ls"]).contains("paused"));
        lab.ok(&["get", "hello", "--output", "got"]);
        let got = std::fs::read_to_string(lab.path("got/share/doc/text")).expect("an artifact");
        assert_eq!(got, "the text of hello\n");
        lab.check();
    }
}

#[test]
fn each_format_up_to_this_one_is_gone_on_with() {
    for format in 1..=FORMAT {
        let lab = old(format);
        let _daemon = lab.daemon();
        let _worker = lab.local_worker("v", &["--keep"]);
        let done = |job: &str| {
            let newest = lab.spool.newest_of(&job.parse().expect("a name"), None).expect("readable");
            newest.is_some_and(|build| build.place == Place::Ended(End::Done))
        };
        // `lost` was active, and somebody had asked for its end.
        harness::wait_for("what was queued is done, and what was running is over", || {
            let lost = lab.spool.newest_of(&"lost".parse().expect("a name"), None).expect("readable").expect("a build");
            ["good", "waits", "daily"].iter().all(|job| done(job)) && lost.place == Place::Ended(End::Failed)
        });
        lab.job("new", "echo new");
        assert_eq!(lab.finished(&lab.run("new")).place, Place::Ended(End::Done));
        lab.check();
    }
}

#[test]
fn keys_that_a_later_release_has_added_to_records_are_passed_over() {
    let lab = old(FORMAT);
    let mut records = 0;
    for entry in walkdir::WalkDir::new(lab.root()).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        let of_build = ["build.toml", "result.toml", "attempts.toml", "lease.toml"].contains(&name.as_ref());
        if of_build || name.ends_with(".seen") || name.ends_with(".health") {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            let later = format!("later = {{ what = [1, 2] }}\n{text}\n[moon]\nphase = \"new\"\n");
            std::fs::write(entry.path(), later).expect("written");
            records += 1;
        }
    }
    assert!(records > 10, "{records}");
    assert!(lab.ok(&["check", "--deep"]).starts_with("nothing is wrong with"));
    assert!(lab.ok(&["show", "hello"]).contains("exited 0"));
    let _worker = lab.local_worker("v", &["--keep"]);
    let good = lab.spool.newest_of(&"good".parse().expect("a name"), None).expect("readable").expect("a build");
    assert_eq!(lab.finished(good.id.as_str()).place, Place::Ended(End::Done));
}

#[test]
fn a_later_format_is_refused_by_everything_in_one_line_and_left_as_it_is() {
    let lab = old(FORMAT);
    std::fs::write(lab.root().join("format"), format!("{}\n", FORMAT + 1)).expect("written");
    let before = house::contents(lab.root());
    let script = lab.script("s", "true");
    let script = script.to_str().expect("UTF-8");
    let verbs = "init|ls|ls --json|next|watch|log hello|show hello|history hello|get hello|check|check --repair|set hello --every daily\
                 |edit hello --print|edit hello --from SCRIPT|rm hello|run hello|cancel lost|platform ls|platform pause debian-12\
                 |platform drop debian-12|drain|drain --off|add new SCRIPT --platform debian-12|worker ls|worker rm w|worker release w\
                 |worker add v SCRIPT --platform debian-12";
    let refused = |done: &Finished, what: &str| {
        assert_eq!(done.code, 78, "{what}: {done:?}");
        assert!(
            done.stderr.contains("newer than") && done.stderr.contains("; use the builder that"),
            "{what}: {done:?}"
        );
        done.stderr.lines().count()
    };
    for verb in verbs.split('|') {
        let words: Vec<&str> =
            verb.split_whitespace().map(|word| if word == "SCRIPT" { script } else { word }).collect();
        assert_eq!(refused(&lab.builder(&words), verb), 1, "{verb}");
    }
    assert_eq!(refused(&Finished::of(lab.program("builderd").arg("--once")), "builderd"), 1);
    let run = |words: &[&str]| Finished::of(lab.program("builder-run").args(words));
    let root = lab.root().to_str().expect("UTF-8");
    refused(&run(&["serve", "--spool", root, "--worker", "w"]), "serve");
    refused(&run(&["authorized-keys", "--spool", root]), "authorized-keys");
    let worker = ["worker", "--local", root, "--platform", PLATFORM, "--name", "w", "--work", "work"];
    assert_ne!(run(&worker).code, 0);
    assert!(Spool::init(lab.root()).is_err());
    assert_eq!(house::contents(lab.root()), before);
}
