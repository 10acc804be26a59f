//! Hundreds of workers that wait for a build cost memory, a little, and nothing else: their server processes sleep until
//! there is something to hand out, and then one of them does.

use harness::{Lab, Liar, wait_for};
use serde_json::json;
use std::time::{Duration, Instant};

const WORKERS: usize = 500;

/// Workers that wait, for so long that no heartbeat is due during the test.
fn waiting(lab: &Lab, count: usize) -> Vec<Liar> {
    let patient = std::fs::read_to_string(lab.config()).expect("the configuration");
    std::fs::write(lab.config(), patient.replace("grace_seconds = 2", "grace_seconds = 3600"))
        .expect("the configuration");
    let mut workers: Vec<Liar> = (0..count).map(|n| Liar::connect_as(lab, &format!("w{n}"))).collect();
    for worker in &mut workers {
        worker.hello();
        worker.say(&json!({"t": "ready"}), b"");
    }
    workers
}

/// A number of /proc/PID/FILE behind a word, without its unit.
fn number(pid: u32, file: &str, word: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(word)).expect("the word");
    line.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_waiting_server_process_is_small_and_sleeps() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    lab.job("job", "true");
    let workers = waiting(&lab, WORKERS);
    let switches = || workers.iter().map(|one| number(one.pid(), "status", "voluntary_ctxt_switches:")).sum::<u64>();
    // They sleep once none of them has woken for a second.
    let mut last = (switches(), Instant::now());
    wait_for("all of them sleep", || {
        if switches() != last.0 {
            last = (switches(), Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(1)
    });
    let since = Instant::now();
    wait_for("builderd has looked at the queues several times", || since.elapsed() > Duration::from_secs(12));
    assert_eq!(switches(), last.0, "nobody has woken");
    let private = |one: &Liar| {
        let of = |word| number(one.pid(), "smaps_rollup", word);
        of("Private_Clean:") + of("Private_Dirty:")
    };
    let largest = workers.iter().map(private).max().expect("workers");
    assert!(largest < 3 << 10, "{largest} KiB");
    let id = lab.run("job");
    wait_for("one of them has it", || lab.build(&id).place.word() == "active");
    let holders = workers
        .iter()
        .filter(|one| lab.build(&id).lease().ok().flatten().is_some_and(|lease| lease.worker.as_str() == one.name()));
    assert_eq!(holders.count(), 1);
}

/// Who has queued a build may be killed before it has said so.
#[test]
fn a_build_that_nobody_was_told_of_is_found() {
    let lab = Lab::new();
    let _daemon = lab.daemon();
    lab.job("job", "true");
    let _workers = waiting(&lab, 2);
    let topic = lab.spool.layout().wake_queue(&harness::PLATFORM.parse().expect("a platform"));
    wait_for("they listen", || spool::disk::names(&topic).expect("readable").len() == 2);
    let away = topic.with_extension("away");
    std::fs::rename(&topic, &away).expect("deaf");
    let id = lab.run("job");
    std::fs::rename(&away, &topic).expect("and not");
    wait_for("builderd tells of it", || lab.build(&id).place.word() == "active");
}
