//! `builder worker`: who is let in with which key.

use crate::args::{LsArgs, WorkerAddArgs, WorkerRmArgs};
use crate::terminal::{Cell, Fit, Look, Row, Style, Table, cell};
use crate::words::platforms;
use crate::{out, text};
use jiff::Timestamp;
use serde::Serialize;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::name::WorkerName;
use spool::session::Seen;
use spool::worker::Worker;
use spool::{Spool, clock, owner};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No public key is longer, in bytes; 16384-bit RSA stays below.
const LONGEST_KEY: u64 = 64 << 10;

/// Adds a worker and lets sshd know its key.
pub fn add(spool: &Spool, config: &Config, args: &WorkerAddArgs) -> Result<()> {
    let name: WorkerName = args.name.parse()?;
    let platforms = platforms(&args.platforms)?;
    let mut key = String::new();
    match args.key.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => File::open(path).at("read", path)?.take(LONGEST_KEY).read_to_string(&mut key).at("read", path)?,
        None => io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut key).at("read", "standard input")?,
    };
    let worker = Worker { added: clock::now(), platforms, key: Some(key.parse()?) };
    owner::become_owner(spool)?;
    spool.add_worker(&name, &worker)?;
    worker.platforms.iter().try_for_each(|platform| spool.know_platform(platform))?;
    spool.write_authorized_keys(&config.forced_command(), None)?;
    out::print(&format!("added worker {name}\n"))
}

/// Removes a worker and its key.
pub fn rm(spool: &Spool, config: &Config, args: &WorkerRmArgs) -> Result<()> {
    let name: WorkerName = args.name.parse()?;
    owner::become_owner(spool)?;
    // As long as there is a worker, it can be removed again, should this be cut short. One that is unknown has no line.
    if spool.workers()?.contains_key(&name) {
        spool.write_authorized_keys(&config.forced_command(), Some(&name))?;
    }
    spool.remove_worker(&name)?;
    out::print(&format!("removed worker {name}\n"))
}

/// Ends a worker's quarantine.
pub fn release(spool: &Spool, args: &WorkerRmArgs) -> Result<()> {
    let name: WorkerName = args.name.parse()?;
    owner::become_owner(spool)?;
    if !spool.release_worker(&name)? {
        spool.worker(&name)?;
        return Err(Error::new(Kind::Data, format!("worker {name} is in no quarantine"))
            .hint("`builder worker ls` shows who is"));
    }
    out::print(&format!("worker {name} gets builds again\n"))
}

/// A worker as it is listed.
#[derive(Serialize)]
pub struct Listed {
    name: WorkerName,
    connected: bool,
    /// Until when it gets no builds, because too many failed at once.
    quarantined: Option<Timestamp>,
    /// How many builds failed at once with it, one after the other.
    failed_at_once: usize,
    /// What was said of it; nothing of one that has only connected locally.
    #[serde(flatten)]
    worker: Option<Worker>,
    #[serde(flatten)]
    seen: SeenAs,
}

#[derive(Serialize)]
struct SeenAs {
    last_connected: Option<Timestamp>,
    system: std::collections::BTreeMap<String, String>,
}

/// Lists the workers.
pub fn ls(spool: &Spool, args: &LsArgs) -> Result<()> {
    let (listed, broken) = all(spool)?;
    for complaint in broken {
        out::hint(&complaint);
    }
    match args.json {
        true => out::json(&listed),
        false => {
            let lines = table(&listed, Look::of_stdout(), clock::now());
            out::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        }
    }
}

/// The workers, and what is wrong with the files of others.
pub fn all(spool: &Spool) -> Result<(Vec<Listed>, Vec<String>)> {
    let (mut listed, mut broken) = (Vec::new(), Vec::new());
    for (name, worker) in spool.workers()? {
        match worker {
            Ok(worker) => listed.push(one(spool, name, Some(worker))),
            Err(e) => broken.push(e.to_string()),
        }
    }
    listed.extend(spool.local_workers()?.into_iter().map(|name| one(spool, name, None)));
    Ok((listed, broken))
}

fn one(spool: &Spool, name: WorkerName, worker: Option<Worker>) -> Listed {
    let (Seen { connected: last_connected, system, .. }, connected) = spool.seen(&name).unwrap_or_default();
    Listed {
        quarantined: spool.quarantined(&name, clock::now()),
        failed_at_once: spool.health(&name).failed.len(),
        name,
        connected,
        worker,
        seen: SeenAs { last_connected, system },
    }
}

/// The workers as lines.
pub fn table(listed: &[Listed], look: Look, now: Timestamp) -> Vec<String> {
    let rows = listed.iter().map(|one| row(one, now)).collect();
    Table { columns: &[Fit::Name, Fit::Words, Fit::Words, Fit::Words], rows }.lines(look)
}

fn row(one: &Listed, now: Timestamp) -> Row {
    let state = match (one.quarantined, one.connected, one.seen.last_connected) {
        (Some(_), ..) => cell("in quarantine").styled(Style::Bad),
        (None, true, _) => cell("connected").styled(Style::Good),
        (None, false, Some(last)) => cell(format!("last connected {}", text::since(last, now))).styled(Style::Faint),
        (None, false, None) => cell("never connected").styled(Style::Faint),
    };
    let platforms = match &one.worker {
        Some(worker) => worker.platforms.iter().map(|platform| platform.as_str()).collect::<Vec<_>>().join(","),
        None => "local".to_owned(),
    };
    let system = ["os", "arch"].iter().filter_map(|key| one.seen.system.get(*key).map(|text| text::tame(text)));
    let system = cell(system.collect::<Vec<_>>().join(" "));
    Row { cells: vec![cell(one.name.as_str()), cell(platforms), state, system], note: quarantine(one) }
}

fn quarantine(one: &Listed) -> Option<Cell> {
    let until = text::minute(one.quarantined?);
    let failed = text::count(one.failed_at_once, "build");
    let note = format!("until {until}: {failed} failed at once; `builder worker release {}` ends it", one.name);
    Some(cell(note).styled(Style::Bad))
}
