//! What a person types, and which build, job or artifact they get.

use harness::{Lab, PLATFORM, wait_for};
use spool::place::Place;
use std::os::unix::fs::PermissionsExt;

#[test]
fn any_part_of_an_id_that_only_one_build_has_will_do() {
    let lab = Lab::new();
    lab.job("first", "true");
    lab.job("second", "true");
    let (first, second) = (lab.run("first"), lab.run("second"));
    let tail = &first[first.len() - 6..];
    assert!(lab.ok(&["show", tail]).contains(&first));
    assert!(lab.ok(&["show", "second"]).contains(&second), "a job's name is its newest build");
    lab.builder(&["show", &first[..9]]).refused(64, "fits more than one build");
    lab.builder(&["show", ""]).refused(66, "there is no build");
}

#[test]
fn what_somebody_waits_for_goes_before_what_timers_queued() {
    let lab = Lab::new();
    let script = lab.script("s", "true");
    let script = script.to_str().expect("UTF-8");
    let timed = lab.ok(&["add", "timed", script, "--platform", PLATFORM, "--every", "daily"]);
    lab.job("asked", "true");
    let asked = lab.run("asked");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    assert!(matches!(lab.build(&asked).place, Place::Ended(_)));
    assert!(matches!(lab.build(timed.trim()).place, Place::Queued(_)));
    assert_eq!(lab.run("timed"), timed.trim(), "it is in its queue once, and in front now");
    assert!(lab.ok(&["ls", "--json"]).contains("\"priority\": 10"));
}

#[test]
fn a_platform_has_its_own_queue_and_its_own_builds() {
    let lab = Lab::new();
    let script = lab.script("s", "echo on $BUILDER_PLATFORM");
    let script = script.to_str().expect("UTF-8");
    lab.ok(&["add", "both", script, "--platform", PLATFORM, "--platform", "freebsd-14", "--every", "never"]);
    let ids = lab.ok(&["run", "both"]);
    assert_eq!(ids.lines().count(), 2);
    let _worker = lab.local_worker("w", &["--keep"]);
    wait_for("the one is over", || lab.ended().len() == 1);
    let watched = lab.builder(&["watch", "both", "--platform", PLATFORM]);
    assert!(watched.stdout.ends_with("] on debian-12\n"), "{watched:?}");
    lab.builder(&["watch", "--platform", "freebsd-14"]).refused(66, "no build runs on freebsd-14");
    lab.ok(&["run", "both", "--platform", PLATFORM]);
    wait_for("the other is over", || lab.ended().len() == 2);
    assert_eq!(lab.spool.open_builds().expect("builds").len(), 1, "nobody builds for freebsd-14");
}

#[test]
fn listings_come_as_json_with_the_same_in_them() {
    let lab = Lab::new();
    let _key = lab.add_worker("jail1");
    let script = lab.script("s", "echo x > artifact");
    lab.ok(&["add", "job", script.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "weekly"]);
    let json = |words: &[&str]| serde_json::from_str::<serde_json::Value>(&lab.ok(words)).expect("JSON");
    let listing = json(&["ls", "--json"]);
    assert_eq!(listing["jobs"][0]["schedule"], "weekly");
    assert_eq!(listing["queued"][0]["platform"], PLATFORM);
    assert_eq!(listing["workers"][0]["name"], "jail1");
    assert_eq!(json(&["worker", "ls", "--json"])[0]["connected"], false);
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    let record = json(&["show", "job", "--json"]);
    assert_eq!(record["state"], "done");
    assert_eq!(record["result"]["outcome"]["kind"], "exited");
    assert_eq!(record["artifacts"][0]["path"], "artifact");
    assert_eq!(record["artifacts"][0]["size"], 2);
}

#[test]
fn get_gives_what_the_record_says_or_nothing() {
    let lab = Lab::new();
    lab.job("files", "mkdir -p a/b; echo one > a/one; echo two > a/b/two; echo three > three");
    let id = lab.run("files");
    lab.builder(&["get", &id]).refused(75, "is not over");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    assert_eq!(lab.ok(&["get", "files", "a", "-o", "out"]), "out/a/b/two\nout/a/one\n");
    lab.builder(&["get", "files", "four", "-o", "out"]).refused(66, "no artifact `four`");
    lab.builder(&["get", "files", "-o", "out"]).refused(73, "is there already; nothing was copied");
    assert!(!lab.path("out/three").exists());
    let damaged = lab.build(&id).dir().join("artifacts/three");
    std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    std::fs::write(&damaged, "thrEe\n").expect("damage");
    lab.builder(&["get", "files", "-o", "out", "--force"]).refused(65, "is damaged");
    assert!(!lab.path("out/three").exists(), "nothing wrong is handed out");
    assert!(std::fs::read_dir(lab.path("out")).expect("what was copied").flatten().all(|e| e.file_name() == "a"));
}
