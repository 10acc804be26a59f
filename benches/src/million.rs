//! A million builds that are over: how long questions take, with the index and without; how fast it comes back; and what a
//! garbage collection of a tenth of them does to who claims builds meanwhile.

use crate::past::{self, JOBS, Made};
use crate::schedule::ticks;
use crate::site::Site;
use crate::stats::{Samples, timed};
use crate::table::{Table, ms, rate, ratio};
use crate::transitions::{request, ticket};
use harness::{Finished, Lab, PLATFORM, Running, wait_for};
use jiff::SignedDuration;
use spool::clock;
use spool::index::Keeper;
use spool::manifest::Manifest;
use spool::place::End;
use spool::queue::NewBuild;
use spool::record::{BuildResult, Outcome};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Builds of a script without artifacts whose room on the disk is measured.
const WEIGHED: usize = 20;

/// The tables.
pub fn measure(site: &Site, builds: usize) -> Vec<Table> {
    let lab = site.lab();
    let (made, took) = timed(|| past::make(&lab, builds));
    eprintln!("made {builds} builds in {:.0} s", took.as_secs_f64());
    rustix::fs::sync();
    // It takes minutes, so each table is seen as soon as it is there.
    let measures: [&dyn Fn() -> Table; 4] =
        [&|| index(&lab, builds), &|| questions(site, &lab, &made), &|| collection(&lab, builds), &|| weight(site)];
    measures.iter().for_each(|measure| println!("{}", measure()));
    Vec::new()
}

/// Its making, and what it costs.
fn index(lab: &Lab, builds: usize) -> Table {
    let mut keeper = Keeper::open(&lab.spool).expect("an index");
    let before = ticks(std::process::id());
    let (round, took) = timed(|| keeper.round().expect("a round"));
    let busy = (ticks(std::process::id()) - before) as f64 / rustix::param::clock_ticks_per_second() as f64;
    assert_eq!(round.taken, builds);
    let (again, all) = timed(|| {
        drop(keeper);
        let mut keeper = Keeper::open(&lab.spool).expect("an index");
        keeper.round().expect("a round")
    });
    assert_eq!(again.taken, 0);
    let size = lab.spool.layout().index_file().metadata().expect("its size").len();
    let mut table = Table::new(&format!("The index of {builds} builds"), &["", ""]);
    table.row(&["made from the spool, builds a second".into(), rate(builds as f64 / took.as_secs_f64())]);
    table.row(&["the same, a second of one processor's time".into(), rate(builds as f64 / busy)]);
    table
        .row(&["looked through and compared with all names, when builderd starts".into(), ms(all.as_secs_f64() * 1e3)]);
    table.row(&["on the disk, bytes a build".into(), (size / builds as u64).to_string()]);
    table
}

/// Each question as a process of its own. Without an index, once: the names are in memory then, but it takes long.
fn questions(site: &Site, lab: &Lab, made: &Made) -> Table {
    let daemon = lab.daemon();
    wait_for("the index has caught up", || lab.spool.index_is_true().expect("readable"));
    let asked: Vec<(&str, Vec<&str>)> = vec![
        ("`builder show TAIL`, of a build with artifacts", vec!["show", made.id.tail()]),
        ("`builder latest JOB`", vec!["latest", made.id.job().as_str()]),
        ("`builder find SHA256`", vec!["find", &made.content]),
        ("`builder history JOB -n 50`", vec!["history", made.id.job().as_str(), "-n", "50"]),
        ("`builder diff JOB --brief`", vec!["diff", made.id.job().as_str(), "--brief"]),
        ("`builder ls`", vec!["ls"]),
    ];
    let ask = |words: &[&str]| {
        let (done, took) = timed(|| lab.builder(words));
        assert!([0, 1].contains(&done.code), "{words:?}: {done:?}");
        took
    };
    let yesterday = clock::now() - SignedDuration::from_hours(24);
    let failed = |lab: &Lab| drop(lab.spool.ended_since(yesterday, Some(End::Failed)).expect("the builds"));
    let mut with: Vec<Samples> = vec![Samples::default(); asked.len() + 1];
    for _ in 0..site.rounds {
        asked.iter().zip(&mut with).for_each(|((_, words), times)| times.add_time(ask(words)));
        with[asked.len()].time(|| failed(lab));
    }
    drop(daemon);
    std::fs::rename(lab.spool.layout().index(), lab.path("index")).expect("moved away");
    let without: Vec<f64> = asked.iter().map(|(_, words)| ask(words).as_secs_f64() * 1e3).collect();
    let ((), scanned) = timed(|| failed(lab));
    std::fs::rename(lab.path("index"), lab.spool.layout().index()).expect("moved back");
    let without = without.into_iter().chain([scanned.as_secs_f64() * 1e3]);
    let names = asked.iter().map(|(name, _)| *name).chain(["those that failed in the last day, by the library"]);
    let mut table = Table::new("Questions", &["", "with the index", "p90", "without", "without / with"]);
    for ((name, times), without) in names.zip(&with).zip(without) {
        table.row(&[name.into(), ms(times.median()), ms(times.p90()), ms(without), ratio(without / times.median())]);
    }
    table
}

/// A tenth of all builds goes, while one after the other is queued, claimed and ended.
fn collection(lab: &Lab, builds: usize) -> Table {
    let of_a_line = builds / (JOBS * past::PLATFORMS.len());
    let keep = of_a_line - of_a_line / 10;
    std::fs::write(lab.config(), format!("[keep]\nbuilds = {keep}\n")).expect("a configuration");
    let over = AtomicBool::new(false);
    let (claims, (gone, took)) = std::thread::scope(|scope| {
        let claimer = scope.spawn(|| claims(lab, &over));
        let collected = timed(|| {
            let done = Finished::of(lab.program("builder").arg("gc"));
            assert_eq!(done.code, 0, "{done:?}");
            done.stdout.lines().count()
        });
        over.store(true, Ordering::SeqCst);
        (claimer.join().expect("claims"), collected)
    });
    let mut table = Table::new(&format!("`builder gc` of a tenth of {builds} builds, and claims meanwhile"), &["", ""]);
    table.row(&["lines that it said".into(), gone.to_string()]);
    table.row(&["it took".into(), format!("{:.1} s", took.as_secs_f64())]);
    table.row(&["claims".into(), claims.count().to_string()]);
    table.row(&["a claim, median".into(), ms(claims.median())]);
    table.row(&["a claim, p90".into(), ms(claims.p90())]);
    table.row(&["a claim, the slowest".into(), ms(claims.most())]);
    table
}

fn claims(lab: &Lab, over: &AtomicBool) -> Samples {
    let platform = PLATFORM.parse().expect("a platform");
    let worker = "bench".parse().expect("a worker");
    let mut claims = Samples::default();
    while !over.load(Ordering::SeqCst) {
        let ticket = ticket(&platform);
        let build = NewBuild { ticket: ticket.clone(), request: request(), script: b"true\n".to_vec() };
        lab.spool.enqueue(&build).expect("enqueue");
        let held = claims.time(|| lab.spool.claim(&ticket, &worker).expect("claim").won().expect("its turn"));
        let result = BuildResult::unrun(Outcome::Exited { code: 0 }, clock::now());
        held.finish(result, &Manifest::default()).expect("finish");
    }
    claims
}

/// What builds of a script that leaves nothing take of the disk, by a real worker.
fn weight(site: &Site) -> Table {
    let mut table = Table::new("On the disk, a build of a script that leaves nothing", &["", "bytes", "inodes"]);
    for (what, script) in [("that prints nothing", "true"), ("that prints a line", "echo a line")] {
        let lab = site.lab();
        lab.job("light", script);
        let worker: Running = lab.local_worker("w", &["--keep"]);
        (0..WEIGHED).for_each(|_| drop(lab.finished(&lab.run("light"))));
        drop(worker);
        let (mut bytes, mut inodes) = (0, 0);
        for build in lab.ended() {
            let all = walkdir::WalkDir::new(build.dir()).into_iter().flatten().filter_map(|one| one.metadata().ok());
            // What has another link is the store's, and shared.
            for meta in all.filter(|meta| meta.is_dir() || meta.nlink() == 1) {
                bytes += meta.blocks() * 512;
                inodes += 1;
            }
        }
        table.row(&[what.into(), (bytes / WEIGHED as u64).to_string(), (inodes / WEIGHED).to_string()]);
    }
    table
}
