//! The queue under an operator's hand: order, platforms, drains, limits, workers that fail.

use harness::{Finished, Lab, PLATFORM, eventually, wait_for};
use spool::name::Platform;
use spool::place::{Place, Priority};
use spool::record::Outcome;

/// The jobs that wait, in the order in which they would be taken.
fn waiting(lab: &Lab) -> Vec<String> {
    let queue = lab.spool.queue(&PLATFORM.parse().expect("a platform")).expect("the queue");
    queue.iter().map(|ticket| ticket.id.job().to_string()).collect()
}

fn state(lab: &Lab, platform: &str) -> Vec<String> {
    let listed = lab.ok(&["platform", "ls"]);
    let line = listed.lines().find(|line| line.trim_start().starts_with(platform)).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn builds_go_in_the_order_of_their_priorities_and_run_puts_one_in_front() {
    let lab = Lab::new();
    for (name, priority) in [("late", "90"), ("usual", "50"), ("early", "20")] {
        lab.job_with(name, "true", &["--priority", priority]);
    }
    assert_eq!(waiting(&lab), ["early", "usual", "late"]);
    let moved = lab.builder(&["run", "late"]);
    assert!(moved.code == 0 && moved.stderr.contains("already"), "{moved:?}");
    assert_eq!(waiting(&lab), ["late", "early", "usual"], "in front, and not twice");
    let moved = lab.builder(&["run", "usual", "--priority", "5"]);
    assert!(moved.code == 0 && moved.stderr.contains("it has this priority now"), "{moved:?}");
    assert_eq!(waiting(&lab), ["usual", "late", "early"]);
    lab.ok(&["set", "early", "--priority", "1"]);
    assert_eq!(waiting(&lab), ["early", "usual", "late"], "what waits has the new priority");
    let worker = lab.local_worker("w", &["--keep"]);
    wait_for("all are over", || lab.ended().len() == 3);
    drop(worker);
    let mut ran = lab.ended();
    ran.sort_by_key(|build| build.result().expect("readable").expect("there").started);
    let ran: Vec<String> = ran.iter().map(|build| build.id.job().to_string()).collect();
    assert_eq!(ran, ["early", "usual", "late"]);
}

#[test]
fn who_waits_for_a_build_exits_as_it_does_and_a_value_can_be_set_once() {
    let lab = Lab::new();
    let text = "#!/bin/sh\n#% var CODE=3: what it exits with\nexit '%%CODE%%'\n";
    let template = lab.script("t", text);
    let template = template.to_str().expect("UTF-8");
    lab.ok(&["add", "job", "--template", template, "--platform", PLATFORM, "--every", "never"]);
    let _worker = lab.local_worker("w", &["--keep"]);
    assert_eq!(lab.builder(&["run", "job", "--wait"]).code, 3);
    assert_eq!(lab.builder(&["run", "job", "--wait", "--set", "CODE=7"]).code, 7);
    assert_eq!(lab.builder(&["run", "job", "--wait"]).code, 3, "for that build alone");
    assert_eq!(lab.builder(&["run", "job", "--wait", "--set", "CODE=0"]).code, 0);
    lab.builder(&["run", "job", "--set", "CIDE=7"]).refused(64, "CIDE");
    lab.job("plain", "true");
    lab.builder(&["run", "plain", "--set", "CODE=7"]).refused(64, "no template");
    lab.ok(&["platform", "pause", PLATFORM]);
    lab.run("job");
    lab.builder(&["run", "job", "--set", "CODE=7"]).refused(75, "waits in its queue already");
}

#[test]
fn a_paused_platform_keeps_its_queue_and_hands_out_nothing() {
    let lab = Lab::new();
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.job("first", "true");
    lab.finished(&lab.run("first"));
    lab.ok(&["platform", "pause", PLATFORM]);
    let id = lab.run("first");
    // Another platform goes on, with the same kind of worker; when it has built, the paused one could have, too.
    let script = lab.script("other.sh", "true");
    lab.ok(&["add", "other", script.to_str().expect("UTF-8"), "--platform", "other-1", "--every", "never"]);
    let mut other = lab.program("builder-run");
    other.args(["worker", "--platform", "other-1", "--platform", PLATFORM, "--name", "o", "--keep", "--local"]);
    let _other = harness::Running::start("o", other.arg(lab.root()), &lab.path("o.log"));
    let done = lab.run("other");
    lab.finished(&done);
    assert_eq!(lab.build(&id).place.word(), "queued");
    assert_eq!(state(&lab, PLATFORM)[..4], [PLATFORM, "paused", "1", "queued"]);
    lab.builder(&["platform", "pause", PLATFORM]).refused(65, "is paused");
    lab.builder(&["platform", "restore", PLATFORM]).refused(65, "is paused");
    lab.builder(&["platform", "pause", "debain-12"]).refused(66, "did you mean debian-12?");
    lab.ok(&["platform", "resume", PLATFORM]);
    lab.finished(&id);
}

#[test]
fn a_dropped_platform_has_no_queue_takes_no_jobs_and_sends_its_workers_away() {
    let lab = Lab::new();
    lab.job("job", "true");
    let id = lab.run("job");
    let dropped = lab.ok(&["platform", "drop", PLATFORM]);
    assert!(dropped.contains(&id) && dropped.contains("1 queued build"), "{dropped}");
    assert_eq!(waiting(&lab), Vec::<String>::new());
    lab.builder(&["run", "job"]).refused(65, "is dropped");
    let script = lab.script("s", "true");
    let add = ["add", "new", script.to_str().expect("UTF-8"), "--platform", PLATFORM];
    lab.builder(&add).refused(65, "`builder platform restore debian-12`");
    let come_again = || {
        let mut worker = lab.program("builder-run");
        worker.args(["worker", "--platform", PLATFORM, "--local"]).arg(lab.root());
        Finished::of(&mut worker)
    };
    for _ in 0..2 {
        let gone = come_again();
        assert!(gone.code == 77 && gone.stderr.contains("platform debian-12 is dropped here"), "{gone:?}");
    }
    assert_eq!(state(&lab, PLATFORM)[1], "dropped", "a worker that returns does not undo it");
    lab.ok(&["platform", "restore", PLATFORM]);
    lab.run("job");
    assert_eq!(come_again().code, 0);
}

#[test]
fn a_worker_that_waits_goes_when_its_platform_is_dropped() {
    let lab = Lab::new();
    let worker = lab.local_worker("w", &[]);
    wait_for("it is connected", || {
        lab.ok(&["worker", "ls", "--json"]).contains("\"connected\": true") || worker.said().contains("connected")
    });
    wait_for("its platform is known", || !state(&lab, PLATFORM).is_empty());
    lab.ok(&["platform", "drop", PLATFORM]);
    assert_eq!(worker.ended(), 77);
}

#[test]
fn a_job_for_all_platforms_is_built_where_it_has_a_script() {
    let lab = Lab::new();
    let templates = lab.path("templates");
    std::fs::create_dir(&templates).expect("a directory");
    let template = |name: &str, platforms: &str| {
        let text = format!("#!/bin/sh\n#% platforms: {platforms}\n#% var WHAT: what\necho {name} '%%WHAT%%'\n");
        std::fs::write(templates.join(name), text).expect("a template");
    };
    template("t.linux", "debian-* ubuntu-*");
    template("t.bsd", "freebsd-*");
    lab.configure(&format!("templates = {templates:?}\n"));
    for platform in ["debian-12", "freebsd-14", "plan-9"] {
        lab.spool.know_platform(&platform.parse().expect("a platform")).expect("known");
    }
    let built = |ids: &str| -> Vec<String> {
        let ids = ids.lines().map(|id| id.parse::<spool::build_id::BuildId>().expect("an id"));
        ids.map(|id| id.platform().to_string()).collect()
    };
    let first = lab.ok(&["add", "job", "--template", "t", "--set", "WHAT=x", "--platform", "all"]);
    assert_eq!(built(&first), ["debian-12", "freebsd-14"], "not where no template is for");
    let script = |platform: &str| {
        let queue = lab.spool.queue(&platform.parse().expect("a platform")).expect("the queue");
        std::fs::read_to_string(lab.spool.layout().queued(queue.first().expect("a build")).join("script")).expect("it")
    };
    assert!(script("debian-12").ends_with("echo t.linux 'x'\n") && script("freebsd-14").ends_with("echo t.bsd 'x'\n"));
    // A platform that appears gets the job, once; one that is dropped loses it.
    let _daemon = lab.daemon();
    lab.spool.know_platform(&"ubuntu-24.04".parse().expect("a platform")).expect("known");
    let ubuntu: Platform = "ubuntu-24.04".parse().expect("a platform");
    let id = eventually("it is queued there", || lab.spool.queue(&ubuntu).expect("the queue").pop_first());
    lab.ok(&["cancel", id.id.as_str()]);
    lab.ok(&["platform", "drop", "debian-12"]);
    lab.ok(&["platform", "drop", "plan-9"]);
    wait_for("the daemon has looked", || lab.spool.owing().expect("what is owed").is_empty());
    assert!(lab.spool.queue(&ubuntu).expect("the queue").is_empty(), "once");
    assert_eq!(built(&lab.ok(&["run", "job"])), ["freebsd-14", "ubuntu-24.04"]);
}

#[test]
fn a_drain_hands_out_nothing_and_lets_what_runs_go_on() {
    let lab = Lab::new();
    let go = lab.path("go");
    lab.job("long", &format!("echo begun; while [ ! -e {} ]; do sleep 0.02; done", go.display()));
    lab.job("next", "true");
    let _workers: Vec<_> = ["a", "b"].iter().map(|name| lab.local_worker(name, &["--keep"])).collect();
    let running = lab.run("long");
    wait_for("it runs", || lab.ok(&["log", &running]).contains("begun"));
    lab.ok(&["drain"]);
    let queued = lab.run("next");
    let mut wait = lab.program("builder");
    let waiting = harness::Running::start("drain", wait.args(["drain", "--wait"]), &lab.path("drain.log"));
    std::fs::write(&go, "").expect("the sign");
    assert_eq!(waiting.ended(), 0);
    assert!(matches!(lab.build(&running).place, Place::Ended(_)), "the wait was for this one");
    assert_eq!(lab.build(&queued).place.word(), "queued");
    lab.ok(&["drain", "--off"]);
    lab.finished(&queued);
    lab.builder(&["drain", "--off"]).refused(65, "does not drain");
}

#[test]
fn a_job_never_runs_more_often_at_once_than_it_may() {
    let lab = Lab::new();
    let _workers: Vec<_> = ["a", "b", "c"].iter().map(|name| lab.local_worker(name, &["--keep"])).collect();
    for (name, most) in [("one", 1), ("two", 2)] {
        let mark = lab.path(name);
        std::fs::create_dir(&mark).expect("a directory");
        let script = format!("me=$BUILDER_BUILD; : > {0}/$me; ls {0} | wc -l; sleep 0.3; rm {0}/$me", mark.display());
        lab.job_with(name, &script, &["--every", "never", "--concurrency", &most.to_string()]);
        let mut ids = Vec::new();
        for _ in 0..4 {
            let id = lab.run(name);
            wait_for("it is taken, or waits for its turn", || {
                lab.build(&id).place.word() != "queued" || active(&lab, name) == most
            });
            // Its turn comes, at the latest when another one is over.
            wait_for("it was taken", || lab.build(&id).place.word() != "queued");
            ids.push(id);
        }
        let seen: Vec<usize> = ids
            .iter()
            .map(|id| {
                lab.finished(id);
                lab.ok(&["log", id]).trim().parse().expect("a number")
            })
            .collect();
        assert_eq!(seen.iter().max(), Some(&most), "{name}: {seen:?}");
    }
}

fn active(lab: &Lab, job: &str) -> usize {
    lab.spool.active_builds().expect("builds").iter().filter(|build| build.id.job().as_str() == job).count()
}

#[test]
fn a_build_that_prints_nothing_or_too_much_is_ended() {
    let lab = Lab::new();
    let _worker = lab.local_worker("w", &["--keep", "--kill-after", "1"]);
    lab.job_with("silent", "echo a; sleep 0.5; echo b; sleep 1000", &["--every", "never", "--silence", "2s"]);
    let id = lab.run("silent");
    assert_eq!(lab.outcome(&id), Outcome::Silent);
    assert_eq!(lab.ok(&["log", &id]), "a\nb\n", "what was printed in time kept it alive");
    assert_eq!(lab.builder(&["watch", &id]).code, 124);
    lab.job_with("loud", "while :; do echo 0123456789abcdef; done", &["--every", "never", "--log-limit", "100kB"]);
    let id = lab.run("loud");
    assert!(matches!(lab.outcome(&id), Outcome::Aborted { reason } if reason.contains("more than 100000 bytes")));
    let log = lab.build(&id).dir().join("console.log").metadata().expect("the log").len();
    assert!(log <= 100_000, "{log}");
}

#[test]
fn a_worker_that_fails_build_after_build_gets_none_for_a_while() {
    let lab = Lab::new();
    std::fs::write(lab.config(), "grace_seconds = 2\nquarantine_seconds = 3600\n").expect("a configuration");
    for name in ["a", "b", "c", "d"] {
        lab.job(name, "exit 1");
    }
    let _worker = lab.local_worker("w", &["--keep"]);
    for name in ["a", "b", "c"] {
        lab.finished(&lab.run(name));
    }
    let until = || lab.spool.quarantined(&"w".parse().expect("a name"), spool::clock::now());
    wait_for("it is in quarantine", || until().is_some());
    let shown = lab.ok(&["worker", "ls"]);
    assert!(shown.contains("in quarantine") && shown.contains("3 builds failed at once"), "{shown}");
    let id = lab.run("d");
    // One that is well takes it, and the other one could have.
    let well = lab.local_worker("well", &["--keep"]);
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").worker, Some("well".parse().expect("a name")));
    drop(well);
    let id = lab.run("a");
    lab.ok(&["worker", "release", "w"]);
    lab.finished(&id);
    lab.builder(&["worker", "release", "nobody"]).refused(66, "nobody");
}

#[test]
fn a_full_queue_takes_no_more() {
    let lab = Lab::new();
    lab.configure("[limits]\nqueue = 2\n");
    for name in ["a", "b", "c"] {
        lab.job(name, "true");
    }
    lab.run("a");
    lab.run("b");
    lab.builder(&["run", "c"]).refused(75, "the queue of debian-12 is full: 2 builds wait in it");
    lab.ok(&["run", "a"]);
    lab.builder(&["add", "d", lab.script("s", "true").to_str().expect("UTF-8"), "--platform", PLATFORM])
        .refused(75, "is full");
    assert_eq!(waiting(&lab).len(), 2);
    // A timer's build goes where there is room, and where there is none as soon as there is.
    let script = lab.script("s", "true");
    let words = ["--platform", "freebsd-14", "--platform", PLATFORM, "--at", "2099-01-01T00:00:00Z"];
    lab.ok(&[&["add", "both", script.to_str().expect("UTF-8")][..], &words].concat());
    let file = lab.root().join("jobs/both.toml");
    let text = std::fs::read_to_string(&file).expect("the job").replace("2099", "2020");
    std::fs::write(&file, text).expect("a moment that has passed");
    let once = || Finished::of(lab.program("builderd").arg("--once"));
    assert!(once().stderr.contains("is full"));
    let elsewhere = lab.spool.queue(&"freebsd-14".parse().expect("a platform")).expect("it");
    assert_eq!((elsewhere.len(), waiting(&lab).len()), (1, 2));
    lab.ok(&["cancel", "a"]);
    assert_eq!(once().code, 0);
    let elsewhere = lab.spool.queue(&"freebsd-14".parse().expect("a platform")).expect("it");
    assert_eq!((elsewhere.len(), waiting(&lab)), (1, vec!["b".to_owned(), "both".to_owned()]));
    assert!(!lab.ok(&["ls"]).contains("\n  d "), "a job whose build does not fit is not added");
    assert_eq!(
        lab.spool.queue(&PLATFORM.parse().expect("a platform")).expect("it").first().map(|one| one.priority),
        Some(Priority::FRONT)
    );
}
