//! When builds wait and no worker is free, builderd has some started, by a command, up to a limit, and with a pause that
//! grows when they don't come. Whatever the command does, and whenever builderd is killed, the rest goes on.

use harness::{Finished, Lab, PLATFORM, Running, binary, eventually, make_executable, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use spool::launch::Launches;
use std::path::Path;

/// `[launch.debian-12]`.
fn launch(command: &Path, more: &str) -> String {
    format!("[launch.{PLATFORM}]\ncommand = \"{}\"\nworker = \"auto\"\n{more}", command.display())
}

/// Workers with keys, as `builder worker add` makes them.
fn add_workers(lab: &Lab, stem: &str, platform: &str, count: u32) {
    for number in 1..=count {
        let name = format!("{stem}-{number}").parse().expect("a name");
        let key = format!("ssh-ed25519 {:A<68}", format!("{stem}{number}/").replace('-', "+"));
        let worker = spool::worker::Worker {
            added: spool::clock::now(),
            platforms: vec![platform.parse().expect("a platform")],
            key: Some(key.parse().expect("a key")),
        };
        lab.spool.add_worker(&name, &worker).expect("a worker");
    }
}

/// A command of ours, which notes that it was called, and workers for it.
fn command(lab: &Lab, text: &str) -> std::path::PathBuf {
    add_workers(lab, "auto", PLATFORM, 10);
    let path =
        lab.script("launch", &format!("#!/bin/sh\necho \"$BUILDER_WORKER\" >>'{}'\n{text}\n", calls(lab).display()));
    make_executable(&path);
    path
}

fn calls(lab: &Lab) -> std::path::PathBuf {
    lab.path("calls")
}

/// The workers that the command was called for.
fn called(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(calls(lab)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Starts a worker that goes on when the command has ended.
fn local_worker(lab: &Lab) -> String {
    format!(
        "BUILDER_CONFIG='{}' setsid '{}' worker --local \"$BUILDER_SPOOL\" --name \"$BUILDER_WORKER\" \
         --platform \"$BUILDER_PLATFORM\" --idle 60 --work '{}'.\"$BUILDER_WORKER\" </dev/null >>'{}' 2>&1 &",
        lab.config().display(),
        binary("builder-run").display(),
        lab.path("work").display(),
        lab.path("workers.log").display(),
    )
}

fn launches(lab: &Lab) -> Launches {
    lab.spool.launches(&PLATFORM.parse().expect("a platform"))
}

fn hang_up(daemon: &Running) {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::HUP).expect("a signal");
}

/// Waits until builderd has looked at our platform once more: it looks at all of them, in the order of their names.
fn looked_once_more(lab: &Lab, other: &str) {
    let script = lab.script(&format!("{other}.sh"), "true");
    let words = ["add", other, script.to_str().expect("UTF-8"), "--platform", other, "--every", "never"];
    lab.ok(&words);
    lab.run(other);
    let path = lab.path(other);
    wait_for("the other platform has launched", || path.exists());
}

/// Its command may run still, but before that it was noted.
fn nobody_was_launched(lab: &Lab) {
    assert_eq!((launches(lab), called(lab)), (Launches::default(), Vec::new()));
}

/// A platform that comes behind ours, on which a launch leaves a file of its name.
fn other(lab: &Lab, name: &str) -> String {
    add_workers(lab, name, name, 1);
    format!("[launch.{name}]\ncommand = \"touch {}\"\n", lab.path(name).display())
}

#[test]
fn builds_that_wait_get_workers_and_no_more_than_may_be() {
    let lab = Lab::new();
    for name in ["a", "b", "c", "d", "e"] {
        lab.job(name, "sleep 0.2");
    }
    let command = command(&lab, &local_worker(&lab));
    lab.configure(&launch(&command, "limit = 2\n"));
    let daemon = lab.daemon();
    let ids: Vec<String> = ["a", "b", "c", "d", "e"].iter().map(|name| lab.run(name)).collect();
    for id in &ids {
        let worker = lab.finished(id).result().expect("readable").expect("a result").worker.expect("a worker");
        assert!(["auto-1", "auto-2"].contains(&worker.as_str()), "{worker}");
    }
    let calls = called(&lab);
    assert!(calls.len() >= 5, "a worker for each build: {calls:?}");
    assert!(daemon.said().contains("is launched by"), "{}", daemon.said());
    wait_for("nobody is waited for", || launches(&lab) == Launches::default() || called(&lab).len() > calls.len());
    let mut seen = spool::disk::names(&lab.spool.layout().workers()).expect("the workers");
    seen.retain(|name| name.ends_with(".seen"));
    seen.sort();
    assert_eq!(seen, ["auto-1.seen", "auto-2.seen"]);
    drop(daemon);
    gone(&lab);
}

/// Ends what was launched and waits still.
fn gone(lab: &Lab) {
    lab.processes(&["builder-run worker"]).iter().for_each(|pid| {
        let _ = kill_process(*pid, Signal::TERM);
    });
    wait_for("they are gone", || lab.processes(&["builder-run worker"]).is_empty());
    lab.check();
}

#[test]
fn nobody_is_launched_for_what_is_held_back_or_has_a_worker() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.configure(&(launch(&command, "limit = 3\npatience_seconds = 1000\n") + &other(&lab, "x") + &other(&lab, "y")));
    lab.job_with("one", "sleep 1000", &["--every", "never", "--concurrency", "1"]);
    let running = lab.run("one");
    let mut worker = lab.local_worker("mine", &["--keep"]);
    wait_for("it runs", || lab.build(&running).place.word() == "active");
    // No more of it may run now.
    lab.run("one");
    let _daemon = lab.daemon();
    looked_once_more(&lab, "x");
    nobody_was_launched(&lab);
    lab.ok(&["platform", "pause", PLATFORM]);
    lab.job("two", "true");
    lab.run("two");
    looked_once_more(&lab, "y");
    nobody_was_launched(&lab);
    lab.ok(&["platform", "resume", PLATFORM]);
    wait_for("one is launched", || called(&lab) == ["auto-1"]);
    lab.ok(&["cancel", &running]);
    lab.finished(&running);
    assert!(worker.runs());
}

#[test]
fn who_is_on_the_way_when_builderd_is_killed_is_not_launched_again() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.configure(&(launch(&command, "limit = 1\npatience_seconds = 1000\n") + &other(&lab, "x")));
    lab.job("job", "true");
    let id = lab.run("job");
    let daemon = lab.daemon();
    wait_for("it is launched", || called(&lab).len() == 1);
    daemon.kill();
    let _daemon = lab.daemon();
    looked_once_more(&lab, "x");
    assert_eq!(called(&lab), ["auto-1"]);
    assert_eq!(launches(&lab).under_way.len(), 1);
    // It comes at last.
    let worker = lab.local_worker("auto-1", &[]);
    lab.finished(&id);
    assert_eq!(worker.ended(), 0);
    wait_for("it is known to have come", || launches(&lab) == Launches::default());
}

#[test]
fn a_command_that_fails_is_tried_after_a_pause_and_its_last_words_are_known() {
    let lab = Lab::new();
    let good = lab.path("good");
    let text = format!("if [ -e '{}' ]; then {} exit; fi", good.display(), local_worker(&lab));
    let command =
        command(&lab, &format!("{text}\necho 'submitting'; echo 'sbatch: error: no such partition' >&2; exit 3"));
    lab.configure(&launch(&command, "limit = 4\nretry_seconds = 1\n"));
    for name in ["a", "b", "c"] {
        lab.job(name, "true");
        lab.run(name);
    }
    let daemon = lab.daemon();
    let failed = eventually("it has failed twice", || Some(launches(&lab)).filter(|launches| launches.failures >= 2));
    let said = failed.said.expect("why");
    assert!(said.ends_with("launch failed, exit status: 3: sbatch: error: no such partition"), "{said}");
    let pause = failed.until.expect("a moment").duration_since(failed.failed.expect("a moment"));
    assert_eq!(pause.as_secs(), 1 << (failed.failures - 1), "twice as long each time");
    assert!(called(&lab).len() <= 3 + failed.failures as usize, "all at first, then one at a time: {:?}", called(&lab));
    let log = daemon.said();
    assert!(log.contains("the next is tried in") && log.contains("submitting"), "{log}");
    std::fs::write(good, "").expect("written");
    wait_for("all are built", || lab.spool.open_builds().expect("builds").is_empty());
    wait_for("nothing is held against it", || launches(&lab).failures == 0);
    drop(daemon);
    gone(&lab);
}

#[test]
fn a_command_that_hangs_is_killed_with_what_it_has_started() {
    let lab = Lab::new();
    let pids = lab.path("pids");
    // Much is printed by what it leaves behind, and nobody waits for that.
    let text = format!("sleep 1000 & echo $! >>'{0}'; echo $$ >>'{0}'; yes & echo $! >>'{0}'; wait", pids.display());
    let command = command(&lab, &text);
    lab.configure(&launch(&command, "command_seconds = 1\nretry_seconds = 1000\n"));
    lab.job("job", "true");
    lab.run("job");
    let daemon = lab.daemon();
    wait_for("it was killed", || launches(&lab).said.is_some_and(|said| said.contains("ran longer than 1 s")));
    let pids = std::fs::read_to_string(pids).expect("the numbers");
    wait_for("all are gone", || pids.lines().all(|pid| !Path::new("/proc").join(pid).join("exe").exists()));
    assert_eq!(daemon.said().lines().filter(|line| line.contains(" INFO y ")).count(), 20, "{}", daemon.said());
}

#[test]
fn a_command_that_hangs_holds_nothing_else_up() {
    let lab = Lab::new();
    let (waits, go) = (lab.path("waits"), lab.path("go"));
    let command =
        command(&lab, &format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done", waits.display(), go.display()));
    lab.configure(&(launch(&command, "command_seconds = 3600\nlimit = 8\n") + &other(&lab, "x")));
    for number in 0..8 {
        lab.job(&format!("job{number}"), "true");
        lab.run(&format!("job{number}"));
    }
    let daemon = lab.daemon();
    // As many as may run at once.
    wait_for("all hang", || waits.exists() && called(&lab).len() == 8);
    looked_once_more(&lab, "x");
    let script = lab.script("timed.sh", "true");
    let soon = spool::clock::now() + jiff::SignedDuration::from_secs(2);
    let words = ["add", "timed", script.to_str().expect("UTF-8"), "--platform", "y", "--at"];
    lab.ok(&[&words[..], &[soon.to_string().as_str()]].concat());
    wait_for("a timer fires", || daemon.said().contains("job=timed"));
    assert!(!go.exists() && launches(&lab).failures == 0);
    std::fs::write(go, "").expect("the sign");
}

#[test]
fn what_lasts_on_a_platform_is_said_once() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.configure(&(launch(&command, "") + &other(&lab, "x") + &other(&lab, "y")));
    let daemon = lab.daemon();
    wait_for("it serves", || daemon.said().contains("serves"));
    // Nothing can be noted there.
    std::fs::create_dir_all(lab.root().join(format!("launches/{PLATFORM}.toml/x"))).expect("a directory");
    lab.job("job", "true");
    lab.run("job");
    looked_once_more(&lab, "x");
    looked_once_more(&lab, "y");
    let said = daemon.said();
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("no workers can be launched")).collect();
    assert!(complaints.len() == 1 && complaints[0].contains(PLATFORM), "{complaints:?}");
    assert_eq!(called(&lab), Vec::<String>::new());
}

#[test]
fn what_a_command_leaves_running_holds_nothing_up() {
    let lab = Lab::new();
    let left = lab.path("left");
    let text = format!("setsid sh -c 'echo $$ >>\"{}\"; exec sleep 1000' & echo left it", left.display());
    let command = command(&lab, &text);
    // No more than eight commands run at once, so the others wait until some have ended.
    lab.configure(&launch(&command, "limit = 10\npatience_seconds = 1000\n"));
    for number in 0..10 {
        lab.job(&format!("job{number}"), "true");
        lab.run(&format!("job{number}"));
    }
    let _daemon = lab.daemon();
    wait_for("all are launched", || called(&lab).len() == 10);
    let pids = eventually("they go on", || {
        Some(std::fs::read_to_string(&left).unwrap_or_default()).filter(|text| text.lines().count() == 10)
    });
    for pid in pids.lines().filter_map(|pid| pid.parse::<i32>().ok().and_then(Pid::from_raw)) {
        kill_process(pid, Signal::KILL).expect("it has gone on");
    }
}

#[test]
fn who_does_not_come_in_time_has_failed() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.configure(&launch(&command, "patience_seconds = 1\nretry_seconds = 1000\n"));
    lab.job("job", "true");
    lab.run("job");
    let daemon = lab.daemon();
    let late = eventually("it is given up", || launches(&lab).said);
    assert_eq!(late, "worker auto-1 did not come within 1 s");
    let status = lab.ok(&["status"]);
    assert!(status.contains(&format!("1 launch on {PLATFORM} failed: {late}")), "{status}");
    wait_for("it is logged", || {
        daemon.said().contains("a launch has failed, the next is tried in 1000 s: worker auto-1")
    });
}

#[test]
fn who_has_no_key_is_not_launched_and_named_at_once() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.ok(&["worker", "rm", "auto-1"]);
    lab.configure(&launch(&command, "patience_seconds = 1000\n"));
    lab.job("job", "true");
    lab.run("job");
    let daemon = lab.daemon();
    let named = "worker auto-1 is not launched on debian-12: it has no key here, `builder worker add auto-1`";
    wait_for("it is named", || lab.ok(&["status"]).contains(named));
    assert_eq!(called(&lab), [""; 0], "{}", daemon.said());
    let key = lab.key("key").with_extension("pub");
    lab.ok(&["worker", "add", "auto-1", key.to_str().expect("UTF-8"), "--platform", PLATFORM]);
    wait_for("it is launched", || called(&lab) == ["auto-1"]);
    assert!(!lab.ok(&["status"]).contains("has no key"));
    drop(daemon);
    lab.check();
}

#[test]
fn new_settings_take_effect_and_wrong_ones_are_refused() {
    let lab = Lab::new();
    let command = command(&lab, "");
    lab.job("job", "true");
    lab.run("job");
    let daemon = lab.daemon();
    wait_for("it serves", || daemon.said().contains("serves"));
    lab.configure(&launch(&command, "patience_seconds = 1000\n"));
    hang_up(&daemon);
    wait_for("it is launched", || called(&lab) == ["auto-1"]);
    lab.configure(&launch(&command, "patience_seconds = 0\n"));
    hang_up(&daemon);
    wait_for("that is refused", || daemon.said().contains("[launch.debian-12]: `patience_seconds` must be 1"));
    assert_eq!(launches(&lab).under_way.len(), 1);
    lab.configure("");
    hang_up(&daemon);
    wait_for("it is forgotten", || launches(&lab) == Launches::default());
    drop(daemon);
    for (text, why) in [
        ("[launch.debian-12]\nlimit = 1\n", "missing field `command`"),
        ("[launch.debian-12]\ncommand = \"x\"\nlimits = 1\n", "unknown field `limits`"),
        ("[launch.debian-12]\ncommand = \"x 'y\"\n", "a quote is not closed"),
        ("[launch.\"a/b\"]\ncommand = \"x\"\n", "`a/b` is not a platform"),
        ("[launch.a]\ncommand = \"x\"\nworker = \"w\"\n[launch.b]\ncommand = \"x\"\nworker = \"w\"\n", "worker w-1"),
    ] {
        lab.configure(text);
        Finished::of(&mut lab.program("builderd")).refused(78, why);
    }
}

#[test]
fn a_worker_for_whom_there_is_nothing_goes() {
    let lab = Lab::new();
    let worker = lab.local_worker("w", &["--idle", "1", "--keep"]);
    assert_eq!(worker.ended(), 0);
    lab.job("job", "true");
    let id = lab.run("job");
    let worker = lab.local_worker("w", &["--idle", "3", "--keep"]);
    lab.finished(&id);
    assert_eq!(worker.ended(), 0, "when it has had one, too");
    lab.check();
}
