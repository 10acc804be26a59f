//! Builds and schedules of robur's builder come in as what they are, whole or not at all, and builds go out as they came.
//!
//! What comes in is made by openssl(1) of the descriptions in `robur/`, and not by anything of ours.

use harness::robur::{bytes, contents, fixture, import, refused, text, with};
use harness::{Finished, Lab, PLATFORM};
use jiff::Timestamp;
use serde_json::{Value, json};
use spool::job::Platforms;
use spool::place::Priority;
use spool::platform::State;
use spool::schedule::Every;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

fn descriptions() -> Vec<PathBuf> {
    let all = std::fs::read_dir(fixture("")).expect("the fixtures").flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    all.sort();
    all
}

fn shown(lab: &Lab, id: &str) -> Value {
    serde_json::from_str(&lab.ok(&["show", id, "--json"])).expect("JSON")
}

fn exported(lab: &Lab, build: &str) -> Vec<u8> {
    let output = lab.program("builder").args(["export", "--full", build]).output().expect("builder");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_fixtures_are_what_openssl_makes_of_their_descriptions() {
    let lab = Lab::new();
    let all = descriptions();
    assert!(all.len() >= 8, "{all:?}");
    for description in all {
        let made = lab.path("made.der");
        let mut openssl = Command::new("openssl");
        openssl.args(["asn1parse", "-noout", "-genconf"]).arg(&description).arg("-out").arg(&made);
        let done = Finished::of(&mut openssl);
        assert_eq!(done.code, 0, "{done:?}");
        let kept = std::fs::read(description.with_extension("der")).expect("what is kept");
        assert_eq!(std::fs::read(made).expect("what is made"), kept, "{}", description.display());
    }
}

#[test]
fn each_field_of_a_build_comes_in() {
    let lab = Lab::new();
    let id = import(&lab, &fixture("full-exited.der"));
    assert!(id.starts_with("20260102T030405.067Z-hello@debian-12-"), "{id}");
    let record = shown(&lab, &id);
    assert_eq!(record["state"], "done");
    assert_eq!(record["request"]["origin"], "import");
    assert_eq!(record["request"]["uuid"], "0f1e2d3c-4b5a-4978-a7b6-c5d4e3f2ff80");
    let result = &record["result"];
    assert_eq!(result["outcome"], json!({"kind": "exited", "code": 0}));
    assert_eq!(
        (&result["started"], &result["finished"]),
        (&json!("2026-01-02T03:04:05.067Z"), &json!("2026-01-02T03:04:07Z"))
    );
    assert_eq!((&result["duration_ms"], &result["worker"]), (&json!(1933), &Value::Null));
    assert_eq!((&result["artifacts"], &result["artifact_bytes"]), (&json!(3), &json!(17)));
    assert_eq!((&result["main"]["path"], &result["inputs"]), (&json!("bin/hello"), &json!(["build-environment"])));
    let dir = lab.build(&id).dir();
    let read = |name: &str| std::fs::read(dir.join(name)).expect("a file");
    assert_eq!(read("script"), b"#!/bin/sh\necho hello\n");
    assert_eq!(read("console.log"), b"hello\n\nzw\xc3\xb6lf\n\xff\xfe\x00\n");
    assert_eq!(read("console.times"), b"0 6\n1001 1\n1001 7\n1500 4\n");
    assert_eq!(read("artifacts/bin/hello"), b"\x7fELF\xff\x00");
    assert_eq!(read("artifacts/build-environment"), b"HOME=/root\n");
    assert_eq!(read("artifacts/empty"), b"");
    assert!(lab.ok(&["log", "--times", &id]).contains("1.001] zwölf\n"));
    // It is over, and nothing follows from that.
    assert!(lab.spool.owing().expect("readable").is_empty());
    lab.check();
}

#[test]
fn each_end_of_a_build_is_known() {
    let lab = Lab::new();
    for (name, platform, outcome) in [
        ("full-old.der", "no-platform", json!({"kind": "exited", "code": 3})),
        ("full-signalled.der", PLATFORM, json!({"kind": "signalled", "signal": 9})),
        ("full-signalled-here.der", PLATFORM, json!({"kind": "signalled", "signal": 15})),
        ("full-stopped.der", PLATFORM, json!({"kind": "aborted", "reason": "stopped by signal 19"})),
        ("full-timeout.der", PLATFORM, json!({"kind": "timed-out"})),
        ("full-message.der", PLATFORM, json!({"kind": "aborted", "reason": "path already existed"})),
    ] {
        let id = import(&lab, &fixture(name));
        assert!(id.contains(&format!("@{platform}-")), "{id}");
        let record = shown(&lab, &id);
        assert_eq!((&record["state"], &record["result"]["outcome"]), (&json!("failed"), &outcome), "{name}");
    }
    let old = shown(&lab, "old");
    assert_eq!(old["result"]["started"], "2021-01-02T03:04:05Z");
    assert_eq!(old["result"]["skipped"], json!(["input.txt: laid beside the script"]));
    lab.check();
}

#[test]
fn what_came_in_goes_out_as_the_same_bytes() {
    let lab = Lab::new();
    for name in ["full-exited.der", "full-signalled-here.der", "full-timeout.der", "full-message.der"] {
        let id = import(&lab, &fixture(name));
        assert!(exported(&lab, &id) == bytes(name), "{name} has changed");
    }
}

#[test]
fn a_build_of_ours_goes_out_the_same_each_time_and_is_the_same_elsewhere() {
    let lab = Lab::new();
    let script = "echo one; printf 'tw'; sleep 0.1; printf 'o\\nthree'; mkdir bin; printf '\\377\\000' >bin/x; \
                  head -c 200000 /dev/zero >zeros; exit 7";
    lab.job("ours", script);
    let id = lab.run("ours");
    lab.builder(&["export", "--full", &id]).refused(75, "is not over");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    let bytes = exported(&lab, &id);
    assert_eq!(exported(&lab, "ours"), bytes);
    let (other, file) = (Lab::new(), lab.path("full"));
    std::fs::write(&file, &bytes).expect("written");
    let there = import(&other, &file);
    assert_eq!(exported(&other, &there), bytes, "it has another name there, and the same UUID");
    let (here, there) = (lab.build(&id), other.build(&there));
    assert_eq!(here.manifest().expect("readable"), there.manifest().expect("readable"));
    let result = |build: &spool::find::Build<'_>| build.result().expect("readable").expect("a result");
    assert_eq!(result(&here).outcome, result(&there).outcome);
    // What has no newline at its end gets one: robur's builder knows lines.
    assert_eq!(other.ok(&["log", "ours"]), "one\ntwo\nthree\n");
    other.check();
}

#[test]
fn a_damaged_build_is_not_sent() {
    let lab = Lab::new();
    let id = import(&lab, &fixture("full-exited.der"));
    let artifact = lab.build(&id).dir().join("artifacts/bin/hello");
    std::fs::remove_file(&artifact).expect("removed");
    std::fs::write(&artifact, "\x7fELF..").expect("written");
    let refused = lab.builder(&["export", "--full", &id]);
    refused.refused(65, "is damaged");
    assert_eq!(refused.stdout, "");
}

#[test]
fn twice_is_once() {
    let lab = Lab::new();
    let file = fixture("full-exited.der");
    let id = import(&lab, &file);
    let before = contents(&lab);
    for _ in 0..2 {
        assert_eq!(lab.ok(&["import", text(&file)]), format!("{id} was there already\n"));
    }
    assert_eq!(contents(&lab), before);
    // Another build of the same name is not taken for it.
    let record = lab.build(&id).dir().join("build.toml");
    let request = std::fs::read_to_string(&record).expect("readable").replace("0f1e2d3c", "0f1e2d3d");
    std::fs::write(&record, request).expect("written");
    lab.builder(&["import", text(&file)]).refused(73, "is another build");
}

#[test]
fn two_at_once_are_one() {
    let lab = Lab::new();
    let file = fixture("full-exited.der");
    let said: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| lab.ok(&["import", text(&file)]))).collect();
        all.into_iter().map(|one| one.join().expect("it ends")).collect()
    });
    assert_eq!(said.iter().filter(|said| said.starts_with("imported ")).count(), 1, "{said:?}");
    assert_eq!(lab.ended().len(), 1);
    lab.check();
}

#[test]
fn of_several_files_each_is_for_itself_and_directories_are_searched() {
    let lab = Lab::new();
    let put = |path: &str, bytes: &[u8]| {
        let path = lab.path("robur").join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    put("hello/1/full", &bytes("full-exited.der"));
    put("message/2/full", &bytes("full-message.der"));
    put("old/3/full", &bytes("full-old.der")[..40]);
    put("timeout/4/full", &bytes("full-timeout.der"));
    put("timeout/4/other", b"");
    put("state", &bytes("state.der"));
    let done = lab.builder(&["import", "robur", "nowhere"]);
    assert_eq!(done.code, 65, "the first that was refused: {done:?}");
    let jobs: Vec<&str> = done.stdout.lines().map(|line| line.split(['Z', '@']).nth(1).expect("an id")).collect();
    assert_eq!(jobs, ["-hello", "-message", "-timeout"], "{done:?}");
    let complaints: Vec<&str> = done.stderr.lines().collect();
    assert!(complaints.len() == 2 && complaints[0].contains("robur/old/3/full: byte 1"), "{done:?}");
    assert!(complaints[1].contains("can't read nowhere"), "{done:?}");
    assert!(lab.spool.job_names().expect("readable").is_empty(), "a state is named, or it is left alone");
    std::fs::create_dir(lab.path("empty")).expect("made");
    lab.builder(&["import", "empty"]).refused(66, "no file below empty is called full");
    lab.check();
}

#[test]
fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let lab = Lab::new();
    let before = contents(&lab);
    let said = lab.ok(&["import", "-n", text(&fixture("full-exited.der"))]);
    assert!(said.starts_with("would import 20260102T030405.067Z-hello@debian-12-"), "{said}");
    refused(&lab, &with(b"bin/hello", b"../../etc"), "output.path");
    lab.builder(&["import", "-n", text(&lab.path("bad"))]).refused(65, "output.path");
    configure_templates(&lab);
    let said = lab.ok(&["import", "-n", text(&fixture("state.der"))]);
    assert_eq!(
        said,
        "would add job dns on all, daily, next 2099-12-30T00:00:00Z\n\
         would add job hourly on debian-12, hourly, next 2099-12-31T23:59:59.999Z\n\
         would add job never on freebsd-14, never\n\
         would add job old on debian-12, daily, next 2049-12-31T00:00:00Z\n\
         would add job once on debian-12, never\n\
         would add job weekly on debian-12, weekly, next 2099-12-31T00:00:00Z\n\
         would queue weekly on debian-12\n\
         would queue dns on debian-12\n\
         would queue once on debian-12\n\
         would drop platform freebsd-12\n"
    );
    assert_eq!(contents(&lab), before);
}

fn configure_templates(lab: &Lab) {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    lab.configure(&format!("templates = {:?}", text(&templates)));
}

#[test]
fn a_schedule_comes_in_with_what_waits_and_what_is_dropped() {
    let lab = Lab::new();
    configure_templates(&lab);
    lab.ok(&["import", text(&fixture("state.der"))]);
    let at = |text: &str| Some(text.parse::<Timestamp>().expect("a moment"));
    for (name, platforms, every, first, script) in [
        ("hourly", PLATFORM, Every::Hourly, at("2099-12-31T23:59:59.999Z"), "echo hourly\n"),
        ("weekly", PLATFORM, Every::Weekly, at("2099-12-31T00:00:00Z"), "echo weekly\n"),
        ("never", "freebsd-14", Every::Never, None, "echo never\n"),
        ("old", PLATFORM, Every::Daily, at("2049-12-31T00:00:00Z"), "echo old\n"),
        ("once", PLATFORM, Every::Never, None, "echo once\n"),
    ] {
        let job = lab.spool.job(&name.parse().expect("a name")).expect("a job");
        assert_eq!(job.platforms, Platforms::Named(vec![platforms.parse().expect("a platform")]), "{name}");
        assert_eq!((job.every, job.first, job.script.as_str()), (Some(every), first, script), "{name}");
    }
    let dns = lab.spool.job(&"dns".parse().expect("a name")).expect("a job");
    assert_eq!((dns.platforms, dns.template.as_deref(), dns.variants.len()), (Platforms::All, Some("orb-build"), 2));
    assert!(dns.variants.iter().all(|variant| variant.values["OPAM_PACKAGE"] == "dns-primary"));
    let queue = lab.spool.queue(&PLATFORM.parse().expect("a platform")).expect("a queue");
    let waiting: Vec<(u8, &str)> = queue.iter().map(|one| (u8::from(one.priority), one.id.job().as_str())).collect();
    assert_eq!(waiting, ["weekly", "dns", "once"].map(|job| (u8::from(Priority::NORMAL), job)));
    assert_eq!(lab.spool.platform_state(&"freebsd-12".parse().expect("a platform")), State::Dropped);
    assert_eq!(lab.spool.job_names().expect("readable").len(), 6, "what is passed over is not there");
    lab.check();
    // Again: what is there stays, and is not queued anew.
    lab.ok(&["set", "weekly", "--priority", "7"]);
    let said = lab.ok(&["import", text(&fixture("state.der"))]);
    assert!(said.contains("job weekly was there already\n") && !said.contains("queued "), "{said}");
    assert_eq!(u8::from(lab.spool.job(&"weekly".parse().expect("a name")).expect("a job").priority), 7);
}

#[test]
fn of_a_schedule_with_a_job_that_can_not_be_nothing_comes_in() {
    let lab = Lab::new();
    lab.spool.know_platform(&"freebsd-14".parse().expect("a platform")).expect("known");
    // Without a template for orb's jobs.
    let before = contents(&lab);
    let none = lab.path("none");
    lab.configure(&format!("templates = {:?}", text(&none)));
    lab.builder(&["import", text(&fixture("state.der"))]).refused(66, "job dns: there is no template `orb-build`");
    configure_templates(&lab);
    lab.ok(&["platform", "drop", "freebsd-14"]);
    lab.builder(&["import", text(&fixture("state.der"))]).refused(65, "platform freebsd-14 is dropped");
    assert!(lab.spool.job_names().expect("readable").is_empty());
    lab.ok(&["platform", "restore", "freebsd-14"]);
    assert_eq!(contents(&lab), before);
    lab.builder(&["import", "--template", "./x", text(&fixture("state.der"))]).refused(64, "not a path");
}

#[test]
fn who_is_elsewhere_sends_files_and_gets_them() {
    let lab = Lab::new();
    let keys = [("admin", lab.key("admin")), ("read", lab.key("read"))];
    let people: Vec<(&Path, String)> = keys.iter().map(|(role, key)| (key.as_path(), lab.gate(role, role))).collect();
    let sshd = lab.people_sshd(&people);
    let as_role = |n: usize, words: &[&str]| {
        let mut builder = lab.elsewhere(&sshd, &keys[n].1);
        builder.args(words).output().expect("builder")
    };
    let files = ["full-exited.der", "full-message.der"].map(|name| fixture(name).display().to_string());
    let refused = as_role(1, &["import", &files[0]]);
    assert!(!refused.status.success() && lab.ended().is_empty(), "{refused:?}");
    let cut = lab.path("cut");
    std::fs::write(&cut, &bytes("full-old.der")[..50]).expect("written");
    let sent = as_role(0, &["import", &files[0], text(&cut), &files[1]]);
    assert_eq!(sent.status.code(), Some(65), "{sent:?}");
    assert_eq!(String::from_utf8_lossy(&sent.stdout).matches("imported ").count(), 2, "{sent:?}");
    assert!(String::from_utf8_lossy(&sent.stderr).contains("cut: byte 1: build: its 103 bytes"), "{sent:?}");
    let missing = as_role(0, &["import", "missing"]);
    assert_eq!(missing.status.code(), Some(66), "{missing:?}");
    let got = as_role(1, &["export", "--full", "hello"]);
    assert!(got.status.success() && got.stdout == bytes("full-exited.der"), "{got:?}");
    let to = lab.desk(&keys[1].1).join("got");
    let saved = as_role(1, &["export", "--full", "hello", "-o", "got"]);
    assert!(saved.status.success() && std::fs::read(&to).expect("a file") == bytes("full-exited.der"), "{saved:?}");
    let unknown = as_role(1, &["export", "--full", "nothing", "-o", "none"]);
    assert!(unknown.status.code() == Some(66) && !lab.desk(&keys[1].1).join("none").exists(), "{unknown:?}");
    lab.check();
}

#[test]
fn an_exported_file_is_there_whole_or_not_at_all() {
    let lab = Lab::new();
    let id = import(&lab, &fixture("full-exited.der"));
    std::fs::create_dir(lab.path("out")).expect("made");
    assert_eq!(lab.ok(&["export", "--full", &id, "--output", "out/full"]), "out/full\n");
    assert_eq!(std::fs::read(lab.path("out/full")).expect("a file"), bytes("full-exited.der"));
    lab.builder(&["export", "--full", &id, "--output", "out/full"]).refused(73, "out/full is there already");
    lab.builder(&["export", "--full", &id, "--output", "nowhere/full"]).refused(66, "nowhere/full");
    std::fs::remove_file(lab.build(&id).dir().join("artifacts/empty")).expect("removed");
    lab.builder(&["export", "--full", &id, "--output", "out/other"]).refused(66, "artifacts/empty");
    assert_eq!(std::fs::read_dir(lab.path("out")).expect("readable").count(), 1);
}

/// The spool is its owner's, and so is what comes in; the files are the superuser's alone.
#[test]
fn the_superusers_files_come_in_as_the_owners() {
    if !harness::is_superuser() {
        return;
    }
    const OWNER: u32 = 34;
    let lab = Lab::new();
    std::fs::set_permissions(lab.path(""), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let owned = Finished::of(Command::new("chown").arg("-R").arg(format!("{OWNER}:{OWNER}")).arg(lab.root()));
    assert_eq!(owned.code, 0, "{owned:?}");
    let private = lab.path("private");
    std::fs::create_dir(&private).expect("made");
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    std::fs::copy(fixture("full-exited.der"), private.join("full")).expect("copied");
    std::fs::copy(fixture("state-hello.der"), private.join("state")).expect("copied");
    harness::copy_of("builder", &lab.path(""));
    let builder = |words: &[&str]| {
        let mut builder = Command::new(lab.path("builder"));
        builder.env("BUILDER_SPOOL", lab.root()).env("BUILDER_CONFIG", lab.config()).args(words);
        Finished::of(&mut builder)
    };
    let done = builder(&["import", text(&private), text(&private.join("state"))]);
    assert!(done.code == 0 && done.stdout.contains("imported ") && done.stdout.contains("added job hello"), "{done:?}");
    assert_eq!(builder(&["import", text(&lab.path("missing"))]).code, 66);
    let foreign = walkdir::WalkDir::new(lab.root()).into_iter().flatten();
    let foreign: Vec<_> = foreign.filter(|one| one.metadata().is_ok_and(|meta| meta.uid() != OWNER)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    lab.check();
}

/// The page's commands, with robur's directory in another place.
#[test]
fn the_page_for_those_who_move_over_shows_what_happens() {
    const PAGE: &str = include_str!("../MIGRATING.md");
    const THERE: &str = "/var/lib/robur";
    let lab = Lab::new();
    std::fs::remove_dir_all(lab.root()).expect("the page makes its own spool");
    let robur = lab.path("robur");
    std::fs::create_dir_all(robur.join("hello/1")).expect("made");
    std::fs::copy(fixture("full-exited.der"), robur.join("hello/1/full")).expect("copied");
    std::fs::copy(fixture("state-hello.der"), robur.join("state")).expect("copied");
    let block = PAGE.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let mut commands = 0;
    for command in block.split("$ ").skip(1) {
        commands += 1;
        let (command, shown) = command.split_once('\n').expect("a line");
        let words: Vec<String> = command.split(' ').map(|word| word.replace(THERE, text(&robur))).collect();
        assert_eq!(words[0], "builder");
        let said = lab.ok(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
        let fits = shown.split_once('…').map_or(said == shown, |(start, _)| said.starts_with(start));
        assert!(fits, "{command}: {said}");
    }
    assert_eq!(commands, 5);
    let latest = std::fs::read(lab.root().join("jobs/hello/latest/debian-12/artifacts/bin/hello"));
    assert_eq!(latest.expect("the latest build"), b"\x7fELF\xff\x00");
    lab.check();
}
