//! Seals: builds that are over are signed by the server, one at a time in a thread of its own, since a console may be
//! gigabytes. `--once` does it on the spot.

use spool::build_id::BuildId;
use spool::config::Config;
use spool::error::Result;
use spool::job::Ended;
use spool::sign::{ServerKey, Standing};
use spool::{Spool, wake};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use tracing::{debug, info, warn};

/// A build, and what came of sealing it.
pub type Done = (BuildId, Result<()>);

/// Who seals, and what was done.
pub struct Seals {
    sealer: Option<Sealer>,
    rules: Rules,
    report: Sender<Done>,
    done: Receiver<Done>,
    collected: Option<Done>,
}

/// What builder.toml says of seals: whether there are any, and the key.
type Rules = (bool, Option<PathBuf>);

enum Sealer {
    /// The thread takes them.
    Thread(Sender<Ended>),
    /// They are done on the spot.
    Here(Box<(Spool, ServerKey, Sender<Done>)>),
}

impl Seals {
    /// Gets the server's key. Without one builds stay as they are, which is said once.
    pub fn start(spool: &Spool, config: &Config, once: bool) -> Seals {
        let (report, done) = channel();
        let sealer = match key(spool, config) {
            Some(key) if once => Some(Sealer::Here(Box::new((spool.clone(), key, report.clone())))),
            key => key.map(|key| thread_with(spool, key, &report)),
        };
        Seals { sealer, rules: rules(config), report, done, collected: None }
    }

    /// What is sealed from now on is sealed by these settings; what was given to the last thread it still does.
    pub fn change(&mut self, spool: &Spool, config: &Config) {
        let rules = rules(config);
        if rules != self.rules {
            self.sealer = key(spool, config).map(|key| thread_with(spool, key, &self.report));
            self.rules = rules;
        }
    }

    /// Has a build sealed, after those before it. False when nothing is sealed here.
    pub fn seal(&self, ended: &Ended) -> bool {
        match &self.sealer {
            None => false,
            Some(Sealer::Thread(tasks)) => tasks.send(ended.clone()).is_ok(),
            Some(Sealer::Here(here)) => {
                let (spool, key, report) = here.as_ref();
                report.send((ended.id.clone(), seal(spool, key, ended))).is_ok()
            }
        }
    }

    /// A build with which it is done.
    pub fn done(&mut self) -> Option<Done> {
        self.collected.take().or_else(|| self.done.try_recv().ok())
    }

    /// Waits until it is done with one more. False when that will never be.
    pub fn wait(&mut self) -> bool {
        self.collected = self.done.recv().ok();
        self.collected.is_some()
    }
}

fn rules(config: &Config) -> Rules {
    (config.seal, config.signing_key.clone())
}

/// The server's key, unless nothing is to be sealed. Where there is none that is said.
fn key(spool: &Spool, config: &Config) -> Option<ServerKey> {
    let key = config.seal.then(|| spool.server_key(config.signing_key.as_deref()))?;
    key.inspect_err(|e| warn!("builds are not sealed: {e}")).ok()
}

fn thread_with(spool: &Spool, key: ServerKey, report: &Sender<Done>) -> Sealer {
    info!("seals builds with the key {}", key.fingerprint());
    Sealer::Thread(start(spool.clone(), key, report.clone()))
}

fn start(spool: Spool, key: ServerKey, report: Sender<Done>) -> Sender<Ended> {
    let (tasks, to_do) = channel::<Ended>();
    thread::spawn(move || {
        for ended in to_do {
            let done = seal(&spool, &key, &ended);
            let _ = report.send((ended.id, done));
            wake::ring(&spool.layout().wake_daemon());
        }
    });
    tasks
}

fn seal(spool: &Spool, key: &ServerKey, ended: &Ended) -> Result<()> {
    let sealed = spool.seal(ended, key)?;
    match sealed.worker {
        Standing::Bad { why } => warn!(build = %ended.id, "its worker's signature is not good: {why}"),
        worker => debug!(build = %ended.id, files = sealed.files, signed = worker.is_good(), "sealed"),
    }
    Ok(())
}
