//! A spool in which there is something of everything, made without a program.

use crate::PLATFORM;
use jiff::Timestamp;
use spool::build_id::BuildId;
use spool::clock;
use spool::digest::Sha256;
use spool::held::{HeldBuild, Offered, Published};
use spool::job::{Job, Platforms, Wishes};
use spool::name::{JobName, Platform, WorkerName};
use spool::place::{Priority, Ticket};
use spool::platform::State;
use spool::record::{BuildResult, Outcome};
use spool::schedule::Every;
use spool::worker::{ForcedCommand, Worker};
use spool::{Spool, disk};
use std::collections::BTreeMap;
use std::path::Path;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k w";

/// Makes a spool in which each kind of file is there once at least, and nobody is at work. The next build that a worker
/// gets is `good`, of which nothing else in the spool has anything.
pub fn furnish(root: &Path) -> Spool {
    let (spool, _) = Spool::init(root).expect("a spool");
    let (platform, worker): (Platform, WorkerName) = (PLATFORM.parse().expect("a name"), "w".parse().expect("a name"));
    workers(&spool, &worker, &platform);
    for name in ["good", "waits", "lost", "hello", "sad", "again"] {
        add(&spool, name, None);
    }
    add(&spool, "daily", Some(Every::Daily));
    ended(&spool, "hello", &worker, true);
    ended(&spool, "sad", &worker, false);
    let held = claim(&spool, "again", &worker);
    print(&held, "the first try\n");
    assert_eq!(held.give_up("it was lost", clock::now()).expect("requeued"), None);
    end(&spool, claimed(&spool, "again", &worker), &worker, true);
    let held = claim(&spool, "lost", &worker);
    print(&held, "the first try\n");
    held.give_up("it was lost", clock::now()).expect("requeued");
    let held = claimed(&spool, "lost", &worker);
    print(&held, "the second try\n");
    held.make_upload_area().expect("an upload area");
    let id = held.id().clone();
    drop(held);
    disk::create_new(&spool.layout().cancel(&id), 0o644).expect("a request");
    run(&spool, "waits", Priority::NORMAL);
    run(&spool, "good", Priority::try_from(0).expect("a priority"));
    spool.set_platform(&"freebsd-14".parse().expect("a name"), State::Paused, clock::now()).expect("a pause");
    drop(spool.lock_daemon().expect("the daemon's lock"));
    spool
}

/// The digests of all files below a directory, sorted.
pub fn contents(root: &Path) -> Vec<Sha256> {
    let files = walkdir::WalkDir::new(root).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let mut digests: Vec<Sha256> =
        files.map(|entry| Sha256::of(&std::fs::read(entry.path()).expect("a readable file"))).collect();
    digests.sort();
    digests
}

fn workers(spool: &Spool, worker: &WorkerName, platform: &Platform) {
    spool.know_platform(platform).expect("a platform");
    let key = Some(KEY.parse().expect("a key"));
    spool
        .add_worker(worker, &Worker { added: clock::now(), platforms: vec![platform.clone()], key })
        .expect("a worker");
    let run = ForcedCommand { program: "/usr/libexec/builder/builder-run".into(), config: None };
    spool.write_authorized_keys(&run, None).expect("the keys");
    let system = BTreeMap::from([("os".to_owned(), "Debian".to_owned())]);
    drop(spool.open_session(worker, "4711", &system, &[]).expect("a session"));
    let second = jiff::SignedDuration::from_secs(1);
    let failed = Outcome::Exited { code: 1 };
    spool.note_health(worker, &job("sad"), &failed, second, clock::now(), second).expect("its health");
}

fn job(name: &str) -> JobName {
    name.parse().expect("a name")
}

/// Adds a job: a manual one, or one whose first moment has passed long ago.
pub fn add(spool: &Spool, name: &str, every: Option<Every>) {
    let platforms = Platforms::Named(vec![PLATFORM.parse().expect("a name")]);
    let mut new = Job::new(platforms, clock::now());
    new.script = format!("#!/bin/sh\necho {name}\n");
    new.every = Some(every.unwrap_or(Every::Never));
    new.first = every.map(|_| Timestamp::from_second(1_700_000_000).expect("a moment"));
    spool.add_job(&job(name), &new).expect("a job");
}

/// Queues a build of a job.
pub fn run(spool: &Spool, name: &str, priority: Priority) -> Ticket {
    let wishes = Wishes { priority: Some(priority), ..Wishes::default() };
    let platform: Platform = PLATFORM.parse().expect("a name");
    let id: BuildId = spool.run_job(&job(name), &[platform], &wishes).expect("queued").remove(0).id;
    Ticket { priority, id }
}

/// Queues a build of a job and claims it.
pub fn claim<'s>(spool: &'s Spool, name: &str, worker: &WorkerName) -> HeldBuild<'s> {
    run(spool, name, Priority::FRONT);
    claimed(spool, name, worker)
}

/// Claims the build of a job that waits.
pub fn claimed<'s>(spool: &'s Spool, name: &str, worker: &WorkerName) -> HeldBuild<'s> {
    let queued = spool.queued_of(&job(name), &PLATFORM.parse().expect("a name")).expect("a queue").expect("a build");
    spool.claim(&queued, worker).expect("a claim").won().expect("the build")
}

/// Appends to a console.
pub fn print(held: &HeldBuild<'_>, text: &str) {
    held.console().expect("a console").append(7, text.as_bytes()).expect("written");
}

/// Runs a build of a job to its end, with artifacts.
pub fn ended(spool: &Spool, name: &str, worker: &WorkerName, well: bool) {
    end(spool, claim(spool, name, worker), worker, well);
}

/// Ends a build with artifacts at three depths, one of them twice.
fn end(spool: &Spool, held: HeldBuild<'_>, worker: &WorkerName, well: bool) {
    let name = held.id().job().to_string();
    print(&held, &format!("this is {name}\n"));
    held.keep_input("environment", format!("JOB={name}\n").as_bytes()).expect("an environment");
    held.keep_input("packages", format!("{name} 1.0\n").as_bytes()).expect("packages");
    let files = [("top", "top"), ("bin/tool", "tool"), ("share/doc/text", "text"), ("share/doc/again", "text")];
    let files = files.map(|(path, text)| (path, format!("the {text} of {name}\n")));
    held.make_upload_area().expect("an upload area");
    let offered: Vec<Offered> = files
        .iter()
        .map(|(path, text)| {
            let sha256 = Sha256::of(text.as_bytes());
            let upload = spool.layout().active(held.id()).join("upload");
            std::fs::write(upload.join(sha256.to_string()), text).expect("an upload");
            Offered { path: path.parse().expect("a path"), sha256, size: text.len() as u64 }
        })
        .collect();
    let manifest = match held.publish(&offered).expect("published") {
        Published::All(manifest) => manifest,
        Published::Missing(missing) => panic!("{missing:?}"),
    };
    let code = if well { 0 } else { 1 };
    let mut result = BuildResult::unrun(Outcome::Exited { code }, clock::now());
    result.worker = Some(worker.clone());
    result.artifacts = offered.len() as u64;
    result.artifact_bytes = offered.iter().map(|one| one.size).sum();
    held.finish(result, &manifest).expect("finished");
}
