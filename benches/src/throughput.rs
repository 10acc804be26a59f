//! Builds of `true` a second, with one worker over SSH and with four.

use crate::bare::Bare;
use crate::peers::{Connection, nq};
use crate::site::Site;
use crate::stats::{Samples, timed};
use crate::table::{Table, rate, ratio};
use crate::transitions::{request, ticket};
use harness::{Finished, Lab, PLATFORM, Running, Sshd, wait_for};
use spool::place::{Priority, Ticket};
use spool::queue::NewBuild;
use std::process::Command;
use std::time::{Duration, Instant};

/// Builds a round, of ours and of the others; GNU parallel takes its time.
const BUILDS: usize = 600;
const NQ: usize = 200;
const PARALLEL: usize = 120;

/// The table.
pub fn measure(site: &Site) -> Vec<Table> {
    let mut table =
        Table::new("Builds of `true` a second", &["", "one worker", "ours / this", "four workers", "ours / this"]);
    let (one, four) = (of(site, 1), of(site, 4));
    let names = [
        "builder over SSH, durable",
        "the same, queueing included",
        "nq, local",
        "parallel over SSH",
        "bare calls and sh",
    ];
    for (n, name) in names.iter().enumerate() {
        let (a, b) = (one[n].median(), four[n].median());
        let cells = [name.to_string(), rate(a), ratio(one[0].median() / a), rate(b), ratio(four[0].median() / b)];
        table.row(&cells);
    }
    table.remark(
        "Bare calls and sh: claim, `sh` with a script `true`, finish, in as many threads; no connection, no console, \
         no directory for the build. nq's figure includes queueing, as its commands start at once.",
    );
    vec![table]
}

fn of(site: &Site, workers: usize) -> [Samples; 5] {
    let crew = Crew::new(site, workers);
    let open = crew.lab.key("open");
    let open_sshd = crew.lab.open_sshd(&open);
    let plain = Connection::open(&crew.lab, &open_sshd, &open);
    let bare = Bare::new(crew.lab.path("bare"));
    let mut rates: [Samples; 5] = Default::default();
    let per_second = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
    for _ in 0..site.rounds {
        let (queueing, running) = crew.round();
        rates[0].add(per_second(BUILDS, running));
        rates[1].add(per_second(BUILDS, queueing + running));
        let ((), took) = timed(|| nq(&crew.lab, workers, NQ / workers, &["true"]));
        rates[2].add(per_second(NQ, took));
        let ((), took) = timed(|| plain.parallel(workers, PARALLEL));
        rates[3].add(per_second(PARALLEL, took));
        rates[4].add(per_second(BUILDS, floor(&bare, workers)));
    }
    rates
}

/// A spool with workers.
struct Crew {
    // They go before the lab does.
    workers: Vec<Running>,
    _sshd: Sshd,
    lab: Lab,
}

impl Crew {
    fn new(site: &Site, count: usize) -> Crew {
        let lab = site.lab();
        let sshd = lab.sshd();
        let start = |n| {
            let name = format!("jail{n}");
            sshd.worker(&lab, &name, &lab.add_worker(&name), &["--keep"])
        };
        Crew { workers: (0..count).map(start).collect(), _sshd: sshd, lab }
    }

    fn enqueue(&self, priority: Priority, script: &str) {
        let ticket = Ticket { priority, ..ticket(&PLATFORM.parse().expect("a platform")) };
        let build = NewBuild { ticket, request: request(), script: script.as_bytes().to_vec() };
        self.lab.spool.enqueue(&build).expect("enqueue");
    }

    /// How long queueing took, and running. Until all is queued each worker is kept busy by a gate.
    fn round(&self) -> (Duration, Duration) {
        let gate = self.lab.path("gate");
        let _ = std::fs::remove_file(&gate);
        let waits = format!("while [ ! -e {} ]; do sleep 0.005; done\n", gate.display());
        for _ in &self.workers {
            self.enqueue(Priority::FRONT, &waits);
        }
        wait_for("the gates are closed", || self.active() == self.workers.len());
        let before = self.done();
        let ((), queueing) = timed(|| (0..BUILDS).for_each(|_| self.enqueue(Priority::NORMAL, "true\n")));
        let all = before + self.workers.len() + BUILDS;
        let start = Instant::now();
        std::fs::write(&gate, "").expect("the sign");
        let deadline = start + Duration::from_secs(120);
        while self.done() < all {
            assert!(Instant::now() < deadline, "{} of {all} builds are done", self.done());
            std::thread::sleep(Duration::from_millis(5));
        }
        (queueing, start.elapsed())
    }

    fn active(&self) -> usize {
        self.lab.spool.active_builds().expect("builds").len()
    }

    fn done(&self) -> usize {
        let done = self.lab.spool.layout().directory("done");
        let months = spool::disk::names(&done).expect("months");
        months.iter().map(|month| spool::disk::names(&done.join(month)).expect("builds").len()).sum()
    }
}

/// What no durable queue of this make can do without.
fn floor(bare: &Bare, threads: usize) -> Duration {
    let names: Vec<String> = (0..BUILDS).map(|_| bare.enqueue()).collect();
    let ((), took) = timed(|| {
        std::thread::scope(|scope| {
            for part in names.chunks(BUILDS / threads) {
                scope.spawn(move || part.iter().for_each(|name| run_bare(bare, name)));
            }
        });
    });
    took
}

fn run_bare(bare: &Bare, name: &str) {
    let dir = bare.claim(name);
    assert_eq!(Finished::of(Command::new("/bin/sh").arg(bare.script())).code, 0);
    bare.finish(name, dir);
}
