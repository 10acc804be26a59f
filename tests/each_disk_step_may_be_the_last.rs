//! Every program is killed at its first disk step, its second, and so on to its end. After each death builderd starts,
//! and then each invariant holds, what was acknowledged is there, what was not is there as a whole or not at all, and who
//! asks again gets what they wanted.
//!
//! What a kill leaves is what the system calls before it have made. What a power cut leaves is shown elsewhere.

use harness::{Lab, PLATFORM, Verb, house, put_copy};
use serde_json::{Value, json};
use spool::digest::Sha256;
use spool::disk;
use spool::find::Build;
use spool::held::HeldBuild;
use spool::place::{End, Place, Priority};
use spool::platform::State;
use spool::record::Outcome;
use spool::schedule::Every;
use std::path::Path;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k w";

/// Memory: what is tested here is not what a power cut leaves.
fn lab() -> Lab {
    Lab::below(Path::new("/dev/shm"))
}

/// The builds of a job, wherever they are.
fn builds<'l>(lab: &'l Lab, job: &str) -> Vec<Build<'l>> {
    let open = lab.spool.open_builds().expect("the open builds");
    open.into_iter().chain(lab.ended()).filter(|build| build.id.job().as_str() == job).collect()
}

/// How many builds of a job are queued, all of which must be.
fn queued(lab: &Lab, job: &str) -> usize {
    let all = builds(lab, job);
    assert!(all.iter().all(|build| matches!(build.place, Place::Queued(_))), "{all:?}");
    all.len()
}

fn has_job(lab: &Lab, job: &str) -> bool {
    lab.spool.layout().job(&job.parse().expect("a name")).exists()
}

#[test]
fn of_init() {
    let lab = lab();
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
    let lab = lab();
    let script = lab.script("s", "echo added");
    let script = script.to_str().expect("UTF-8");
    let add = Verb::builder(&["add", "daily", script, "--platform", PLATFORM, "--every", "daily"], "-daily@debian-12-");
    let steps = lab.killed_at_each_step(&add, |acknowledged| {
        assert!(!acknowledged || has_job(&lab, "daily"));
        assert_eq!(queued(&lab, "daily"), usize::from(has_job(&lab, "daily")));
        match has_job(&lab, "daily") {
            true => lab.builder(&["add", "daily", script, "--platform", PLATFORM]).refused(73, "there is a job"),
            false => add.again(&lab),
        }
        assert_eq!(queued(&lab, "daily"), 1);
    });
    assert!(steps > 20, "{steps}");
}

#[test]
fn of_set_and_of_prioritising() {
    let lab = lab();
    house::add(&lab.spool, "job", None);
    house::run(&lab.spool, "job", Priority::NORMAL);
    let set = Verb::builder(&["set", "job", "--priority", "7"], "job");
    lab.killed_at_each_step(&set, |acknowledged| {
        let priorities = || {
            let job = lab.spool.job(&"job".parse().expect("a name")).expect("a job");
            let all = builds(&lab, "job");
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
    let lab = lab();
    house::add(&lab.spool, "job", None);
    let run = Verb::builder(&["run", "job"], "-job@debian-12-");
    let steps = lab.killed_at_each_step(&run, |acknowledged| {
        assert!(queued(&lab, "job") == 1 || !acknowledged && queued(&lab, "job") == 0);
        run.again(&lab);
        assert_eq!(queued(&lab, "job"), 1);
    });
    assert!(steps > 10, "{steps}");
}

#[test]
fn of_firing() {
    for jobs in [2, 10] {
        let lab = lab();
        let names: Vec<String> = (0..jobs).map(|n| format!("job{n}")).collect();
        for name in &names {
            house::add(&lab.spool, name, Some(Every::Daily));
            lab.ok(&["cancel", name]);
            let ended = builds(&lab, name).remove(0).dir();
            std::fs::remove_dir_all(ended).expect("removed");
            std::fs::remove_file(lab.spool.layout().timer(&name.parse().expect("a name"))).expect("removed");
            let _ = std::fs::remove_dir_all(lab.root().join("owed"));
            std::fs::create_dir(lab.root().join("owed")).expect("made");
        }
        lab.killed_at_each_step(&Verb::daemon(), |_| {
            for name in &names {
                assert_eq!(queued(&lab, name), 1, "{name}");
                assert!(lab.spool.fired(&name.parse().expect("a name")).expect("readable").is_some());
            }
        });
    }
}

/// What a worker says, in one piece.
fn said(messages: &[(Value, &str)]) -> String {
    messages.iter().map(|(message, raw)| format!("{message}\n{raw}")).collect()
}

fn hello() -> (Value, &'static str) {
    (json!({"t": "hello", "protocol": 1, "platforms": [PLATFORM]}), "")
}

fn finish(code: u8) -> (Value, &'static str) {
    (json!({"t": "finish", "outcome": {"kind": "exited", "code": code}, "duration_ms": 1}), "")
}

/// Fails unless the build of a job is over as it should be, or waits for another attempt.
fn ended_or_queued(lab: &Lab, job: &str, end: End, acknowledged: bool) {
    let all = builds(lab, job);
    assert_eq!(all.len(), 1, "{all:?}");
    match &all[0].place {
        Place::Ended(as_said) => {
            assert_eq!(*as_said, end);
            let mut console = all[0].console().expect("readable").expect("a console");
            assert_eq!(console.next_chunk().expect("readable").expect("a piece").bytes, b"printed");
        }
        Place::Queued(_) => {
            let lost = all[0].attempts().expect("readable").list.len();
            assert!(!acknowledged && lost <= 1, "{all:?}");
        }
        Place::Active => panic!("it is nobody's: {all:?}"),
    }
}

#[test]
fn of_a_build_from_its_claim_to_its_end() {
    for (code, end) in [(0, End::Done), (1, End::Failed)] {
        let lab = lab();
        lab.job("job", "true");
        lab.job_with("next", "true", &["--every", "never", "--after", "job"]);
        let id = house::run(&lab.spool, "job", Priority::NORMAL).id.to_string();
        let inputs = json!({"environment": Sha256::of(b"A=b\n").to_string()});
        let serve = said(&[
            hello(),
            (json!({"t": "ready"}), ""),
            (json!({"t": "accept", "id": id, "inputs": inputs}), ""),
            (json!({"t": "input", "name": "environment", "n": 4}), "A=b\n"),
            (json!({"t": "con", "ms": 5, "n": 7}), "printed"),
            finish(code),
        ]);
        let serve = Verb::server(&lab, "w", serve);
        let steps = lab.killed_at_each_step(&serve, |acknowledged| {
            ended_or_queued(&lab, "job", end, acknowledged);
            if queued_now(&lab, "job") {
                serve.again(&lab);
            }
            ended_or_queued(&lab, "job", end, true);
            lab.recover();
            assert_eq!(queued(&lab, "next"), usize::from(code == 0));
            lab.check();
        });
        assert!(steps > 30, "{steps}");
    }
}

fn queued_now(lab: &Lab, job: &str) -> bool {
    matches!(builds(lab, job)[0].place, Place::Queued(_))
}

/// A running build whose worker has uploaded this many artifacts, and what it has still to say.
fn uploaded(lab: &Lab, artifacts: usize) -> String {
    house::add(&lab.spool, "job", None);
    let held: HeldBuild<'_> = house::claim(&lab.spool, "job", &"w".parse().expect("a name"));
    house::print(&held, "printed");
    held.keep_input("environment", b"A=b\n").expect("an environment");
    held.make_upload_area().expect("an upload area");
    let lease = held.lease().expect("readable").expect("a lease");
    let files: Vec<Value> = (0..artifacts)
        .map(|n| {
            let content = format!("artifact {n}\n");
            let sha256 = Sha256::of(content.as_bytes()).to_string();
            let upload = lab.spool.layout().active(held.id()).join("upload").join(&sha256);
            std::fs::write(upload, &content).expect("an upload");
            json!({"path": format!("bin/{n}/tool"), "size": content.len(), "sha256": sha256})
        })
        .collect();
    said(&[
        hello(),
        (json!({"t": "resume", "id": held.id().to_string(), "lease": lease.token}), ""),
        (json!({"t": "offer", "files": files}), ""),
        finish(0),
    ])
}

#[test]
fn of_an_end_with_artifacts() {
    for artifacts in [2, 9] {
        let lab = lab();
        let input = uploaded(&lab, artifacts);
        let serve = Verb::server(&lab, "w", input);
        let steps = lab.killed_at_each_step(&serve, |acknowledged| {
            ended_or_queued(&lab, "job", End::Done, acknowledged);
            let all = builds(&lab, "job");
            let kept = all[0].manifest().expect("readable").len();
            assert_eq!(kept, if queued_now(&lab, "job") { 0 } else { artifacts });
        });
        assert!(steps > 30, "{steps}");
    }
}

/// Two contents, as a client of SFTP sends them.
const UPLOAD: &[u8] = include_bytes!("../fuzz/corpus/sftp/two");

/// What is complete in the upload area of the only build, all of which must be what its name says.
fn complete(lab: &Lab) -> usize {
    let area = lab.spool.active_builds().expect("readable").remove(0).dir().join("upload");
    let names = disk::names(&area).expect("an upload area");
    let digests = names.iter().filter_map(|name| Some((name, name.parse::<Sha256>().ok()?)));
    digests
        .map(|(name, digest)| assert_eq!(Sha256::of(&std::fs::read(area.join(name)).expect("readable")), digest))
        .count()
}

/// It is for a build that a server holds: here the test does, anew each time.
#[test]
fn of_an_upload() {
    let lab = lab();
    uploaded(&lab, 0);
    let upload = Verb::uploads(&lab, "w", UPLOAD.to_owned());
    let template = lab.path("template");
    put_copy(lab.root(), &template);
    let held = || {
        put_copy(&template, lab.root());
        let id = lab.spool.active_builds().expect("readable").remove(0).id;
        lab.spool.hold(&id).expect("readable").expect("the build")
    };
    let first = held();
    let steps = upload.steps(&lab);
    assert_eq!((complete(&lab), steps.len() > 4), (2, true), "{steps:?}");
    drop(first);
    for step in &steps {
        let _held = held();
        let done = upload.killed_before(&lab, step);
        assert!(complete(&lab) == 2 || done.code != 0);
        upload.again(&lab);
        assert_eq!(complete(&lab), 2, "after {step:?}");
        lab.check();
    }
}

#[test]
fn of_an_end_whose_worker_comes_back_before_builderd() {
    let lab = lab();
    let serve = Verb::server(&lab, "w", uploaded(&lab, 2));
    lab.killed_at_steps(
        &serve,
        |_| true,
        |_| {
            let said = serve.undisturbed(&lab).stdout;
            assert!(said.contains("finished"), "{said}");
            ended_or_queued(&lab, "job", End::Done, true);
            lab.check();
        },
    );
}

#[test]
fn of_a_requeue() {
    let lab = lab();
    drop(uploaded(&lab, 2));
    lab.let_leases_lapse();
    let steps = lab.killed_at_each_step(&Verb::daemon(), |_| {
        let all = builds(&lab, "job");
        let lost = all[0].attempts().expect("readable").list.len();
        assert!(queued(&lab, "job") == 1 && lost == 1, "{all:?}");
        assert_eq!(std::fs::read(all[0].dir().join("console.log.1")).expect("a console"), b"printed");
    });
    assert!(steps > 15, "{steps}");
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
    let lab = lab();
    owing(&lab);
    let steps = lab.killed_at_each_step(&Verb::daemon(), |_| {
        assert_eq!((builds(&lab, "bad").len(), builds(&lab, "good").len(), queued(&lab, "next")), (2, 1, 1));
        assert!(lab.spool.owing().expect("readable").is_empty());
    });
    assert!(steps > 20, "{steps}");
}

#[test]
fn of_cancelling() {
    let lab = lab();
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
            let all = builds(&lab, job);
            assert!(all.len() == 1 && (!acknowledged || ended(&all[0])), "{all:?}");
            if queued_now(&lab, job) {
                cancel.again(&lab);
            }
            assert!(ended(&builds(&lab, job)[0]));
        });
    }
}

#[test]
fn of_a_request_to_cancel() {
    let lab = lab();
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
    let lab = lab();
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
            assert_eq!((queued(&lab, job), queued(&lab, "stays")), (0, 1));
            lab.check();
        });
        assert!(steps > 10, "{steps}");
    }
}

#[test]
fn of_adding_and_removing_a_worker() {
    let lab = lab();
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
    let lab = lab();
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
            assert!(state != State::Dropped || queued(&lab, "job") == 0);
        });
    }
}

#[test]
fn of_a_drain() {
    let lab = lab();
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
    let lab = lab();
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
        assert_eq!(queued(&lab, "job"), 1);
    });
}
