//! What a check says of things that are in the wrong place, and what a repair makes of them: also when it is killed,
//! and never of what is at work.

use harness::{Finished, Lab, PLATFORM, Verb, house, put_copy};
use spool::check::{Cure, Finding, Invariant};
use spool::digest::Sha256;
use spool::place::{End, Place};
use spool::record::{BuildResult, Outcome};
use spool::{Spool, clock};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory: what is tested here is not what a power cut leaves.
fn lab() -> Lab {
    Lab::below(Path::new("/dev/shm"))
}

/// A furnished spool in the lab's own directory.
fn furnished() -> (Lab, Spool) {
    let lab = lab();
    std::fs::remove_dir_all(lab.root()).expect("removed");
    let spool = house::furnish(lab.root());
    (lab, spool)
}

fn findings(spool: &Spool) -> Vec<Finding> {
    spool.check(true).expect("a check").findings
}

fn repair(spool: &Spool) -> Vec<Finding> {
    let repaired = spool.repair(true, clock::now()).expect("a repair");
    assert!(repaired.failed.is_empty(), "{:#?}", repaired.failed);
    assert!(spool.repair(true, clock::now()).expect("a repair").done.is_empty(), "the second time does nothing");
    repaired.done
}

/// The file in a directory of `lost+found/` that had this path, and the line that says why it is there.
fn set_aside(root: &Path, path: &Path) -> (PathBuf, String) {
    let home = root.join("lost+found");
    let notes: Vec<PathBuf> = std::fs::read_dir(&home)
        .expect("lost+found")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    let found = notes.iter().find_map(|notes| {
        let text = std::fs::read_to_string(notes).expect("notes");
        let line = text.lines().find(|line| line.starts_with(&format!("{}: ", path.display())))?;
        Some((notes.with_extension("").join(path), line.to_owned()))
    });
    found.unwrap_or_else(|| panic!("{} is not in lost+found", path.display()))
}

/// A build's directory, by its job.
fn dir_of(spool: &Spool, job: &str) -> PathBuf {
    spool.newest_of(&job.parse().expect("a name"), None).expect("readable").expect("a build").dir()
}

#[test]
fn what_is_not_listed_goes_to_lost_and_found_with_its_path() {
    let (_lab, spool) = furnished();
    let root = spool.layout().root().to_owned();
    let mut rooms: Vec<PathBuf> =
        ["", "new", "new/debian-12", "active", "done", "failed", "jobs", "good", "timers"].map(PathBuf::from).into();
    rooms.extend(
        [
            "platforms",
            "workers",
            "store",
            "store/sha256",
            "store/sha256/ab",
            "wake",
            "wake/queue",
            "wake/daemon",
            "cancel",
            "owed",
        ]
        .map(PathBuf::from),
    );
    for job in ["hello", "waits", "lost"] {
        rooms.push(dir_of(&spool, job).strip_prefix(&root).expect("below").to_owned());
    }
    rooms.push(dir_of(&spool, "hello").join("artifacts/share").strip_prefix(&root).expect("below").to_owned());
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("kept"), "kept").expect("written");
    for room in &rooms {
        let room = root.join(room);
        std::fs::write(room.join("a stranger"), "strange\n").expect("written");
        symlink(outside.path(), room.join("link")).expect("a symlink");
        std::fs::write(room.join(std::ffi::OsStr::from_bytes(b"\xff~")), "odd\n").expect("written");
        let fifo = Finished::of(Command::new("mkfifo").arg(room.join("fifo")));
        assert_eq!(fifo.code, 0, "{fifo:?}");
    }
    // Whoever is rung for there is not removed.
    spool::wake::ring(&spool.layout().wake_daemon());
    let found = findings(&spool);
    assert_eq!(found.len(), 4 * rooms.len(), "{found:#?}");
    repair(&spool);
    assert_eq!(findings(&spool), []);
    for room in &rooms {
        let (stranger, why) = set_aside(&root, &room.join("a stranger"));
        assert_eq!(std::fs::read_to_string(stranger).expect("there"), "strange\n");
        assert!(why.contains("I2: ") || why.contains("manifest does not list"), "{why}");
        let (link, _) = set_aside(&root, &room.join("link"));
        assert_eq!(std::fs::read_link(link).expect("a symlink"), outside.path());
    }
    assert_eq!(std::fs::read_to_string(outside.path().join("kept")).expect("there"), "kept");
}

#[test]
fn directories_that_are_gone_or_lead_elsewhere_are_made_anew_and_nothing_is_touched_elsewhere() {
    for room in spool::layout::DIRECTORIES {
        let (lab, spool) = furnished();
        let elsewhere = lab.path("elsewhere");
        let there = lab.root().join(room);
        std::fs::rename(&there, &elsewhere).expect("moved");
        assert!(findings(&spool).iter().any(|one| one.invariant == Invariant::Made && one.path == there), "{room}");
        symlink(&elsewhere, &there).expect("a symlink");
        std::fs::write(elsewhere.join("a stranger"), "strange\n").expect("written");
        let found = findings(&spool);
        assert!(found.iter().any(|one| one.invariant == Invariant::Listed && one.path == there), "{room}");
        assert!(found.iter().all(|one| one.path == there || !one.path.starts_with(&there)), "{room}: {found:#?}");
        let before = house::contents(&elsewhere);
        spool.repair(false, clock::now()).expect("a repair");
        assert_eq!(house::contents(&elsewhere), before, "{room}");
        let made = there.symlink_metadata().expect("made anew");
        assert!(made.is_dir() && made.permissions().mode() & 0o777 == 0o755, "{room}");
        let left = spool.check(false).expect("a check").findings;
        assert!(left.iter().all(|one| !one.cure.is_known()), "{room}: {left:#?}");
    }
}

#[test]
fn a_build_in_the_wrong_place_goes_where_its_id_and_its_result_say() {
    let (_lab, spool) = furnished();
    let layout = spool.layout();
    let (hello, sad, waits) = (dir_of(&spool, "hello"), dir_of(&spool, "sad"), dir_of(&spool, "waits"));
    let move_to = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        std::fs::rename(from, to).expect("moved");
    };
    move_to(&hello, &layout.ended(End::Failed).join("2026-11").join(hello.file_name().expect("a name")));
    move_to(&sad, &layout.ended(End::Failed).join("2001-01").join(sad.file_name().expect("a name")));
    move_to(&waits, &layout.directory("new").join("netbsd").join(waits.file_name().expect("a name")));
    let invariants: BTreeSet<Invariant> = findings(&spool).iter().map(|one| one.invariant).collect();
    assert_eq!(invariants, [Invariant::Placed, Invariant::Ended].into());
    repair(&spool);
    assert!(hello.is_dir() && sad.is_dir() && waits.is_dir());
    assert_eq!(findings(&spool), []);
}

#[test]
fn of_a_build_in_two_places_the_one_that_came_farthest_is_trusted() {
    let (_lab, spool) = furnished();
    let hello = dir_of(&spool, "hello");
    let again = format!("50-{}", hello.file_name().expect("a name").to_string_lossy());
    let queued = spool.layout().directory("new").join(PLATFORM).join(again);
    let copied = Finished::of(Command::new("cp").arg("-a").arg(&hello).arg(&queued));
    assert_eq!(copied.code, 0, "{copied:?}");
    for made_later in
        ["result.toml", "manifest", "artifacts", "environment", "packages", "console.log", "console.times"]
    {
        let path = queued.join(made_later);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    assert_eq!(findings(&spool).iter().map(|one| one.invariant).collect::<Vec<_>>(), [Invariant::OneState]);
    repair(&spool);
    assert!(hello.is_dir() && !queued.exists());
    let below = queued.strip_prefix(spool.layout().root()).expect("below").to_owned();
    assert!(set_aside(spool.layout().root(), &below).0.join("build.toml").is_file());
    assert_eq!(findings(&spool), []);
}

#[test]
fn an_end_that_was_interrupted_gets_there() {
    let (_lab, spool) = furnished();
    let lost = dir_of(&spool, "lost");
    let result = BuildResult::unrun(Outcome::Exited { code: 0 }, clock::now());
    std::fs::write(lost.join("result.toml"), spool::record::to_bytes(&result).expect("TOML")).expect("written");
    assert_eq!(findings(&spool), [], "as long as nothing says that this was decided, it is tried again");
    let id = lost.file_name().expect("a name");
    std::fs::write(spool.layout().all_owed().join(id), "").expect("a note");
    assert_eq!(findings(&spool).iter().map(|one| one.invariant).collect::<Vec<_>>(), [Invariant::Settled]);
    repair(&spool);
    let build = spool.newest_of(&"lost".parse().expect("a name"), None).expect("readable").expect("a build");
    assert_eq!(build.place, Place::Ended(End::Done));
    assert_eq!(findings(&spool), []);
}

#[test]
fn a_build_that_is_served_is_left_to_its_server() {
    let (_lab, spool) = furnished();
    let lost = dir_of(&spool, "lost");
    let id = spool.newest_of(&"lost".parse().expect("a name"), None).expect("readable").expect("a build").id;
    let held = spool.hold(&id).expect("readable").expect("nobody serves it");
    std::fs::write(lost.join("build.toml"), "half").expect("written");
    assert_eq!(findings(&spool), []);
    repair(&spool);
    assert!(lost.is_dir());
    drop(held);
    assert_eq!(findings(&spool).len(), 1);
    // Somebody else takes it just then.
    let other = spool::disk::open_dir(&lost).expect("a directory");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockShared).expect("a lock");
    assert!(repair(&spool).is_empty() && lost.is_dir());
    drop(other);
    repair(&spool);
    assert!(!lost.exists());
}

#[test]
fn what_is_lost_of_an_ended_build_is_said_once_and_the_build_stays() {
    let (lab, spool) = furnished();
    let hello = dir_of(&spool, "hello");
    std::fs::write(hello.join("artifacts/top"), "something else\n").expect("written");
    std::fs::remove_file(hello.join("build.toml")).expect("removed");
    // Without reading contents the sizes tell that there is something, and not what.
    let shallow = spool.check(false).expect("a check").findings;
    assert!(
        shallow.iter().any(|one| matches!(&one.cure, Cure::Human(what) if what.contains("--deep"))),
        "{shallow:#?}"
    );
    repair(&spool);
    assert_eq!(findings(&spool), []);
    assert_eq!(std::fs::read_to_string(hello.join("lost")).expect("a list"), "artifacts/top\nbuild.toml\n");
    assert!(hello.join("artifacts/bin/tool").is_file() && !hello.join("artifacts/top").exists());
    let shown = lab.ok(&["show", "hello"]);
    assert!(shown.contains("exited 0") && shown.contains("Lost to damage\n  artifacts/top\n  build.toml\n"), "{shown}");
    assert!(lab.ok(&["log", "hello"]).contains("this is hello"));
}

#[test]
fn modes_that_differ_are_set_right() {
    let (_lab, spool) = furnished();
    let root = spool.layout().root();
    let all = || walkdir::WalkDir::new(root).min_depth(1).into_iter().flatten();
    let mode = |entry: &walkdir::DirEntry| entry.metadata().expect("there").permissions().mode() & 0o7777;
    let before: Vec<_> = all().map(|entry| (mode(&entry), entry.path().to_owned())).collect();
    let wrong = all().filter(|entry| !entry.path().starts_with(root.join(".ssh")));
    for entry in wrong {
        std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o1777)).expect("a mode");
    }
    assert!(findings(&spool).iter().all(|one| one.invariant == Invariant::Open));
    repair(&spool);
    assert_eq!(findings(&spool), []);
    let after: Vec<_> = all().map(|entry| (mode(&entry), entry.path().to_owned())).collect();
    assert_eq!(after, before);
}

/// A spool that is a file system of its own has fsck's.
#[test]
fn a_lost_and_found_of_somebody_else_is_no_fault_and_is_asked_for() {
    if !harness::is_superuser() {
        return;
    }
    let (lab, spool) = furnished();
    std::fs::set_permissions(lab.path(""), PermissionsExt::from_mode(0o755)).expect("a mode");
    let owned = Finished::of(Command::new("chown").args(["-R", "4242:4242"]).arg(lab.root()));
    assert_eq!(owned.code, 0, "{owned:?}");
    let home = spool.layout().lost_and_found();
    std::fs::create_dir(&home).expect("a directory");
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).expect("a mode");
    assert_eq!(findings(&spool), []);
    std::fs::write(lab.root().join("stranger"), "strange\n").expect("written");
    std::os::unix::fs::chown(lab.root().join("stranger"), Some(4242), None).expect("an owner");
    let refused = lab.builder(&["check", "--repair"]);
    assert!(refused.code == 65 && refused.stdout.contains("as the superuser say `chown 4242 "), "{refused:?}");
    assert!(lab.root().join("stranger").is_file());
    std::os::unix::fs::chown(&home, Some(4242), None).expect("an owner");
    assert!(lab.ok(&["check", "--repair"]).contains("mended I2: stranger"));
    assert_eq!(findings(&spool), []);
}

#[test]
fn a_content_that_has_changed_is_neither_run_nor_spread() {
    let (lab, spool) = furnished();
    // In place: whoever has a link to it has it.
    std::fs::write(dir_of(&spool, "waits").join("script"), "#!/bin/sh\necho something else\n").expect("written");
    let queued = dir_of(&spool, "waits");
    let tool = dir_of(&spool, "hello").join("artifacts/bin/tool");
    let object = spool.layout().object(&Sha256::of(&std::fs::read(&tool).expect("readable")));
    std::fs::remove_file(&tool).expect("removed");
    std::fs::write(&object, "not the tool\n").expect("written");
    let said = lab.builder(&["check", "--repair"]);
    assert!(said.code == 65 && !tool.exists(), "without reading it, nobody knows that it is another: {said:?}");
    repair(&spool);
    assert!(!queued.exists() && !tool.exists() && !object.exists());
    assert_eq!(std::fs::read_to_string(dir_of(&spool, "hello").join("lost")).expect("a list"), "artifacts/bin/tool\n");
    assert_eq!(findings(&spool), []);
}

#[test]
fn what_a_hand_has_broken_is_named_and_left_to_the_hand() {
    let (lab, spool) = furnished();
    let put = |path: PathBuf, text: &str| std::fs::write(path, text).expect("written");
    let job =
        "created = \"2026-01-01T00:00:00Z\"\nplatforms = \"all\"\ntimeout_seconds = 1\nattempts = 1\nscript = \"x\"\n";
    put(spool.layout().job(&"lonely".parse().expect("a name")), &format!("after = [\"gone\"]\n{job}"));
    put(spool.layout().job(&"broken".parse().expect("a name")), &format!("cron = \"* * *\"\n{job}"));
    put(spool.layout().job(&"round".parse().expect("a name")), &format!("after = [\"round\"]\n{job}"));
    put(spool.layout().worker(&"w".parse().expect("a name")), "platforms = 1");
    put(spool.layout().platform(&"q".parse().expect("a name")), "state = \"pau");
    let found = findings(&spool);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|one| one.invariant == Invariant::Written && !one.cure.is_known()), "{found:#?}");
    assert!(repair(&spool).is_empty());
    let said = lab.builder(&["check", "--repair"]);
    assert_eq!((said.code, said.stdout.lines().count()), (65, 5), "{said:?}");
    for part in
        ["jobs/broken.toml: ", "workers/w.toml: ", "platforms/q.toml: ", "comes after gone", "round after round"]
    {
        assert!(said.stdout.contains(part), "{part}: {said:?}");
    }
    let json = lab.builder(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["findings"].as_array().expect("a list").len(), 5);
    assert_eq!((&json["findings"][0]["invariant"], &json["findings"][0]["curable"]), (&"I14".into(), &false.into()));
}

/// Damages some of everything.
fn wreck(spool: &Spool) {
    let hello = dir_of(spool, "hello");
    std::fs::remove_file(hello.join("artifacts/bin/tool")).expect("removed");
    std::fs::write(hello.join("console.times"), "0 99999\n").expect("written");
    std::fs::write(hello.join("stranger"), "strange\n").expect("written");
    std::fs::write(dir_of(spool, "sad").join("build.toml"), "\u{7}").expect("written");
    std::fs::write(dir_of(spool, "waits").join("build.toml"), "half").expect("written");
    std::fs::write(spool.layout().directory("owed").join("x"), "foreign\n").expect("written");
    std::fs::set_permissions(spool.layout().jobs(), PermissionsExt::from_mode(0o700)).expect("a mode");
    std::fs::remove_dir_all(spool.layout().directory("wake/daemon")).expect("removed");
}

#[test]
fn a_repair_that_is_killed_anywhere_is_gone_on_with_and_no_byte_is_lost() {
    let lab = lab();
    let template = lab.path("wreck");
    wreck(&house::furnish(&template));
    let before: BTreeSet<Sha256> = house::contents(&template).into_iter().collect();
    put_copy(&template, lab.root());
    let repair = Verb::builder(&["check", "--repair"], "mended");
    let steps = lab.killed_at_steps(
        &repair,
        |_| true,
        |_| {
            let spool = Spool::open(lab.root()).expect("a spool");
            spool.repair(true, clock::now()).expect("a repair");
            assert_eq!(findings(&spool), []);
            let after: BTreeSet<Sha256> = house::contents(lab.root()).into_iter().collect();
            assert!(before.is_subset(&after));
        },
    );
    assert!(steps > 20, "only {steps} steps");
}

/// Jobs of many builds each, one of which is killed with its worker again and again.
fn busy(lab: &Lab) -> Vec<String> {
    let script = "echo out; mkdir -p bin/deep; date >bin/deep/now; echo same >same; sleep 0.02";
    let jobs: Vec<String> = (0..4).map(|number| format!("job{number}")).collect();
    jobs.iter().for_each(|job| lab.job_with(job, script, &["--every", "never", "--retries", "99"]));
    lab.job_with("after", "exit 1", &["--every", "never", "--after", "job0"]);
    lab.job("slow", "echo slow; sleep 1");
    jobs
}

#[test]
fn a_check_is_silent_while_everybody_is_at_work() {
    let lab = Lab::new();
    let jobs = busy(&lab);
    let _daemon = lab.daemon();
    let _workers = ["v", "w"].map(|name| lab.local_worker(name, &["--keep"]));
    let mut ids = Vec::new();
    for round in 0..10 {
        ids.extend(jobs.iter().map(|job| lab.run(job)));
        let slow = lab.run("slow");
        let mut third = lab.local_worker("x", &[]);
        for look in 0..6 {
            let found = lab.spool.check(look % 3 == 0).expect("a check").findings;
            assert!(found.is_empty(), "{found:#?}");
            if look == 3 && round % 2 == 0 {
                let _ = lab.builder(&["cancel", &slow]);
            }
        }
        if third.runs() {
            third.kill();
        }
        assert!(lab.spool.repair(false, clock::now()).expect("a repair").done.is_empty());
    }
    harness::wait_for("all are over", || {
        let found = lab.spool.check(true).expect("a check").findings;
        assert!(found.is_empty(), "{found:#?}");
        lab.spool.open_builds().expect("readable").is_empty()
    });
    ids.iter().for_each(|id| assert_eq!(lab.build(id).place, Place::Ended(End::Done)));
    lab.check();
}
