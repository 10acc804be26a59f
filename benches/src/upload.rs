//! Artifacts, from a build's output directory to the store, against OpenSSH's own `sftp`.

use crate::load::Load;
use crate::peers::Connection;
use crate::site::Site;
use crate::stats::Samples;
use crate::table::{Table, ratio};
use harness::{Finished, Lab, PLATFORM, Running, Sshd, eventually, wait_for};
use spool::build_id::BuildId;
use spool::place::End;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// A table for a large file and one for many small ones.
pub fn measure(site: &Site) -> Vec<Table> {
    [(1, 1 << 30, "Upload of one file of 1 GiB"), (5_000, 10_000, "Upload of 5,000 files of 10 kB")]
        .map(|(files, bytes, title)| upload(site, title, files, bytes))
        .into()
}

fn upload(site: &Site, title: &str, files: usize, bytes: usize) -> Table {
    let bench = Bench::new(site);
    let open = bench.lab.key("open");
    let open_sshd = bench.lab.open_sshd(&open);
    let plain = Connection::open(&bench.lab, &open_sshd, &open);
    let theirs = Connection::open(&bench.lab, &bench.sshd, &bench.key);
    let mut load = Load::make(bench.lab.path("load"), files, bytes);
    let mut times: [Samples; 5] = Default::default();
    for _ in 0..site.rounds {
        load.freshen();
        let (whole, alone) = bench.ours(&load);
        times[0].add_time(whole);
        times[4].add_time(alone);
        times[1].add_time(bench.to_openssh(&load, &plain));
        times[2].add_time(bench.to_openssh_with_care(&load, &plain));
        times[3].add_time(bench.to_ours(&load, &theirs));
    }
    table(title, (files * bytes) as f64, &times)
}

fn table(title: &str, bytes: f64, times: &[Samples; 5]) -> Table {
    let mut table = Table::new(title, &["", "time", "MB/s", "sftp / this"]);
    let names = [
        "builder: hash, upload, hash, sync, publish",
        "`sftp` to OpenSSH's server: neither hashed nor synced",
        "`sha256sum`, `sftp`, `sha256sum -c`, `sync -f`",
        "`sftp` to builder's server: hashed, not synced",
        "of ours, the upload alone: hashed, not synced",
    ];
    for (name, times_of) in names.iter().zip(times) {
        let (took, share) = (times_of.median(), times[1].median() / times_of.median());
        table.row(&[
            name.to_string(),
            format!("{:.2} s", took / 1e3),
            format!("{:.0}", bytes / took / 1e3),
            ratio(share),
        ]);
    }
    table.remark(
        "builder: from the end of the script to the finished build in `done/`, by `builder-run worker`. All over \
         connections that are open already, on one machine: both ends encrypt on the same cores.",
    );
    table
}

struct Bench {
    // The worker goes before the lab does.
    worker: Running,
    sshd: Sshd,
    key: PathBuf,
    lab: Lab,
}

impl Bench {
    fn new(site: &Site) -> Bench {
        let lab = site.lab();
        let sshd = lab.sshd();
        let key = lab.add_worker("jail1");
        let worker = sshd.worker(&lab, "jail1", &key, &["--keep"]);
        let (load, stamp, gate) = (lab.path("load"), lab.path("stamp"), lab.path("gate"));
        let leaves = format!("#!/bin/bash\ncp -al {} .\necho $EPOCHREALTIME > {}\n", load.display(), stamp.display());
        let waits = format!("while [ ! -e {} ]; do sleep 0.01; done\n", gate.display());
        for (job, script) in [("leaves", leaves), ("waits", waits)] {
            let path = lab.script(job, &script);
            lab.ok(&["add", job, path.to_str().expect("UTF-8"), "--platform", PLATFORM, "--every", "never"]);
        }
        Bench { worker, sshd, key, lab }
    }

    /// The whole way, and of it the upload as the worker's log has it. The build and its contents are removed again.
    fn ours(&self, load: &Load) -> (Duration, Duration) {
        let id: BuildId = self.lab.run("leaves").parse().expect("an id");
        let done = self.lab.spool.layout().finished(End::Done, &id);
        let deadline = Instant::now() + Duration::from_secs(120);
        while !done.exists() {
            assert!(Instant::now() < deadline, "{id} does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
        let start = std::fs::read_to_string(self.lab.path("stamp")).expect("the stamp");
        let start: u64 = start.trim().replace('.', "").parse().expect("EPOCHREALTIME");
        let stored = spool::manifest::Manifest::parse(&std::fs::read(done.join("manifest")).expect("a manifest"));
        assert_eq!(stored.expect("a manifest").len(), load.files, "all was stored");
        eventually("the worker waits", || (!self.lab.spool.layout().active(&id).exists()).then_some(()));
        std::fs::remove_dir_all(&done).expect("the build");
        self.lab.spool.store().collect_garbage().expect("the store");
        settle(&self.lab);
        (end - Duration::from_micros(start), self.uploaded())
    }

    /// How long the worker's last build took to upload. More than 4,096 contents are wanted in several messages.
    fn uploaded(&self) -> Duration {
        let said = self.worker.said();
        let build = said.rsplit(" runs ").next().unwrap_or_default();
        let times = build.lines().filter(|line| line.contains(" uploaded ")).map(|line| {
            let ms = line.split("ms=").nth(1).and_then(|rest| rest.split_whitespace().next());
            ms.and_then(|ms| ms.parse::<u64>().ok()).expect("the worker says how long it took")
        });
        Duration::from_millis(times.sum())
    }

    fn to_openssh(&self, load: &Load, plain: &Connection<'_>) -> Duration {
        self.putting(load, |target| {
            plain.sftp(&format!("put -r {} {target}\n", load.dir.display()));
        })
    }

    /// As much is known afterwards as of ours, by hand.
    fn to_openssh_with_care(&self, load: &Load, plain: &Connection<'_>) -> Duration {
        let sums = self.lab.path("sums");
        let sh = |line: String| {
            let done = Finished::of(Command::new("sh").arg("-c").arg(&line));
            assert_eq!(done.code, 0, "{line}: {}", done.stderr);
        };
        self.putting(load, |target| {
            sh(format!("cd {} && find . -type f | xargs sha256sum > {}", load.dir.display(), sums.display()));
            plain.sftp(&format!("put -r {} {target}\n", load.dir.display()));
            sh(format!("cd {target} && sha256sum --quiet -c {} && sync -f .", sums.display()));
        })
    }

    /// OpenSSH's client to our server, during a build that waits.
    fn to_ours(&self, load: &Load, theirs: &Connection<'_>) -> Duration {
        let gate = self.lab.path("gate");
        let _ = std::fs::remove_file(&gate);
        let id: BuildId = self.lab.run("waits").parse().expect("an id");
        let area = self.lab.spool.layout().active(&id).join("upload");
        wait_for("there is an upload area", || area.is_dir());
        let start = Instant::now();
        theirs.sftp(&format!("put -r {} load\n", load.dir.display()));
        let took = start.elapsed();
        assert_eq!(spool::disk::names(&area).expect("the area").len(), load.files, "all arrived");
        std::fs::write(&gate, "").expect("the sign");
        self.lab.finished(id.as_str());
        settle(&self.lab);
        took
    }

    fn putting(&self, load: &Load, put: impl FnOnce(&str)) -> Duration {
        let target = self.lab.path("target");
        let start = Instant::now();
        put(target.to_str().expect("UTF-8"));
        let took = start.elapsed();
        assert_eq!(spool::disk::names(&target).expect("the target").len(), load.files, "all arrived");
        std::fs::remove_dir_all(&target).expect("the target");
        settle(&self.lab);
        took
    }
}

/// What one wrote and did not sync is not to be paid for by the next.
fn settle(lab: &Lab) {
    spool::disk::sync_all_of(lab.root()).expect("syncfs");
}
