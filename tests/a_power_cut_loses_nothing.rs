//! Whatever a file system may have kept when the power went, the spool is recovered, and what was acknowledged is there.
//!
//! A whole life of a spool is recorded, call by call: `harness/power` says of which, and what may be kept. Here a sample is
//! tried, the same each time for the same recording; `cargo run -p promises --bin power-cut -- --exhaustive` tries all.
//! What a real file system keeps, on a real disk, is not shown.

use harness::power::{Log, Model, Outcome, Plan, PowerCut, replay, replay_without};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const DOCUMENT: &str = include_str!("../spool-layout.md");

fn power_cut() -> PowerCut {
    PowerCut::at(env!("CARGO_BIN_EXE_power-cut"))
}

/// One life is enough for all.
fn recorded() -> &'static Log {
    static LIFE: OnceLock<Log> = OnceLock::new();
    LIFE.get_or_init(|| power_cut().life())
}

fn is_whole(outcome: &Outcome, least: usize) {
    for one in outcome.broken.iter().take(3) {
        println!("{}\n{:#?}", one.cut, one.wrong);
    }
    assert!(outcome.broken.is_empty(), "{} of {} states", outcome.broken.len(), outcome.states);
    assert!(outcome.states >= least, "only {} states", outcome.states);
}

#[test]
fn at_any_moment_with_a_journal() {
    is_whole(&replay(recorded(), Model::Ordered, &Plan::QUICK), 400);
}

#[test]
fn at_any_moment_with_no_more_than_fsync_promises() {
    is_whole(&replay(recorded(), Model::Weak, &Plan::QUICK), 400);
}

#[test]
fn while_it_recovers_from_another_one() {
    is_whole(&power_cut().recoveries(recorded(), &Plan::QUICK), 200);
}

/// The syncs of the table, and whether it calls them spare.
fn documented() -> BTreeMap<String, bool> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("Syncs\n")).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows = rows.filter(|(sync, _)| ["names", "content", "everything"].iter().any(|kind| sync.starts_with(kind)));
    rows.map(|(sync, why)| (sync.replace('`', ""), why.starts_with("spare"))).collect()
}

/// How many lives are lived to see that a sync is needed: where two workers build at once, what is synced for one of them
/// may happen to make durable what the other one has.
const LIVES: usize = 4;

/// Whether something is broken in this life without such a sync; nothing when it has none.
fn is_needed(log: &Log, sync: &str) -> Option<bool> {
    let number = log.syncs.iter().position(|one| one == sync)?;
    Some(!replay_without(log, number, &Plan::QUICK).broken.is_empty())
}

#[test]
fn each_sync_is_needed_or_is_named_as_spare() {
    let log = recorded();
    let documented = documented();
    let mut others: Vec<Log> = Vec::new();
    for sync in &log.syncs {
        let is_spare = *documented.get(sync).unwrap_or_else(|| panic!("the sync of {sync} is not in the table"));
        let mut needed = is_needed(log, sync) == Some(true);
        assert!(!(needed && is_spare), "the sync of {sync} is needed, and the table calls it spare");
        for life in 0..LIVES - 1 {
            if needed || is_spare {
                break;
            }
            if others.len() == life {
                others.push(power_cut().life());
            }
            needed = is_needed(&others[life], sync) == Some(true);
        }
        assert!(needed || is_spare, "the sync of {sync} is spare, and the table says what is lost without it");
    }
    let gone: Vec<&String> = documented.keys().filter(|sync| !log.syncs.contains(sync)).collect();
    assert!(gone.is_empty(), "nobody syncs {gone:?}");
}
