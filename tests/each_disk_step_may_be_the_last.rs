//! Every program is killed at its first disk step, its second, and so on to its end. After each death builderd starts,
//! and then each invariant holds, what was acknowledged is there, what was not is there as a whole or not at all, and who
//! asks again gets what they wanted. The course of a build is in `each_disk_step_of_a_build_may_be_the_last.rs`.
//!
//! What a kill leaves is what the system calls before it have made. What a power cut leaves is shown elsewhere.

use harness::{Lab, PLATFORM, Verb, house, put_copy};
use spool::digest::Sha256;
use spool::disk;
use spool::find::Build;
use spool::place::{End, Place, Priority};
use spool::platform::State;
use spool::record::Outcome;
use spool::schedule::Every;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k w";

fn has_job(lab: &Lab, job: &str) -> bool {
    lab.spool.layout().job(&job.parse().expect("a name")).exists()
}

#[test]
fn of_init() {
    let lab = Lab::in_memory();
    std::fs::remove_dir_all(lab.root()).expect("removed");
    let init = Verb::builder(&["init"], "spool at");
    // The shards of the store are made one like the other.
    let wanted = |step| !(30..260).contains(&step) || step % 50 == 0;
    let steps = lab.killed_at_steps(&init, wanted, |acknowledged| {
        if !acknowledged {
            init.again(&lab);
        }
        use std::os::unix::fs::PermissionsExt;
        let mode = lab.root().metadata().expect("a spool").permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
        lab.check();
    });
    assert!(steps > 290, "{steps}");
}

#[test]
fn of_add() {
    let lab = Lab::in_memory();
    let script = lab.script("s", "echo added");
    let script = script.to_str().expect("UTF-8");
    let add = Verb::builder(&["add", "daily", script, "--platform", PLATFORM, "--every", "daily"], "-daily@debian-12-");
    let steps = lab.killed_at_each_step(&add, |acknowledged| {
        assert!(!acknowledged || has_job(&lab, "daily"));
        assert_eq!(lab.queued_of("daily"), usize::from(has_job(&lab, "daily")));
        match has_job(&lab, "daily") {
            true => lab.builder(&["add", "daily", script, "--platform", PLATFORM]).refused(73, "there is a job"),
            false => add.again(&lab),
        }
        assert_eq!(lab.queued_of("daily"), 1);
    });
    assert!(steps > 20, "{steps}");
}

#[test]
fn of_set_and_of_prioritising() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "job", None);
    house::run(&lab.spool, "job", Priority::NORMAL);
    let set = Verb::builder(&["set", "job", "--priority", "7"], "job");
    lab.killed_at_each_step(&set, |acknowledged| {
        let priorities = || {
            let job = lab.spool.job(&"job".parse().expect("a name")).expect("a job");
            let all = lab.builds_of("job");
            let [Build { place: Place::Queued(ticket), .. }] = &all[..] else { panic!("{all:?}") };
            (u8::from(job.priority), u8::from(ticket.priority))
        };
        assert!(priorities() == (7, 7) || !acknowledged && [(50, 50), (50, 7)].contains(&priorities()));
        set.again(&lab);
        assert_eq!(priorities(), (7, 7));
    });
}

#[test]
fn of_run() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "job", None);
    let run = Verb::builder(&["run", "job"], "-job@debian-12-");
    let steps = lab.killed_at_each_step(&run, |acknowledged| {
        assert!(lab.queued_of("job") == 1 || !acknowledged && lab.queued_of("job") == 0);
        run.again(&lab);
        assert_eq!(lab.queued_of("job"), 1);
    });
    assert!(steps > 10, "{steps}");
}

#[test]
fn of_firing() {
    for jobs in [2, 10] {
        let lab = Lab::in_memory();
        let names: Vec<String> = (0..jobs).map(|n| format!("job{n}")).collect();
        for name in &names {
            house::add(&lab.spool, name, Some(Every::Daily));
            lab.ok(&["cancel", name]);
            let ended = lab.builds_of(name).remove(0).dir();
            std::fs::remove_dir_all(ended).expect("removed");
            std::fs::remove_file(lab.spool.layout().timer(&name.parse().expect("a name"))).expect("removed");
            let _ = std::fs::remove_dir_all(lab.root().join("owed"));
            std::fs::create_dir(lab.root().join("owed")).expect("made");
        }
        lab.killed_at_each_step(&Verb::daemon(), |_| {
            for name in &names {
                assert_eq!(lab.queued_of(name), 1, "{name}");
                assert!(lab.spool.fired(&name.parse().expect("a name")).expect("readable").is_some());
            }
        });
    }
}

/// Ends builds of two jobs whose ends owe something: one more build each.
fn owing(lab: &Lab) {
    lab.job_with("bad", "exit 1", &["--every", "never", "--retry-failures"]);
    lab.job_with("good", "true", &["--every", "never"]);
    lab.job_with("next", "true", &["--every", "never", "--after", "good"]);
    let worker = "w".parse().expect("a name");
    house::ended(&lab.spool, "bad", &worker, false);
    house::ended(&lab.spool, "good", &worker, true);
}

#[test]
fn of_what_ends_owe() {
    let lab = Lab::in_memory();
    owing(&lab);
    let steps = lab.killed_at_each_step(&Verb::daemon(), |_| {
        assert_eq!((lab.builds_of("bad").len(), lab.builds_of("good").len(), lab.queued_of("next")), (2, 1, 1));
        assert!(lab.spool.owing().expect("readable").is_empty());
    });
    assert!(steps > 20, "{steps}");
}

#[test]
fn of_cancelling() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "waits", None);
    house::add(&lab.spool, "left", None);
    house::run(&lab.spool, "waits", Priority::NORMAL);
    drop(house::claim(&lab.spool, "left", &"w".parse().expect("a name")));
    for job in ["waits", "left"] {
        let cancel = Verb::builder(&["cancel", job], "cancelled");
        lab.killed_at_each_step(&cancel, |acknowledged| {
            let ended = |build: &Build<'_>| {
                build.place == Place::Ended(End::Failed) && lab.outcome(build.id.as_str()) == Outcome::Cancelled
            };
            let all = lab.builds_of(job);
            assert!(all.len() == 1 && (!acknowledged || ended(&all[0])), "{all:?}");
            if lab.is_queued(job) {
                cancel.again(&lab);
            }
            assert!(ended(&lab.builds_of(job)[0]));
        });
    }
}

#[test]
fn of_a_request_to_cancel() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "runs", None);
    let id = house::claim(&lab.spool, "runs", &"w".parse().expect("a name")).id().clone();
    let cancel = Verb::builder(&["cancel", "runs"], "asked");
    let template = lab.path("held");
    put_copy(lab.root(), &template);
    let serve = || lab.spool.hold(&id).expect("readable").expect("nobody serves it");
    let held = serve();
    let steps = cancel.steps(&lab);
    drop(held);
    for step in &steps {
        put_copy(&template, lab.root());
        let held = serve();
        let done = cancel.killed_before(&lab, step);
        let asked = lab.spool.cancel_requested(&id);
        assert!(asked || !done.stdout.contains("asked"), "{done:?}");
        drop(held);
        lab.recover();
        lab.check();
        let ends = lab.build(id.as_str()).place == Place::Ended(End::Failed);
        assert_eq!(ends, asked, "{done:?}");
        assert!(!lab.spool.cancel_requested(&id));
    }
    assert!(steps.len() > 3, "{steps:?}");
}

#[test]
fn of_rm() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "job", None);
    house::add(&lab.spool, "daily", Some(Every::Daily));
    house::add(&lab.spool, "stays", None);
    ["job", "stays"].iter().for_each(|job| drop(house::run(&lab.spool, job, Priority::NORMAL)));
    for job in ["job", "daily"] {
        let rm = Verb::builder(&["rm", job], "removed job");
        let steps = lab.killed_at_each_step(&rm, |acknowledged| {
            if has_job(&lab, job) {
                assert!(!acknowledged);
                rm.again(&lab);
            }
            assert_eq!((lab.queued_of(job), lab.queued_of("stays")), (0, 1));
            lab.check();
        });
        assert!(steps > 10, "{steps}");
    }
}

#[test]
fn of_adding_and_removing_a_worker() {
    let lab = Lab::in_memory();
    let key = lab.script("key", KEY);
    let words = ["worker", "add", "w", "--platform", PLATFORM, key.to_str().expect("UTF-8")];
    let (add, rm) = (Verb::builder(&words, "added worker"), Verb::builder(&["worker", "rm", "w"], "removed worker"));
    let name = "w".parse().expect("a name");
    let known = || lab.spool.worker(&name).is_ok();
    let lets_in = || {
        let keys = std::fs::read_to_string(lab.root().join(".ssh/authorized_keys")).unwrap_or_default();
        keys.contains(KEY.trim_end_matches(" w"))
    };
    lab.killed_at_each_step(&add, |acknowledged| {
        assert!(known() && lets_in() || !acknowledged);
        if !known() {
            add.again(&lab);
        } else if !lets_in() {
            rm.again(&lab);
            add.again(&lab);
        }
        assert!(known() && lets_in());
    });
    lab.killed_at_each_step(&rm, |acknowledged| {
        assert!(!known() && !lets_in() || !acknowledged);
        if known() || lets_in() {
            rm.again(&lab);
        }
        assert!(!known() && !lets_in());
    });
}

#[test]
fn of_what_operators_say_of_platforms() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "job", None);
    house::run(&lab.spool, "job", Priority::NORMAL);
    let platform = PLATFORM.parse().expect("a name");
    let steps = [("pause", State::Paused), ("resume", State::Open), ("drop", State::Dropped), ("restore", State::Open)];
    for (word, state) in steps {
        let verb = Verb::builder(&["platform", word, PLATFORM], "platform debian-12");
        lab.killed_at_each_step(&verb, |acknowledged| {
            assert!(lab.spool.platform_state(&platform) == state || !acknowledged);
            if !acknowledged {
                let again = lab.builder(&["platform", word, PLATFORM]);
                assert!(again.code == 0 || again.stderr.contains(&format!("is {}", state.word())), "{again:?}");
            }
            assert_eq!(lab.spool.platform_state(&platform), state);
            assert!(state != State::Dropped || lab.queued_of("job") == 0);
        });
    }
}

#[test]
fn of_a_drain() {
    let lab = Lab::in_memory();
    for (words, drains) in [(&["drain"][..], true), (&["drain", "--off"], false)] {
        let verb = Verb::builder(words, "");
        lab.killed_at_each_step(&verb, |acknowledged| {
            assert!(lab.spool.drains() == drains || !acknowledged);
            if lab.spool.drains() != drains {
                verb.again(&lab);
            }
            assert_eq!(lab.spool.drains(), drains);
        });
    }
}

#[test]
fn of_a_sweep() {
    let lab = Lab::in_memory();
    house::add(&lab.spool, "job", None);
    house::run(&lab.spool, "job", Priority::NORMAL);
    let garbage: Vec<Sha256> = ["one", "two"].iter().map(|text| Sha256::of(text.as_bytes())).collect();
    lab.spool.store().bring(&[b"one", b"two"]).expect("brought");
    std::fs::create_dir_all(lab.root().join("tmp/1.2/deep")).expect("made");
    std::fs::write(lab.root().join("tmp/1.2/deep/file"), "").expect("written");
    std::fs::write(lab.root().join("tmp/1.3"), "").expect("written");
    std::fs::write(lab.root().join("cancel/20261124T094701.123Z-a@p-k3f9x2"), "").expect("written");
    lab.killed_at_each_step(&Verb::daemon(), |_| {
        assert!(garbage.iter().all(|digest| lab.spool.store().size_of(digest).is_none()));
        assert!(["tmp", "cancel"].iter().all(|dir| disk::is_empty_dir(&lab.root().join(dir))));
        assert_eq!(lab.queued_of("job"), 1);
    });
}

#[test]
fn of_an_import_of_a_build() {
    let lab = Lab::in_memory();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/robur/full-exited.der");
    let import = Verb::builder(&["import", file], "-hello@debian-12-");
    let steps = lab.killed_at_each_step(&import, |acknowledged| {
        let there = lab.builds_of("hello").len();
        assert!(there == 1 || !acknowledged && there == 0);
        assert!(lab.spool.owing().expect("readable").is_empty());
        import.again(&lab);
        let all = lab.builds_of("hello");
        assert!(all.len() == 1 && all[0].place == Place::Ended(End::Done), "{all:?}");
        assert_eq!(all[0].manifest().expect("readable").len(), 3);
        lab.check();
    });
    assert!(steps > 30, "{steps}");
}

#[test]
fn of_an_import_of_a_schedule() {
    let lab = Lab::in_memory();
    lab.configure(&format!("templates = {:?}", concat!(env!("CARGO_MANIFEST_DIR"), "/../templates")));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/robur/state.der");
    let import = Verb::builder(&["import", file], "dropped platform");
    let again = Verb::builder(&["import", file], "freebsd-12");
    let steps = lab.killed_at_each_step(&import, |acknowledged| {
        again.again(&lab);
        let names = ["dns", "hourly", "never", "old", "once", "weekly"];
        assert!(names.iter().all(|name| has_job(&lab, name)));
        assert!(!acknowledged || lab.queued_of("weekly") == 1);
        assert_eq!(lab.spool.platform_state(&"freebsd-12".parse().expect("a name")), State::Dropped);
        lab.check();
    });
    assert!(steps > 40, "{steps}");
}
