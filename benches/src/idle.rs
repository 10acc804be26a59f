//! Hundreds of workers that wait: what they cost, and how soon one of them has a build.

use crate::site::Site;
use crate::stats::Samples;
use crate::table::{Table, ms, ratio};
use harness::{Lab, Liar, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const WORKERS: usize = 500;

/// Measurements a round.
const TRIES: usize = 10;

/// For how long wake-ups are counted.
const QUIET: Duration = Duration::from_secs(20);

/// The table.
pub fn measure(site: &Site) -> Vec<Table> {
    let mut table = Table::new("Workers that wait", &["", "500 workers", "1 worker", "500 / 1"]);
    let (mut many, mut one) = (House::new(site, WORKERS), House::new(site, 1));
    let (many_kib, one_kib) = (many.private_kib(), one.private_kib());
    table.row(&["private memory of each, KiB".into(), many_kib.to_string(), one_kib.to_string(), String::new()]);
    let before = (many.switches(), one.switches());
    std::thread::park_timeout(QUIET);
    let woken = |now: u64, before: u64| (now - before).to_string();
    table.row(&[
        format!("wake-ups of all in {} s", QUIET.as_secs()),
        woken(many.switches(), before.0),
        woken(one.switches(), before.1),
        String::new(),
    ]);
    let (mut of_many, mut of_one) = (Samples::default(), Samples::default());
    for _ in 0..site.rounds * TRIES {
        of_many.add(many.taken());
        of_one.add(one.taken());
    }
    let share = of_many.median() / of_one.median();
    table.row(&["`builder run` to the claim, median".into(), ms(of_many.median()), ms(of_one.median()), ratio(share)]);
    let share = of_many.p90() / of_one.p90();
    table.row(&["the same, 9 of 10".into(), ms(of_many.p90()), ms(of_one.p90()), ratio(share)]);
    table.remark("Waiting server processes over pipes; the time begins before `builder` is spawned.");
    vec![table]
}

/// A spool with so many workers that wait.
struct House {
    lab: Lab,
    workers: Vec<Liar>,
    _daemon: harness::Running,
}

impl House {
    fn new(site: &Site, count: usize) -> House {
        let lab = site.lab();
        // No heartbeat is due while this is measured.
        std::fs::write(lab.config(), "grace_seconds = 3600\n").expect("a configuration");
        lab.job("job", "true");
        let daemon = lab.daemon();
        let mut workers: Vec<Liar> = (0..count).map(|n| Liar::connect_as(&lab, &format!("w{n}"))).collect();
        workers.iter_mut().for_each(|worker| {
            worker.hello();
            worker.say(&json!({"t": "ready"}), b"");
        });
        // Whoever has begun to wait listens.
        let topic = lab.root().join("wake/queue").join(harness::PLATFORM);
        eventually("all wait", || (spool::disk::names(&topic).ok()?.len() == count).then_some(()));
        House { lab, workers, _daemon: daemon }
    }

    fn number(pid: u32, file: &str, word: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
        let line = text.lines().find_map(|line| line.strip_prefix(word)).expect("the word");
        line.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    fn switches(&self) -> u64 {
        self.workers.iter().map(|one| House::number(one.pid(), "status", "voluntary_ctxt_switches:")).sum()
    }

    /// The largest.
    fn private_kib(&self) -> u64 {
        let of = |pid, word| House::number(pid, "smaps_rollup", word);
        let private = |one: &Liar| of(one.pid(), "Private_Clean:") + of(one.pid(), "Private_Dirty:");
        self.workers.iter().map(private).max().expect("workers")
    }

    /// Milliseconds from `builder run` until a worker has the build, which is over soon after.
    fn taken(&mut self) -> f64 {
        let start = Instant::now();
        let id = self.lab.run("job");
        let active = self.lab.root().join("active").join(&id);
        while !active.exists() {
            std::thread::park_timeout(Duration::from_micros(200));
        }
        let took = start.elapsed().as_secs_f64() * 1e3;
        let holder = || Some(self.lab.build(&id).lease().ok()??.worker.to_string());
        let name = eventually("somebody holds it", holder);
        let worker = self.workers.iter_mut().find(|one| one.name() == name).expect("one of them");
        worker.say(&json!({"t": "finish", "outcome": {"kind": "exited", "code": 0}, "duration_ms": 1}), b"");
        self.lab.finished(&id);
        worker.say(&json!({"t": "ready"}), b"");
        took
    }
}
