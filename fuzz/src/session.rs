//! A worker's session: whatever it says to its server.

use crate::is_a_line;
use crate::lab::{Lab, names};
use builder_run::protocol::inbox::Inbox;
use builder_run::protocol::message::Framed;
use builder_run::protocol::{ToServer, ToWorker};
use builder_run::serve::{Streams, session as server};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use spool::Spool;
use spool::artifact_path::ArtifactPath;
use spool::config::Config;
use spool::digest::Sha256;
use spool::held::{Offered, Published};
use spool::layout::file;
use spool::name::WorkerName;
use spool::place::{End, Place, Ticket};
use spool::queue::NewBuild;
use spool::record::{self, BuildResult, Lease, Origin, Outcome, Request};
use spool::worker::Worker;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The builds that there are: one that waits, one that the worker had when its connection was lost, one that it has ended,
/// and one that another worker has. The second is of another platform: given up, it does not come before the first.
const QUEUED: &str = "20261124T094701.123Z-hello@p-000000";
const ACTIVE: &str = "20261124T094701.123Z-hello@q-000001";
const ENDED: &str = "20261124T094701.123Z-hello@p-000002";
const FOREIGN: &str = "20261124T094701.123Z-hello@p-000003";
/// The lease of the one that it had.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A content that the store has, and one that was uploaded for each build that can be finished.
const STORED: &[u8] = b"stored\n";
const UPLOADED: &[u8] = b"uploaded\n";
/// Bytes that a build may print.
const CONSOLE: u64 = 2000;

/// What a worker may say, after the server's hello.
///
/// Whatever it is: the spool passes its deep check, no build is lost or there twice, builds of others and files outside are
/// as they were, limits hold, and what the server says are messages, of which an error is the last.
pub fn session(bytes: &[u8]) {
    let lab = Lab::new(&["spool", "secrets"]);
    let config = config(&lab);
    let spool = spool(&lab, &config);
    let before = [ENDED, FOREIGN].map(|id| record(&spool, id));
    let (input, output) = (file_with(bytes), file_with(b""));
    let heard = output.try_clone().expect("a handle");
    let worker = worker();
    if let Err(e) = server::run(&spool, &config, &worker, false, Streams { input, output }) {
        is_a_line(&e);
    }
    let (asked, _) = messages::<ToServer>(bytes);
    let knows = |message: &ToServer| matches!(message, ToServer::Resume { lease, .. } if lease == TOKEN);
    says_messages(heard, asked.iter().any(knows));
    lab.is_untouched();
    let checked = spool.check(true).expect("a spool that can be read");
    assert!(checked.findings.is_empty(), "{:#?}", checked.findings);
    assert!(names(&spool.layout().directory("wake").join("queue/p")).is_empty(), "a socket is left");
    assert_eq!(names(&spool.layout().directory("new")), ["p", "q"]);
    assert_eq!([ENDED, FOREIGN].map(|id| record(&spool, id)), before);
    builds_are_whole(&spool);
}

fn worker() -> WorkerName {
    "w".parse().expect("a name")
}

fn config(lab: &Lab) -> Config {
    let mut config = Config { secrets: lab.path("secrets"), ..Config::default() };
    let limits = &mut config.limits;
    (limits.artifact_bytes, limits.artifacts, limits.console_bytes) = (1000, 20, CONSOLE);
    (limits.reserve_bytes, limits.reserve_inodes) = (0, 0);
    config
}

/// A file as a stream: what is in it can be read at once, and then it has ended.
fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room");
    file.rewind().expect("its beginning");
    file
}

fn spool(lab: &Lab, config: &Config) -> Spool {
    Spool::init(&lab.path("spool")).expect("a spool");
    let spool = config.open(&lab.path("spool")).expect("a spool");
    let [p, q] = ["p", "q"].map(|name| name.parse().expect("a platform"));
    spool.know_platform(&p).expect("a queue");
    spool.know_platform(&q).expect("a queue");
    let worker_file = Worker { added: Timestamp::UNIX_EPOCH, platforms: vec![p, q], key: None };
    spool.add_worker(&worker(), &worker_file).expect("a worker");
    fs::create_dir(spool.layout().directory("wake").join("queue/p")).expect("a directory");

    enqueue(&spool, ENDED);
    let held = claim(&spool, ENDED);
    held.make_upload_area().expect("an upload area");
    upload(&spool, ENDED, STORED);
    let path: ArtifactPath = "bin/stored".parse().expect("a path");
    let offered = [Offered { path, sha256: Sha256::of(STORED), size: STORED.len() as u64 }];
    let Ok(Published::All(manifest)) = held.publish(&offered) else { panic!("it is not published") };
    let mut result = BuildResult::unrun(Outcome::Exited { code: 0 }, Timestamp::UNIX_EPOCH);
    (result.artifacts, result.artifact_bytes, result.worker) = (1, STORED.len() as u64, Some(worker()));
    held.finish(result, &manifest).expect("an end");

    begin(&spool, ACTIVE, "w");
    begin(&spool, FOREIGN, "other");
    enqueue(&spool, QUEUED);
    spool
}

/// A build that a worker has, whose connection was lost, with something uploaded.
fn begin(spool: &Spool, id: &str, worker: &str) {
    enqueue(spool, id);
    let held = claim(spool, id);
    held.make_upload_area().expect("an upload area");
    upload(spool, id, UPLOADED);
    let worker = worker.parse().expect("a name");
    let lease = Lease { worker, since: spool::clock::now(), token: TOKEN.to_owned() };
    let lease = record::to_bytes(&lease).expect("a lease");
    fs::write(directory(spool, id).join(file::LEASE), lease).expect("a lease");
}

fn enqueue(spool: &Spool, id: &str) {
    let ticket: Ticket = format!("50-{id}").parse().expect("a ticket");
    let request = Request { attempts: 3, ..Request::new(Origin::Run, Timestamp::UNIX_EPOCH, 3600) };
    spool.enqueue(&NewBuild { ticket, request, script: b"#!/bin/sh\n".to_vec() }).expect("a queued build");
}

fn claim<'s>(spool: &'s Spool, id: &str) -> spool::held::HeldBuild<'s> {
    let ticket: Ticket = format!("50-{id}").parse().expect("a ticket");
    spool.claim(&ticket, &worker()).expect("a claim").won().expect("the build")
}

fn upload(spool: &Spool, id: &str, content: &[u8]) {
    let name = Sha256::of(content).to_string();
    fs::write(directory(spool, id).join(file::UPLOAD).join(name), content).expect("an upload");
}

fn directory(spool: &Spool, id: &str) -> std::path::PathBuf {
    spool.build(&id.parse().expect("an id")).expect("a look").expect("the build").dir()
}

/// All that is said of a build.
fn record(spool: &Spool, id: &str) -> Vec<(String, Vec<u8>)> {
    let dir = directory(spool, id);
    let files = names(&dir).into_iter().filter(|name| dir.join(name).is_file());
    files.map(|name| (name.clone(), fs::read(dir.join(name)).expect("a file"))).collect()
}

/// The messages of a stream up to what is none, and whether that is its end.
fn messages<M: DeserializeOwned + Framed>(mut stream: &[u8]) -> (Vec<M>, bool) {
    let (mut inbox, mut messages) = (Inbox::default(), Vec::new());
    while inbox.fill(&mut stream).expect("bytes") > 0 {
        loop {
            match inbox.message::<M>() {
                Ok(Some((message, _))) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, false),
            }
        }
    }
    (messages, inbox.is_empty())
}

/// What the server said is a sequence of messages, the first a hello, and only the last an error. It gives a build back to
/// who knows its lease.
fn says_messages(mut heard: File, knows_the_lease: bool) {
    heard.rewind().expect("its beginning");
    let mut said = Vec::new();
    heard.read_to_end(&mut said).expect("what was said");
    let (messages, whole) = messages::<ToWorker>(&said);
    assert!(whole, "{}", String::from_utf8_lossy(&said));
    assert!(matches!(messages.first(), Some(ToWorker::Hello { .. })), "{messages:?}");
    for (at, message) in messages.iter().enumerate() {
        match message {
            ToWorker::Error { text, .. } => {
                assert_eq!(at, messages.len() - 1, "it goes on after {text}");
                is_a_line(text);
            }
            ToWorker::Resumed { id, .. } => assert!(knows_the_lease, "{id} is given to anybody"),
            ToWorker::Want { sha256 } => assert!(sha256.len() <= 4096),
            _ => {}
        }
    }
}

fn builds_are_whole(spool: &Spool) {
    let mut all = spool.open_builds().expect("the open builds");
    all.extend(spool.ended_builds(usize::MAX, |_| true).expect("the ended builds"));
    let mut ids: Vec<&str> = all.iter().map(|build| build.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [QUEUED, ENDED, FOREIGN, ACTIVE]);
    for build in &all {
        console(&build.dir());
        if let Place::Ended(end) = build.place {
            let result = build.result().expect("a readable result").expect("a result");
            assert_eq!(end == End::Done, result.outcome.succeeded());
            is_a_line(&result.outcome);
            result.skipped.iter().for_each(is_a_line);
            result.system.iter().for_each(|(key, value)| is_a_line(&format!("{key} {value}")));
            let manifest = build.manifest().expect("a readable manifest");
            let kept = |path| manifest.iter().any(|(kept, _)| kept == path);
            assert!(result.executable.iter().all(kept), "what is said to be executable is no artifact");
            assert!(manifest.len() <= 20 && result.artifact_bytes <= 1000);
        }
    }
}

/// A console is no longer than it may be, and has a time for each piece, which is something.
fn console(dir: &Path) {
    let (log, times) = (fs::read(dir.join(file::CONSOLE)), fs::read_to_string(dir.join(file::TIMES)));
    let (log, times) = (log.unwrap_or_default(), times.unwrap_or_default());
    assert!(log.len() as u64 <= CONSOLE, "{} bytes were printed", log.len());
    let mut counted = 0;
    for line in times.lines() {
        let (_, bytes) = line.split_once(' ').expect("two numbers");
        let bytes: usize = bytes.parse().expect("a number");
        assert!(bytes > 0, "a piece of nothing");
        counted += bytes;
    }
    assert_eq!(counted, log.len());
}
