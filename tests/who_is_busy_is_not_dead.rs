//! A worker that hashes and a server that syncs are heard of meanwhile; nobody takes them for dead.
//!
//! The lab's grace time is two seconds, and a worker gives its server half of that.

use harness::{Lab, Liar, eventually, wait_for};
use serde_json::json;
use spool::record::Outcome;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn a_worker_that_hashes_for_longer_than_the_grace_time_keeps_its_build() {
    let lab = Lab::new();
    // What is too much is refused when it is offered, so that nothing of it is sent.
    lab.script("builder.toml", "grace_seconds = 2\n[limits]\nartifact_bytes = 1000000\n");
    let _daemon = lab.daemon();
    lab.job("huge", "truncate -s 8G hole");
    let id = lab.run("huge");
    let _worker = lab.local_worker("w", &["--keep"]);
    let build = lab.finished(&id);
    let result = build.result().expect("readable").expect("there");
    let Outcome::Aborted { reason } = result.outcome else { panic!("{:?}", result.outcome) };
    assert!(reason.contains("1000000 bytes"), "{reason}");
    assert!(build.attempts().expect("attempts").list.is_empty(), "it was never taken away");
}

/// The answer to its own ping would wait behind all that it said before.
#[test]
fn a_worker_that_talks_without_a_pause_is_told_that_it_is_heard() {
    let lab = Lab::new();
    lab.job("job", "true");
    lab.run("job");
    let mut worker = Liar::connect(&lab);
    worker.hello();
    worker.say(&json!({"t": "ready"}), b"");
    let id = worker.hear_until("build")["id"].clone();
    worker.say(&json!({"t": "accept", "id": id, "inputs": {}}), b"");
    let until = Instant::now() + harness::DEADLINE;
    while worker.overhear().is_none_or(|said| said["t"] != "ping") {
        assert!(Instant::now() < until, "it hears nothing");
        worker.say(&json!({"t": "con", "ms": 0, "n": 1}), b"x");
    }
}

#[test]
fn a_worker_that_is_slowed_down_keeps_its_build() {
    let lab = Lab::new();
    lab.configure("[limits]\nbytes_per_second = 150000\n");
    let _daemon = lab.daemon();
    // Four times the grace time's worth of console, and of an artifact.
    let printed = lab.path("printed");
    let script = "head -c 1200000 /dev/zero | tr '\\0' x; head -c 1200000 /dev/urandom > big; touch ";
    lab.job("job", &format!("{script}{}", printed.display()));
    let id = lab.run("job");
    let worker = lab.local_worker("w", &[]);
    wait_for("it has printed all", || printed.exists());
    let build = lab.root().join("active").join(&id);
    let length = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
    assert!(length(&build.join("console.log")) < 1_200_000, "the server has not taken it all yet");
    wait_for("an upload is on its way", || {
        let names = spool::disk::names(&build.join("upload")).unwrap_or_default();
        names.iter().any(|name| name.ends_with(".part") && length(&build.join("upload").join(name)) > 0)
    });
    assert_eq!(lab.outcome(&id), Outcome::Exited { code: 0 }, "{}", worker.said());
    assert_eq!(lab.ok(&["log", &id]).len(), 1_200_000);
    assert_eq!(worker.said().matches("connected to").count(), 1, "{}", worker.said());
    assert!(lab.build(&id).attempts().expect("attempts").list.is_empty());
    assert_eq!(worker.ended(), 0);
}

#[test]
fn a_server_that_waits_for_the_store_for_longer_than_the_grace_time_keeps_its_worker() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    lab.job("waits", "echo stored > artifact");
    // As the garbage collector locks it, only longer.
    let digest = spool::digest::Sha256::of(b"stored\n");
    let shard = std::fs::File::open(lab.spool.layout().shard(&digest.shard())).expect("the shard");
    shard.lock().expect("its lock");
    let id = lab.run("waits");
    let worker = lab.local_worker("w", &["--keep"]);
    eventually("the content is uploaded", || {
        let upload = lab.root().join("active").join(&id).join("upload").join(digest.to_string());
        upload.exists().then_some(())
    });
    let since = Instant::now();
    wait_for("three grace times have passed", || since.elapsed() > Duration::from_secs(6));
    assert_eq!(lab.build(&id).place.word(), "active", "{}", worker.said());
    shard.unlock().expect("unlocked");
    let build = lab.finished(&id);
    assert_eq!(build.result().expect("readable").expect("there").outcome, Outcome::Exited { code: 0 });
    wait_for("the worker has heard it", || worker.said().contains("is over"));
    assert_eq!(worker.said().matches("connected to").count(), 1, "it never gave its server up: {}", worker.said());
    assert!(build.attempts().expect("attempts").list.is_empty(), "it was never taken away");
}
