//! Builds that are over, many and fast: as the library leaves them, but for syncs, and with one request for many of them.

use harness::Lab;
use jiff::{SignedDuration, Timestamp};
use spool::build_id::BuildId;
use spool::clock;
use spool::digest::Sha256;
use spool::layout::file;
use spool::manifest::Manifest;
use spool::place::End;
use spool::record::{self, BuildResult, Origin, Outcome, Request};
use std::path::{Path, PathBuf};

/// So many jobs, on all of the platforms.
pub const JOBS: usize = 200;

/// Where they run.
pub const PLATFORMS: [&str; 3] = ["debian-12", "ubuntu-24.04", "freebsd-14"];

/// They ended within so many days.
const DAYS: i64 = 729;

/// One of so many has failed, and so many of a job on a platform have the same output.
const FAILED: usize = 10;
const ALIKE: usize = 50;

/// File systems allow no more links to a file; ext4 allows 65,000.
const LINKS: usize = 30_000;

/// Who makes them.
const MAKERS: usize = 2;

/// One of them to ask for.
pub struct Made {
    /// A build with artifacts.
    pub id: BuildId,
    /// The SHA-256 of its artifact.
    pub content: String,
}

/// What many have in common, as files to be linked.
struct Common<'l> {
    lab: &'l Lab,
    dir: PathBuf,
    start: Timestamp,
    builds: usize,
}

/// Makes jobs and their builds.
pub fn make(lab: &Lab, builds: usize) -> Made {
    let dir = lab.path("common");
    std::fs::create_dir(&dir).expect("a directory");
    for n in 0..JOBS {
        let text = format!(
            "created = \"2024-01-01T00:00:00Z\"\nplatforms = {PLATFORMS:?}\nevery = \"never\"\ntimeout_seconds = 3600\n\
             attempts = 3\nscript = \"\"\"\n#!/bin/sh\nset -eu\nmake job{n}\n\"\"\"\n"
        );
        std::fs::write(lab.root().join(format!("jobs/job{n}.toml")), text).expect("a job");
    }
    let start = clock::now() - SignedDuration::from_hours(24 * DAYS);
    let common = Common { lab, dir, start, builds };
    for platform in PLATFORMS {
        let queue = lab.spool.layout().queue(&platform.parse().expect("a platform"));
        std::fs::create_dir_all(queue).expect("a queue");
    }
    std::thread::scope(|scope| {
        for maker in 0..MAKERS {
            let common = &common;
            scope.spawn(move || (maker..builds).step_by(MAKERS).for_each(|n| common.one(n, maker)));
        }
    });
    // Not the newest, and not one that failed.
    let n = builds / 2 / (JOBS * PLATFORMS.len()) * (JOBS * PLATFORMS.len());
    let n = (n..).step_by(JOBS * PLATFORMS.len()).find(|n| common.output(*n).is_some()).expect("a good one");
    Made { id: common.id(n), content: Sha256::of(common.output(n).expect("an output").as_bytes()).to_string() }
}

impl Common<'_> {
    fn at(&self, n: usize) -> Timestamp {
        let milliseconds = DAYS * 86_400_000 / self.builds as i64 * n as i64;
        self.start + SignedDuration::from_millis(milliseconds)
    }

    fn id(&self, n: usize) -> BuildId {
        let line = n % (JOBS * PLATFORMS.len());
        let job = format!("job{}", line % JOBS).parse().expect("a job");
        BuildId::of_timer(self.at(n), &job, &PLATFORMS[line / JOBS].parse().expect("a platform"))
    }

    /// Its script or its packages have changed when its output has.
    fn input(&self, n: usize) -> Sha256 {
        let lines = JOBS * PLATFORMS.len();
        Sha256::of(format!("{} {}", n % lines, n / lines / ALIKE).as_bytes())
    }

    /// The content of its artifact, unless it failed.
    fn output(&self, n: usize) -> Option<String> {
        let lines = JOBS * PLATFORMS.len();
        let number = n / lines;
        (!(number + n % 7).is_multiple_of(FAILED)).then(|| format!("{} {}", n % lines, number / ALIKE))
    }

    fn one(&self, n: usize, maker: usize) {
        let (id, output) = (self.id(n), self.output(n));
        let end = if output.is_some() { End::Done } else { End::Failed };
        let dir = self.lab.spool.layout().finished(end, &id);
        if std::fs::create_dir(&dir).is_err() {
            std::fs::create_dir_all(&dir).expect("a build");
        }
        let finished = id.time() + SignedDuration::from_secs(90);
        let mut result = BuildResult::unrun(Outcome::Exited { code: u8::from(output.is_none()) }, finished);
        result.started = Some(id.time());
        result.duration_ms = 89_000;
        result.worker = Some(format!("jail{}", n % 40).parse().expect("a worker"));
        result.input = Some(self.input(n));
        for (name, value) in [("os", "Debian GNU/Linux 12"), ("kernel", "6.1.0-21-amd64"), ("cores", "8")] {
            result.system.insert(name.into(), value.into());
        }
        if let Some(text) = output {
            let content = Sha256::of(text.as_bytes());
            let paths = ["bin/tool", "share/doc/README"].map(|path| (path.parse().expect("a path"), content));
            let bytes = Manifest::new(paths).expect("a manifest").to_bytes();
            result.output = Some(self.link(&bytes, &dir.join(file::MANIFEST)));
            // Somebody has it, so that it is no garbage; a directory of artifacts for each build would be a third more.
            let kept = self.dir.join(format!("content.{content}"));
            if !kept.exists() {
                self.link(text.as_bytes(), &kept);
            }
            (result.artifacts, result.artifact_bytes) = (2, 2 * text.len() as u64);
        }
        std::fs::write(dir.join(file::RESULT), record::to_bytes(&result).expect("TOML")).expect("a result");
        self.common(&dir, n, maker);
    }

    /// What costs no room of its own.
    fn common(&self, dir: &Path, n: usize, maker: usize) {
        for name in [file::BUILD, file::SCRIPT, file::ENVIRONMENT] {
            let path = self.dir.join(format!("{name}.{maker}.{}", n / LINKS));
            if std::fs::hard_link(&path, dir.join(name)).is_err() {
                let request = Request::new(Origin::Timer, clock::now(), 3600);
                std::fs::write(&path, record::to_bytes(&request).expect("TOML")).expect("a file");
                std::fs::hard_link(&path, dir.join(name)).expect("a link");
            }
        }
    }

    /// Links a content of the store, which gets it unsynced.
    fn link(&self, bytes: &[u8], to: &Path) -> Sha256 {
        let digest = Sha256::of(bytes);
        let object = self.lab.spool.layout().object(&digest);
        while std::fs::hard_link(&object, to).is_err_and(|e| e.kind() != std::io::ErrorKind::AlreadyExists) {
            let draft = self.dir.join(format!("{digest}.{:?}", std::thread::current().id()));
            std::fs::write(&draft, bytes).expect("a content");
            let _ = std::fs::hard_link(&draft, &object);
            std::fs::remove_file(&draft).expect("removed");
        }
        digest
    }
}
