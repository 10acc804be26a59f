//! As `each_disk_step_may_be_the_last.rs`, of a build from its claim to its end, and of what its worker uploads.

use harness::{Finished, Lab, PLATFORM, Verb, house, put_copy};
use serde_json::{Value, json};
use spool::digest::Sha256;
use spool::disk;
use spool::held::HeldBuild;
use spool::place::{End, Place, Priority};
use std::process::Command;

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
    let all = lab.builds_of(job);
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
        let lab = Lab::in_memory();
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
            if lab.is_queued("job") {
                serve.again(&lab);
            }
            ended_or_queued(&lab, "job", end, true);
            lab.recover();
            assert_eq!(lab.queued_of("next"), usize::from(code == 0));
            lab.check();
        });
        assert!(steps > 30, "{steps}");
    }
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
        let lab = Lab::in_memory();
        let input = uploaded(&lab, artifacts);
        let serve = Verb::server(&lab, "w", input);
        let steps = lab.killed_at_each_step(&serve, |acknowledged| {
            ended_or_queued(&lab, "job", End::Done, acknowledged);
            let all = lab.builds_of("job");
            let kept = all[0].manifest().expect("readable").len();
            assert_eq!(kept, if lab.is_queued("job") { 0 } else { artifacts });
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
    let lab = Lab::in_memory();
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
    let lab = Lab::in_memory();
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
    let lab = Lab::in_memory();
    drop(uploaded(&lab, 2));
    lab.let_leases_lapse();
    let steps = lab.killed_at_each_step(&Verb::daemon(), |_| {
        let all = lab.builds_of("job");
        let lost = all[0].attempts().expect("readable").list.len();
        assert!(lab.queued_of("job") == 1 && lost == 1, "{all:?}");
        assert_eq!(std::fs::read(all[0].dir().join("console.log.1")).expect("a console"), b"printed");
    });
    assert!(steps > 15, "{steps}");
}

/// What a worker whose key the server knows says last, with its signature.
fn signed(lab: &Lab, input: &str, id: &str) -> String {
    let key = lab.add_worker("w");
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a key");
    let public: Vec<&str> = public.split(' ').take(2).collect();
    let digest = |name: &str| Sha256::of(&std::fs::read(lab.build(id).dir().join(name)).expect("a file"));
    let manifest: String = (0..2)
        .map(|n| format!("{}  artifacts/bin/{n}/tool\n", Sha256::of(format!("artifact {n}\n").as_bytes())))
        .collect();
    let text = format!(
        "builder statement 1\nbuild {id}\nworker w\nkey {}\nscript {}\nenvironment {}\nmanifest {}\noutcome exited 0\n",
        public.join(" "),
        digest("script"),
        digest("environment"),
        Sha256::of(manifest.as_bytes())
    );
    let file = lab.script("statement", &text);
    let made = Finished::of(
        Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", "statement@builder", "-f"]).arg(&key).arg(&file),
    );
    assert_eq!(made.code, 0, "{made:?}");
    let signature = std::fs::read_to_string(lab.path("statement.sig")).expect("a signature");
    let (before, finish) = input.rsplit_once("{\"duration_ms\"").expect("a finish");
    let signed = json!({"statement": text, "signature": signature});
    format!("{before}{{\"signed\":{signed},\"duration_ms\"{finish}")
}

#[test]
fn of_a_signed_end_and_its_seal() {
    let lab = Lab::in_memory();
    let input = uploaded(&lab, 2);
    let id = lab.spool.active_builds().expect("readable").remove(0).id.to_string();
    let serve = Verb::server(&lab, "w", signed(&lab, &input, &id));
    let steps = lab.killed_at_each_step(&serve, |acknowledged| {
        ended_or_queued(&lab, "job", End::Done, acknowledged);
        if !lab.is_queued("job") {
            let said = lab.builder(&["verify-signature", &id]);
            assert_eq!(said.code, 0, "{said:?}");
        }
    });
    assert!(steps > 30, "{steps}");
}

#[test]
fn of_a_seal() {
    let lab = Lab::in_memory();
    let input = uploaded(&lab, 2);
    let id = lab.spool.active_builds().expect("readable").remove(0).id.to_string();
    Verb::server(&lab, "w", signed(&lab, &input, &id)).again(&lab);
    let steps = lab.killed_at_each_step(&Verb::daemon(), |_| {
        assert!(lab.spool.owing().expect("readable").is_empty());
        let said = lab.builder(&["verify-signature", &id]);
        assert_eq!(said.code, 0, "{said:?}");
    });
    assert!(steps > 30, "{steps}");
}
