//! Whatever becomes of the index's file, answers are right all the while, and it comes back.

use harness::answers::{Dice, catch_up, indexed, listed, same, truth};
use harness::{Finished, Lab, PLATFORM, is_superuser, wait_for};
use spool::index::Keeper;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;

/// Something that can become of the index's file.
type Damage = (&'static str, fn(&Lab));

/// All of that.
fn damages() -> Vec<Damage> {
    fn bytes(lab: &Lab, at: u64, bytes: &[u8]) {
        let file = std::fs::File::options().write(true).open(lab.spool.layout().index_file()).expect("the index");
        file.write_all_at(bytes, at).expect("written");
    }
    fn length(lab: &Lab, of: impl Fn(u64) -> u64) {
        let file = std::fs::File::options().write(true).open(lab.spool.layout().index_file()).expect("the index");
        file.set_len(of(file.metadata().expect("its size").len())).expect("cut");
    }
    vec![
        ("deleted", |lab| std::fs::remove_file(lab.spool.layout().index_file()).expect("removed")),
        ("deleted with its directory", |lab| std::fs::remove_dir_all(lab.spool.layout().index()).expect("removed")),
        ("empty", |lab| length(lab, |_| 0)),
        ("cut in half", |lab| length(lab, |all| all / 2)),
        ("cut within a page", |lab| length(lab, |all| all - 1000)),
        ("no database", |lab| std::fs::write(lab.spool.layout().index_file(), "x".repeat(100_000)).expect("written")),
        ("of an older release", |lab| bytes(lab, 60, &0u32.to_be_bytes())),
        ("of a newer release", |lab| bytes(lab, 60, &99u32.to_be_bytes())),
        ("damaged at its beginning", |lab| bytes(lab, 100, &[0xff; 400])),
        ("damaged in many pages", |lab| (1..12).for_each(|page| bytes(lab, 4096 * page, &[0x5a; 64]))),
        ("a directory", |lab| {
            std::fs::remove_file(lab.spool.layout().index_file()).expect("removed");
            std::fs::create_dir(lab.spool.layout().index_file()).expect("made");
        }),
        ("without a mode", |lab| {
            let mode = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(lab.spool.layout().index_file(), mode).expect("set");
        }),
        ("another spool's", |lab| {
            let other = Lab::new();
            Dice(99).past().make(&other.spool);
            catch_up(&other.spool, &mut Keeper::open(&other.spool).expect("an index"));
            std::fs::copy(other.spool.layout().index_file(), lab.spool.layout().index_file()).expect("copied");
        }),
        ("beside a journal of another one", |lab| {
            std::fs::write(lab.spool.layout().index_journal(), "x".repeat(5000)).expect("written");
        }),
    ]
}

#[test]
fn whatever_becomes_of_the_file_under_builderds_hands() {
    let (lab, builds) = indexed();
    let _daemon = lab.daemon();
    for (what, damage) in damages() {
        wait_for(&format!("the index is there, before it is {what}"), || truth(&lab));
        damage(&lab);
        same(&lab.spool, &builds, what);
        // Something happens, and builderd, which has the file open, is told.
        let place = Dice(what.len() as u64).past().make(&lab.spool);
        same(&lab.spool, &builds, what);
        std::fs::remove_dir_all(place).expect("removed");
        spool::wake::ring(&lab.spool.layout().wake_daemon());
    }
    wait_for("the index is back", || truth(&lab));
    lab.check();
}

#[test]
fn whatever_becomes_of_the_file_and_it_comes_back() {
    let (lab, builds) = indexed();
    for (what, damage) in damages() {
        damage(&lab);
        same(&lab.spool, &builds, what);
        let daemon = lab.daemon();
        wait_for(&format!("the index is back that was {what}"), || truth(&lab));
        same(&lab.spool, &builds, what);
        drop(daemon);
    }
    lab.check();
}

#[test]
fn builderd_is_killed_over_and_over_while_builds_end() {
    let lab = Lab::new();
    let mut dice = Dice(3);
    let mut builds = Vec::new();
    for round in 0..12 {
        let daemon = lab.daemon();
        for _ in 0..20 {
            let past = dice.past();
            past.make(&lab.spool);
            builds.push(past);
        }
        let waits = dice.roll(4);
        wait_for("it has begun", || waits == 0 || lab.spool.layout().index_file().exists());
        // Somewhere on its way.
        (0..dice.roll(40_000)).for_each(|_| std::thread::yield_now());
        daemon.kill();
        same(&lab.spool, &builds[builds.len() - 10..], &format!("round {round}"));
    }
    let _daemon = lab.daemon();
    wait_for("the index has caught up", || truth(&lab));
    same(&lab.spool, &builds, "at the end");
}

#[test]
fn a_repair_that_changes_a_record_is_heeded() {
    let (lab, mut builds) = indexed();
    let at = builds.iter().position(|past| past.code == 0 && !past.artifacts.is_empty()).expect("a good one");
    let dir = builds[at].found(&lab.spool).dir();
    std::fs::remove_file(dir.join("manifest")).expect("removed");
    // The index is made while it is missing.
    std::fs::remove_file(lab.spool.layout().index_file()).expect("removed");
    catch_up(&lab.spool, &mut Keeper::open(&lab.spool).expect("an index"));
    lab.ok(&["check", "--repair"]);
    same(&lab.spool, &builds, "with a manifest that was linked back");
    let _daemon = lab.daemon();
    wait_for("the index is back", || truth(&lab));
    same(&lab.spool, &builds, "with the index of the repaired spool");
    let result = builds[at].found(&lab.spool).dir().join("result.toml");
    std::fs::write(&result, "nonsense").expect("written");
    lab.ok(&["check", "--repair"]);
    builds.remove(at);
    same(&lab.spool, &builds, "without the one that was set aside");
}

/// Whoever may read the spool may lock the index for reading.
#[test]
fn a_reader_who_holds_it_for_ever_costs_time_only() {
    let (lab, mut builds) = indexed();
    // Another process: what SQLite closes in this one would let go of its locks, too.
    let hold = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.lockf(f, fcntl.LOCK_SH); print('holds', flush=True); time.sleep(999)";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", hold]).arg(lab.spool.layout().index_file());
    let holder = harness::Running::start("holder", &mut python, &lab.path("holder.log"));
    wait_for("somebody holds it", || holder.said().contains("holds"));
    let _daemon = lab.daemon();
    lab.job("goes-on", "true");
    let worker = lab.local_worker("w", &[]);
    lab.finished(&lab.run("goes-on"));
    worker.ended();
    let past = Dice(5).past();
    past.make(&lab.spool);
    builds.push(past);
    same(&lab.spool, &builds, "with a reader that does not let go");
    assert!(!truth(&lab), "it can't go on");
    drop(holder);
    wait_for("the index has caught up", || truth(&lab));
    same(&lab.spool, &builds, "after it has gone");
}

/// Such a reader can write neither the index nor anything beside it.
#[test]
fn another_user_is_answered_from_it() {
    if !is_superuser() {
        return;
    }
    let (lab, builds) = indexed();
    for path in [lab.root().to_owned(), lab.path("")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("open");
    }
    let program = harness::copy_of("builder", &lab.path(""));
    let as_nobody = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(words).arg("--spool").arg(lab.root()).env("BUILDER_CONFIG", lab.config());
        Finished::of(command.uid(65534).gid(65534).current_dir("/"))
    };
    let daemon = lab.daemon();
    wait_for("the index is true", || truth(&lab));
    let job = builds[0].id.job().as_str();
    let question = ["history", job, "--json"];
    let expected = lab.ok(&question);
    assert_eq!(as_nobody(&question).stdout, expected);
    drop(daemon);
    assert_eq!(as_nobody(&question).stdout, expected);
    std::fs::write(lab.spool.layout().index_journal(), "x".repeat(5000)).expect("written");
    assert_eq!(as_nobody(&question).stdout, expected);
}

/// A spool of a release that had none has it as soon as builderd has looked.
#[test]
fn a_spool_without_one_gets_it() {
    let (lab, builds) = indexed();
    std::fs::remove_dir_all(lab.spool.layout().index()).expect("removed");
    lab.check();
    same(&lab.spool, &builds, "without a directory");
    let once = Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!(once.code, 0, "{once:?}");
    assert!(!lab.spool.layout().index().exists(), "who comes and goes keeps none");
    let _daemon = lab.daemon();
    wait_for("it is there", || truth(&lab));
    lab.job("later", "true");
    let worker = lab.local_worker("w", &[]);
    let id = lab.finished(&lab.run("later")).id;
    worker.ended();
    wait_for("it has caught up", || truth(&lab));
    assert_eq!(listed(&lab, &["show", id.tail()]).into_iter().filter(|dir| dir.contains("/done/2")).count(), 0);
    assert_eq!(id.platform().as_str(), PLATFORM);
}
