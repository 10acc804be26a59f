//! The end of a build: other jobs that come after it, another try, and hooks, each also when a crash comes between.

use harness::{Finished, Lab, PLATFORM, eventually, wait_for};
use spool::find::Build;
use spool::record::{Origin, Outcome};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The finished builds of a job, the oldest first.
fn ended<'l>(lab: &'l Lab, job: &str) -> Vec<Build<'l>> {
    let mut builds = lab.spool.ended_of(&job.parse().expect("a name"), None, usize::MAX).expect("the builds");
    builds.reverse();
    builds
}

fn settled(lab: &Lab) {
    wait_for("nothing is owed and nothing waits", || {
        lab.spool.owing().expect("what is owed").is_empty() && lab.spool.open_builds().expect("builds").is_empty()
    });
}

#[test]
fn a_job_comes_after_the_success_of_another_on_the_same_platform() {
    let lab = Lab::new();
    let fails = lab.path("fails");
    lab.job("base", &format!("test ! -e {}", fails.display()));
    lab.job_with("middle", "true", &["--after", "base"]);
    lab.job_with("top", "true", &["--after", "middle", "--after", "base"]);
    let (_daemon, _worker) = (lab.daemon(), lab.local_worker("w", &["--keep"]));
    let base = lab.run("base");
    settled(&lab);
    assert_eq!(ended(&lab, "middle").len(), 1);
    let request = ended(&lab, "middle")[0].request().expect("readable").expect("there");
    assert_eq!((request.origin, request.because_of.map(|id| id.to_string())), (Origin::After, Some(base)));
    assert!((1..=2).contains(&ended(&lab, "top").len()), "after each of two, or after both when it waited still");
    std::fs::write(&fails, "").expect("the sign");
    lab.run("base");
    settled(&lab);
    assert_eq!((ended(&lab, "base").len(), ended(&lab, "middle").len()), (2, 1), "not after a failure");
}

#[test]
fn a_job_can_not_come_after_itself() {
    let lab = Lab::new();
    lab.job("a", "true");
    lab.job_with("b", "true", &["--after", "a"]);
    lab.job_with("c", "true", &["--after", "b"]);
    lab.builder(&["set", "a", "--after", "c"]).refused(65, "a after c after b after a");
    lab.builder(&["set", "a", "--after", "a"]).refused(65, "a after a");
    lab.builder(&["set", "a", "--after", "nobody"]).refused(66, "nobody");
    let removed = lab.builder(&["rm", "b"]);
    assert!(removed.code == 0 && removed.stderr.contains("c came after b"), "{removed:?}");
    lab.ok(&["set", "c", "--after", "none"]);
    assert!(!lab.ok(&["edit", "c", "--print"]).contains("after"));
}

#[test]
fn a_circle_that_a_hand_has_written_does_not_go_round() {
    let lab = Lab::new();
    lab.job("a", "true");
    lab.job_with("b", "true", &["--after", "a"]);
    let file = lab.root().join("jobs/a.toml");
    let text = std::fs::read_to_string(&file).expect("the job");
    std::fs::write(&file, format!("after = [\"b\"]\n{text}")).expect("a circle");
    lab.builder(&["check"]).refused(65, "2 faults found");
    let daemon = lab.daemon();
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.run("a");
    settled(&lab);
    assert!(daemon.said().contains("b after a after b"), "{}", daemon.said());
    assert_eq!((ended(&lab, "a").len(), ended(&lab, "b").len()), (1, 0));
    // Once one of them is mended, the other one comes after it again.
    std::fs::write(&file, text).expect("mended");
    wait_for("the daemon has seen it, and b comes after a", || {
        lab.run("a");
        settled(&lab);
        !ended(&lab, "b").is_empty()
    });
}

#[test]
fn a_build_that_fails_is_tried_again_as_often_as_was_asked_for() {
    let lab = Lab::new();
    let count = lab.path("count");
    let script = format!("echo x >> {0}; test $(wc -l < {0}) -ge 3", count.display());
    lab.job_with("flaky", &script, &["--every", "never", "--retries", "3", "--retry-failures"]);
    lab.job_with("hopeless", "false", &["--every", "never", "--retries", "2", "--retry-failures"]);
    lab.job_with("once", "false", &["--every", "never", "--retries", "2"]);
    let (_daemon, _worker) = (lab.daemon(), lab.local_worker("w", &["--keep"]));
    for name in ["flaky", "hopeless", "once"] {
        lab.run(name);
        settled(&lab);
    }
    let outcomes = |name: &str| -> Vec<Outcome> {
        ended(&lab, name).iter().map(|build| build.result().expect("readable").expect("there").outcome).collect()
    };
    let exited = |code| Outcome::Exited { code };
    assert_eq!(outcomes("flaky"), [exited(1), exited(1), exited(0)]);
    assert_eq!(outcomes("hopeless"), [exited(1), exited(1), exited(1)]);
    assert_eq!(outcomes("once"), [exited(1)], "only when that was asked for");
    let retries = ended(&lab, "flaky")
        .iter()
        .map(|build| build.request().expect("readable").expect("there").retry)
        .collect::<Vec<_>>();
    assert_eq!(retries, [0, 1, 2]);
}

#[test]
fn a_retry_waits_longer_each_time() {
    let lab = Lab::new();
    std::fs::write(lab.config(), "retry_seconds = 3600\n").expect("a configuration");
    lab.job_with("job", "false", &["--every", "never", "--retry-failures"]);
    let id = lab.run("job");
    let daemon = lab.daemon();
    let _worker = lab.local_worker("w", &["--keep"]);
    lab.finished(&id);
    // What is not owed any more is noted, and the retry is still to come.
    wait_for("the daemon has looked", || {
        std::fs::read_to_string(lab.root().join("owed").join(&id))
            .is_ok_and(|text| text == "after\nrebuild\nlatest\nseal\nhooks\n")
    });
    assert!(lab.spool.open_builds().expect("builds").is_empty());
    let ended = lab.spool.ended(&id.parse().expect("an id")).expect("readable").expect("there");
    let at = lab.spool.retry_at(&ended, jiff::SignedDuration::from_hours(1)).expect("a moment");
    assert_eq!(at.duration_since(ended.result.finished).as_secs(), 3600);
    daemon.kill();
    std::fs::write(lab.config(), "retry_seconds = 0\n").expect("a configuration");
    let _daemon = lab.daemon();
    wait_for("it is tried again after the daemon was killed", || self::ended(&lab, "job").len() >= 2);
}

/// A hook that writes down what it is told.
fn hook(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.path("hooks.d").join(name);
    let _ = std::fs::create_dir(lab.path("hooks.d"));
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a hook");
    harness::make_executable(&path);
    path
}

#[test]
fn hooks_run_after_each_build_in_their_order_and_change_nothing() {
    let lab = Lab::new();
    lab.configure("hook_seconds = 1\n");
    let told = lab.path("told");
    let tell = format!(
        "echo {{}} $BUILDER_JOB $BUILDER_END $BUILDER_BEFORE $BUILDER_PLATFORM $(ls $1/result.toml) >> {}",
        told.display()
    );
    let tell = |what: &str| tell.replace("{}", what);
    hook(&lab, "20-second", &tell("second"));
    hook(&lab, "10-first", &format!("{}; exit 3", tell("first")));
    hook(&lab, "30-never-ends", "sleep 1000");
    hook(&lab, "40-last", &tell("last"));
    hook(&lab, "with.dot", &tell("dot"));
    let writable = hook(&lab, "50-anybodys", &tell("anybodys"));
    std::fs::set_permissions(&writable, std::fs::Permissions::from_mode(0o777)).expect("its mode");
    let plain = hook(&lab, "60-plain", &tell("plain"));
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    let fails = lab.path("fails");
    lab.job("job", &format!("test ! -e {}", fails.display()));
    let daemon = lab.daemon();
    let _worker = lab.local_worker("w", &["--keep"]);
    let mut expected = String::new();
    for (n, (end, before)) in [("done", "none"), ("failed", "done"), ("done", "failed")].into_iter().enumerate() {
        if end == "failed" {
            std::fs::write(&fails, "").expect("the sign");
        } else {
            let _ = std::fs::remove_file(&fails);
        }
        let id = lab.run("job");
        lab.finished(&id);
        let result = lab.build(&id).dir().join("result.toml");
        for what in ["first", "second", "last"] {
            expected += &format!("{what} job {end} {before} {PLATFORM} {}\n", result.display());
        }
        wait_for("the hooks have run", || {
            std::fs::read_to_string(&told).unwrap_or_default().lines().count() == 3 * (n + 1)
        });
    }
    settled(&lab);
    assert_eq!(std::fs::read_to_string(&told).expect("what was told"), expected);
    let said = daemon.said();
    assert!(
        said.contains("10-first failed: exit status: 3") && said.contains("30-never-ends: it ran longer than 1 s"),
        "{said}"
    );
    assert!(said.contains("50-anybodys is left out"), "{said}");
    lab.check();
}

#[test]
fn what_is_owed_survives_the_daemon() {
    let lab = Lab::new();
    let (told, held) = (lab.path("told"), lab.path("held"));
    hook(
        &lab,
        "hook",
        &format!("echo $BUILDER_BUILD >> {}; while [ -e {} ]; do sleep 0.02; done", told.display(), held.display()),
    );
    std::fs::write(&held, "").expect("the sign");
    lab.job("base", "true");
    lab.job_with("next", "true", &["--after", "base"]);
    let id = lab.run("base");
    {
        let _worker = lab.local_worker("w", &["--keep"]);
        lab.finished(&id);
    }
    // While no daemon runs, nothing is forgotten.
    assert_eq!(lab.spool.owing().expect("what is owed").len(), 1);
    let daemon = lab.daemon();
    wait_for("the hook runs", || told.exists());
    eventually("the next one is queued", || {
        lab.spool.queued_of(&"next".parse().expect("a name"), &PLATFORM.parse().expect("a platform")).expect("it")
    });
    daemon.kill();
    std::fs::remove_file(&held).expect("the sign");
    assert_eq!(Finished::of(lab.program("builderd").arg("--once")).code, 0);
    let told = std::fs::read_to_string(&told).expect("what was told");
    assert_eq!(told, format!("{id}\n{id}\n"), "it had not been noted that the hook was over");
    assert!(lab.spool.owing().expect("what is owed").is_empty());
    assert_eq!(lab.spool.open_builds().expect("builds").len(), 1, "queued once");
    // As after a crash before anything was noted, when what it had queued is built already.
    {
        let _worker = lab.local_worker("w", &["--keep"]);
        wait_for("the next one is over", || ended(&lab, "next").len() == 1);
    }
    std::fs::write(lab.root().join("owed").join(&id), "").expect("a note that says nothing");
    assert_eq!(Finished::of(lab.program("builderd").arg("--once")).code, 0);
    assert_eq!((lab.spool.open_builds().expect("builds").len(), ended(&lab, "next").len()), (0, 1));
}
