//! A hundred thousand jobs: the daemon's start, its idleness, and a thousand of them that are due at one moment.

use crate::site::Site;
use crate::stats::{Samples, timed};
use crate::table::{Table, ms, ratio};
use crate::transitions::{request, ticket};
use harness::{Lab, PLATFORM, Running, wait_for};
use jiff::{SignedDuration, Timestamp};
use spool::clock;
use spool::queue::NewBuild;
use std::path::Path;
use std::time::Duration;

const JOBS: usize = 100_000;
const DUE: usize = 1_000;

/// How long the idle daemon is watched.
const IDLE: Duration = Duration::from_secs(20);

/// The table.
pub fn measure(site: &Site) -> Vec<Table> {
    let lab = site.lab();
    fill(&lab);
    // What has been written long ago is on the disk already, and nobody is busy with it.
    rustix::fs::sync();
    let mut starts = Samples::default();
    for _ in 0..site.rounds {
        starts.time(|| ready(&lab));
    }
    let daemon = ready(&lab);
    let (busy, watched) = timed(|| {
        let before = ticks(daemon.pid());
        std::thread::sleep(IDLE);
        ticks(daemon.pid()) - before
    });
    let memory = resident(daemon.pid());
    let fired = fire(&lab);
    drop(daemon);
    let singly = one_by_one(site);
    let mut table = Table::new(&format!("The daemon with {JOBS} jobs, half of them crontab expressions"), &["", ""]);
    table.row(&["from its start until all jobs are read, median".into(), ms(starts.median())]);
    table.row(&[
        format!("CPU while idle for {} s", watched.as_secs()),
        format!(
            "{:.2} %",
            busy as f64 / rustix::param::clock_ticks_per_second() as f64 / watched.as_secs_f64() * 100.0
        ),
    ]);
    table.row(&["memory".into(), format!("{} MB", memory / 1000)]);
    table.row(&[format!("from a moment until {DUE} jobs that are due at it are queued"), ms(fired)]);
    table.row(&[format!("{DUE} builds queued one by one, each durable, against that"), ratio(singly / fired)]);
    vec![table]
}

/// Jobs as `builder add` writes them, without its syncs.
fn fill(lab: &Lab) {
    const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo"];
    let hour_ago = clock::now() - SignedDuration::from_hours(1);
    for n in 0..JOBS {
        let schedule = match n % 2 {
            0 => format!("cron = \"{} {} * * *\"\ntz = \"{}\"\nsince = \"{}\"", n % 60, n % 24, ZONES[n % 5], far()),
            _ => format!("every = \"daily\"\nfirst = \"{hour_ago}\""),
        };
        let note = if n % 2 == 0 { String::new() } else { format!("{hour_ago}\n") };
        write(lab, &format!("job{n}"), &schedule, &note);
    }
}

/// A moment that does not come while this runs.
fn far() -> Timestamp {
    clock::now() + SignedDuration::from_hours(1)
}

fn write(lab: &Lab, name: &str, schedule: &str, note: &str) {
    let text = format!(
        "created = \"2026-01-01T00:00:00Z\"\nplatforms = [\"{PLATFORM}\"]\n{schedule}\ntimeout_seconds = 3600\nattempts = 3\n\
         script = \"\"\"\n#!/bin/sh\nset -eu\necho {name}\n\"\"\"\n"
    );
    let put = |path: &Path, text: &str| std::fs::write(path, text).expect("a job");
    put(&lab.root().join(format!("jobs/{name}.toml")), &text);
    if !note.is_empty() {
        put(&lab.root().join("timers").join(name), note);
    }
}

/// A daemon that has read all jobs.
fn ready(lab: &Lab) -> Running {
    let _ = std::fs::remove_file(lab.path("builderd.log"));
    let daemon = lab.daemon();
    wait_for("it has read the jobs", || daemon.said().contains("has read the jobs"));
    daemon
}

/// Milliseconds from the moment until everything that is due at it is queued.
fn fire(lab: &Lab) -> f64 {
    let due = clock::now() + SignedDuration::from_secs(5);
    for n in 0..DUE {
        write(lab, &format!("due{n}"), &format!("every = \"never\"\nfirst = \"{due}\""), "");
    }
    let queue = lab.root().join("new").join(PLATFORM);
    wait_for("all are queued", || spool::disk::names(&queue).is_ok_and(|names| names.len() == DUE));
    clock::now().duration_since(due).as_secs_f64() * 1e3
}

fn one_by_one(site: &Site) -> f64 {
    let lab = site.lab();
    let platform = PLATFORM.parse().expect("a platform");
    let (_, took) = timed(|| {
        for n in 0..DUE {
            let script = format!("#!/bin/sh\nset -eu\necho due{n}\n").into_bytes();
            let build = NewBuild { ticket: ticket(&platform), request: request(), script };
            lab.spool.enqueue(&build).expect("enqueue");
        }
    });
    took.as_secs_f64() * 1e3
}

/// Clock ticks of CPU that a process has used, proc(5).
pub fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its status");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("a number")).sum()
}

/// Kilobytes that a process has in memory.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
