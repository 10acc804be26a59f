//! What Prometheus is told, once a minute, in a file for node_exporter's textfile collector; in a thread of its own.

use jiff::Timestamp;
use spool::config::Config;
use spool::error::Result;
use spool::status::{Kept, Measured, Tally, metrics, publish};
use spool::{Spool, clock};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tracing::error;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(60);

/// Where to write, and of what.
type Rules = (Spool, Option<PathBuf>);

/// The thread that writes.
pub struct Metrics(Sender<Rules>);

impl Metrics {
    /// Writes there from now on, beginning at once.
    pub fn change(&self, spool: &Spool, config: &Config) {
        let _ = self.0.send((spool.clone(), config.metrics.clone()));
    }
}

/// How large the store was when it was swept last: contents and bytes.
#[derive(Clone, Default)]
pub struct StoreSize(Arc<Mutex<Option<(u64, u64)>>>);

impl StoreSize {
    /// A sweep has counted it.
    pub fn set(&self, size: (u64, u64)) {
        if let Ok(mut known) = self.0.lock() {
            *known = Some(size);
        }
    }

    fn get(&self) -> Option<(u64, u64)> {
        self.0.lock().ok().and_then(|known| *known)
    }
}

/// Starts the thread; it ends with the process, between any two steps.
pub fn start(spool: &Spool, config: &Config, store: StoreSize) -> Metrics {
    let (change, changes) = channel();
    let writer = Writer {
        tally: None,
        kept: Kept::default(),
        store,
        started: clock::now(),
        not_written: false,
        not_noted: false,
    };
    let rules = (spool.clone(), config.metrics.clone());
    thread::spawn(move || writer.run(rules, &changes));
    Metrics(change)
}

struct Writer {
    /// What was counted; nothing before the first time.
    tally: Option<Tally>,
    kept: Kept,
    store: StoreSize,
    started: Timestamp,
    not_written: bool,
    not_noted: bool,
}

impl Writer {
    fn run(mut self, mut rules: Rules, changes: &Receiver<Rules>) {
        loop {
            let (spool, path) = &rules;
            if let Some(path) = path {
                let written = self.measure(spool).and_then(|text| publish(path, &text));
                once(&mut self.not_written, written, "metrics can't be written");
            }
            let changed = match path {
                Some(_) => changes.recv_timeout(EVERY),
                None => changes.recv().map_err(RecvTimeoutError::from),
            };
            match changed {
                Ok(changed) => rules = changed,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn measure(&mut self, spool: &Spool) -> Result<String> {
        let now = clock::now();
        let before = self.tally.get_or_insert_with(|| spool.tally());
        let tally = spool.count_on(before.clone(), now)?;
        before.clone_from(&tally);
        // Where there is no room they are counted all the same, for as long as builderd runs.
        once(&mut self.not_noted, spool.note_tally(&tally), "what was counted can't be noted");
        let kept = self.kept.count(spool)?;
        let errors = journal::failures();
        let measured = Measured { tally, errors, kept, store: self.store.get(), started: self.started };
        Ok(metrics(&spool.status(now)?, &measured, now))
    }
}

/// What lasts, such as a full disk, is said once.
fn once(complained: &mut bool, done: Result<()>, what: &str) {
    match done {
        Ok(()) => *complained = false,
        Err(e) => {
            if !std::mem::replace(complained, true) {
                error!("{what}: {e}");
            }
        }
    }
}
