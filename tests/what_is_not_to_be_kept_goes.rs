//! Finished builds go when their time comes, and nothing else does: not the last good one, not a pinned one, not by
//! halves, and without being in anybody's way.

use harness::{Finished, Lab, wait_for};
use spool::keep::{Keep, Pin};
use spool::{clock, disk};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// Runs a job so many times. Returns the builds, the oldest first.
fn built(lab: &Lab, job: &str, times: usize) -> Vec<String> {
    let ids: Vec<String> = (0..times)
        .map(|_| {
            let id = lab.run(job);
            assert_eq!(lab.local_worker("w", &[]).ended(), 0);
            lab.finished(&id);
            id
        })
        .collect();
    settled(lab);
    ids
}

/// What ends owe keeps their builds.
fn settled(lab: &Lab) {
    let done = Finished::of(lab.program("builderd").arg("--once"));
    assert_eq!(done.code, 0, "{done:?}");
}

fn there(lab: &Lab) -> BTreeSet<String> {
    lab.ended().iter().map(|build| build.id.to_string()).collect()
}

fn set<'a>(ids: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    ids.into_iter().cloned().collect()
}

#[test]
fn the_newest_stay_and_it_is_said_why_the_others_go() {
    let lab = Lab::new();
    lab.job("job", "echo $BUILDER_BUILD > f");
    let ids = built(&lab, "job", 4);
    lab.ok(&["set", "job", "--keep", "builds=2"]);
    let said = lab.ok(&["gc", "--dry-run"]);
    assert_eq!(
        said,
        format!(
            "would remove {}: it is not among the newest 2\nwould remove {}: it is not among the newest 2\n",
            ids[0], ids[1]
        )
    );
    assert_eq!(there(&lab), set(&ids), "nothing went");
    let said = lab.ok(&["gc"]);
    assert!(said.starts_with(&format!("removed {}: it is not among the newest 2\n", ids[0])), "{said}");
    assert!(said.ends_with("\n2 builds and 4 contents of 240B went\n"), "{said}");
    assert_eq!(there(&lab), set(&ids[2..]));
    assert_eq!(lab.ok(&["gc", "--json"]).trim(), "[]");
    lab.check();
}

#[test]
fn the_last_good_build_of_each_platform_stays_whatever_is_said() {
    let lab = Lab::new();
    let fails = lab.path("fails");
    lab.job("job", &format!("echo $BUILDER_BUILD > f; ! [ -e {} ]", fails.display()));
    let good = built(&lab, "job", 2);
    std::fs::write(&fails, "").expect("a file");
    let bad = built(&lab, "job", 3);
    lab.ok(&["set", "job", "--keep", "builds=1,days=1,disk=1"]);
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&good[1], &bad[2]]));
    lab.check();
}

/// It may be older than the newest that exited 0: nobody has confirmed that one.
#[test]
fn the_latest_stays_with_what_confirms_it() {
    let lab = Lab::new();
    let text = lab.path("text");
    std::fs::write(&text, "one").expect("a file");
    lab.job_with("job", &format!("cat {} > f", text.display()), &["--every", "never", "--reproduce", "1"]);
    let confirmed = built(&lab, "job", 1);
    assert_eq!(lab.local_worker("w", &[]).ended(), 0, "it is repeated");
    settled(&lab);
    let of_it = there(&lab);
    assert_eq!(of_it.len(), 2);
    for n in 0..2 {
        std::fs::write(&text, format!("before {n}")).expect("a file");
        built(&lab, "job", 1);
        std::fs::write(&text, format!("after {n}")).expect("a file");
        assert_eq!(lab.local_worker("w", &[]).ended(), 0, "it is repeated");
        settled(&lab);
    }
    let before = there(&lab);
    assert_eq!(before.len(), 6);
    lab.ok(&["set", "job", "--keep", "builds=1"]);
    lab.ok(&["gc"]);
    let stays = there(&lab);
    assert!(stays.len() == 4 && of_it.is_subset(&stays), "{before:?} {stays:?}");
    assert!(lab.ok(&["latest", "job"]).contains(&confirmed[0]));
    lab.check();
}

#[test]
fn a_pinned_build_stays_until_it_is_unpinned() {
    let lab = Lab::new();
    lab.job("job", "echo $BUILDER_BUILD > f");
    let ids = built(&lab, "job", 3);
    assert_eq!(lab.ok(&["pin", &ids[0], "--reason", "the release of May"]), format!("pinned {}\n", ids[0]));
    assert_eq!(lab.ok(&["pin", &ids[0]]), format!("{} was pinned already\n", ids[0]));
    assert!(lab.ok(&["show", &ids[0]]).contains(": the release of May\n"));
    lab.ok(&["set", "job", "--keep", "builds=1"]);
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&ids[0], &ids[2]]));
    lab.check();
    // Also when nobody can read why.
    std::fs::write(lab.build(&ids[0]).dir().join("pinned"), "what?").expect("a file");
    assert!(lab.ok(&["show", &ids[0]]).contains("\nPinned "));
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&ids[0], &ids[2]]));
    assert!(lab.builder(&["check"]).stdout.contains("I14: done/"));
    assert_eq!(lab.ok(&["unpin", &ids[0]]), format!("unpinned {}\n", ids[0]));
    assert_eq!(lab.ok(&["unpin", &ids[0]]), format!("{} was not pinned\n", ids[0]));
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&ids[2]]));
    lab.check();
}

#[test]
fn what_is_said_of_all_jobs_holds_for_those_that_say_nothing_and_builderd_keeps_to_it() {
    let lab = Lab::new();
    for job in ["says", "silent"] {
        lab.job(job, "echo $BUILDER_BUILD > f");
    }
    lab.ok(&["set", "says", "--keep", "all"]);
    let (says, silent) = (built(&lab, "says", 3), built(&lab, "silent", 3));
    lab.configure("[keep]\nbuilds = 1\n");
    let daemon = lab.daemon();
    let expected: BTreeSet<String> = set(says.iter().chain([&silent[2]]));
    wait_for("the others are gone", || there(&lab) == expected);
    wait_for("it is logged", || daemon.said().matches("removed").count() >= 2);
    drop(daemon);
    lab.ok(&["set", "says", "--keep", "usual"]);
    settled(&lab);
    assert_eq!(there(&lab), set([&says[2], &silent[2]]));
    lab.check();
}

#[test]
fn what_several_builds_have_is_counted_once_and_goes_with_the_last() {
    let lab = Lab::new();
    lab.job("job", "head -c 1000000 /dev/zero > same");
    let ids = built(&lab, "job", 3);
    lab.configure("[keep]\ndisk = \"1500kB\"\n");
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set(&ids), "a megabyte and its records");
    lab.configure("[keep]\ndisk = \"500kB\"\n");
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&ids[2]]));
    lab.check();
}

#[test]
fn what_a_build_still_owes_keeps_it() {
    let lab = Lab::new();
    lab.job("job", "true");
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let id = lab.run("job");
            assert_eq!(lab.local_worker("w", &[]).ended(), 0);
            id
        })
        .collect();
    lab.ok(&["set", "job", "--keep", "builds=1"]);
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set(&ids));
    settled(&lab);
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&ids[1]]));
}

/// kill -9 of the collector, again and again: each build is there whole or gone, and the rest goes the next time.
#[test]
fn a_collector_that_is_killed_leaves_no_half_of_a_build() {
    let lab = Lab::new();
    lab.job("job", "echo $BUILDER_BUILD > a; echo $BUILDER_BUILD > b");
    let last = built(&lab, "job", 40).pop().expect("the newest");
    lab.ok(&["set", "job", "--keep", "builds=1"]);
    // At each of the first calls that change something, and then later and later.
    for n in (1..40).chain((40..400).step_by(15)) {
        let mut strace = Command::new("strace");
        let kill = format!("inject=/rename,/unlink,rmdir,fsync:signal=KILL:when={n}");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=/rename,/unlink,rmdir,fsync", "-e", &kill]);
        let ours = lab.program("builder");
        strace.arg(ours.get_program()).arg("gc");
        strace.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(lab.path(""));
        let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("strace");
        lab.check();
        if status.success() {
            break;
        }
    }
    lab.ok(&["gc"]);
    assert_eq!(there(&lab), set([&last]));
    settled(&lab);
    assert_eq!(disk::names(&lab.root().join("tmp")).expect("tmp"), Vec::<String>::new());
    lab.check();
}

/// Of a pin and a collector one is first: a build whose pin was acknowledged stays.
#[test]
fn a_pin_holds_against_a_collector_that_has_decided_already() {
    let lab = Lab::new();
    lab.job("job", "true");
    let ids = built(&lab, "job", 3);
    let keep = Keep { builds: Some(1), ..Keep::default() };
    let going = lab.spool.going(&keep, clock::now()).expect("decided");
    assert_eq!(going.len(), 2);
    lab.ok(&["pin", &ids[0]]);
    let mut gone = Vec::new();
    let tell = |one: &spool::keep::Going| {
        gone.push(one.id.to_string());
        Ok(())
    };
    lab.spool.let_go(&going, tell).expect("gone");
    assert_eq!((gone, there(&lab)), (vec![ids[1].clone()], set([&ids[0], &ids[2]])));
}

/// And a pin that comes too late is not acknowledged: it waits for the lock, and finds that the build has gone meanwhile.
#[test]
fn a_pin_that_is_late_is_refused() {
    let lab = Lab::new();
    lab.job("job", "true");
    let id = built(&lab, "job", 1).remove(0);
    let build = lab.build(&id);
    let dir = std::fs::File::open(build.dir()).expect("the build");
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).expect("its lock");
    let waits = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&dir.metadata().expect("its number")));
    let refused = std::thread::scope(|scope| {
        let pin = scope.spawn(|| lab.spool.set_pin(&build, &Pin { since: clock::now(), reason: None }));
        wait_for("it waits for the lock", || {
            let locks = std::fs::read_to_string("/proc/locks").expect("the locks");
            locks.lines().any(|line| line.contains("->") && line.contains(&waits))
        });
        std::fs::rename(build.dir(), lab.path("gone")).expect("moved");
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::Unlock).expect("unlocked");
        pin.join().expect("no panic").expect_err("it has gone")
    });
    assert_eq!(refused.to_string(), format!("{id} was removed"));
}

#[test]
fn builds_go_while_others_run() {
    let lab = Lab::new();
    lab.job("old", "echo $BUILDER_BUILD > f");
    built(&lab, "old", 12);
    lab.ok(&["set", "old", "--keep", "builds=1"]);
    lab.job("new", "echo x > f; echo $BUILDER_BUILD > g");
    let workers: Vec<_> = ["a", "b"].map(|name| lab.local_worker(name, &["--keep"])).into();
    let ids: Vec<String> = (0..12)
        .map(|_| {
            let id = lab.run("new");
            lab.ok(&["gc"]);
            lab.finished(&id);
            id
        })
        .collect();
    drop(workers);
    settled(&lab);
    lab.ok(&["gc"]);
    assert_eq!(there(&lab).len(), 13, "12 of one and 1 of the other");
    assert!(set(&ids).is_subset(&there(&lab)));
    lab.check();
}

#[test]
fn what_keeps_nothing_is_refused_in_one_line() {
    let lab = Lab::new();
    lab.job("job", "true");
    for what in
        ["", "0", "builds=0", "builds", "builds=x", "days=-1", "disk=0", "disk=1XB", "weeks=1", "builds=1;days=2"]
    {
        lab.builder(&["set", "job", "--keep", what]).refused(64, "says nothing that can be kept");
    }
    lab.configure("[keep]\ndays = 0\n");
    lab.builder(&["ls"]).refused(78, "`keep` must say 1 or more");
    lab.configure("[keep]\nweeks = 1\n");
    lab.builder(&["ls"]).refused(78, "unknown field `weeks`");
    lab.configure("");
    lab.builder(&["pin", "job"]).refused(66, "there is no build of job yet; `builder run job` queues one");
    let id = lab.run("job");
    lab.builder(&["pin", &id]).refused(75, "is not over");
    lab.builder(&["pin", &id, "--reason", "two\nlines"]).refused(64, "is not one short line");
    assert_eq!(lab.ok(&["set", "job", "--keep", "builds=3, days=90,disk=200G"]).lines().count(), 1);
    let job = std::fs::read_to_string(lab.root().join("jobs/job.toml")).expect("the job");
    assert!(job.contains("builds = 3\ndays = 90\ndisk = \"200GB\"\n"), "{job}");
}
