//! The session of a worker: one at a time, and what the worker said of itself when it began.

use crate::disk;
use crate::error::{At, Result};
use crate::lock::{self, Lock};
use crate::name::{Platform, WorkerName};
use crate::spool::Spool;
use crate::{clock, record, wake};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};

/// `workers/NAME.seen`: what a worker said of itself when it last connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Timestamp>,
    /// What names the worker's process and no other: random, from the worker itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Operating system, kernel, architecture, cores, memory, versions.
    #[serde(default)]
    pub system: BTreeMap<String, String>,
    /// What it builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
}

/// A worker's session: one at a time, for as long as this lives.
#[derive(Debug)]
pub struct Session {
    _lock: Lock,
}

impl Spool {
    /// Opens a worker's session. Nothing when it has one already; if that is one of the same process, whose
    /// connection was lost without the server's noticing, its server is told to leave, and it can be tried again soon.
    pub fn open_session(
        &self,
        name: &WorkerName,
        instance: &str,
        system: &BTreeMap<String, String>,
        platforms: &[Platform],
    ) -> Result<Option<Session>> {
        let path = self.layout().worker_seen(name);
        let Some(lock) = Lock::try_despite_lookers(disk::open_lock_file(&path)?) else {
            let before: Option<Seen> = record::read(&path).unwrap_or_default();
            if before.is_some_and(|before| !instance.is_empty() && before.instance == instance) {
                wake::tell(&self.layout().wake_worker(name), wake::LEAVE);
            }
            return Ok(None);
        };
        let seen = Seen {
            connected: Some(clock::now()),
            instance: instance.to_owned(),
            system: system.clone(),
            platforms: platforms.to_vec(),
        };
        let mut file: &File = &lock;
        file.set_len(0).at("write", &path)?;
        file.rewind().at("write", &path)?;
        file.write_all(&record::to_bytes(&seen)?).at("write", &path)?;
        Ok(Some(Session { _lock: lock }))
    }

    /// What a worker last said of itself, and whether it is connected.
    pub fn seen(&self, name: &WorkerName) -> Result<(Seen, bool)> {
        let path = self.layout().worker_seen(name);
        let Ok(file) = File::open(&path) else { return Ok((Seen::default(), false)) };
        let connected = lock::is_taken(&file);
        Ok((record::read(&path)?.unwrap_or_default(), connected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::Listener;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Whoever asks whether a worker is connected must not keep it from connecting.
    #[test]
    fn a_worker_comes_while_somebody_asks_whether_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let (name, system) = ("w".parse().unwrap(), BTreeMap::new());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    spool.seen(&name).unwrap_or_default();
                }
            });
            let refused =
                (0..300).filter(|_| spool.open_session(&name, "one", &system, &[]).unwrap().is_none()).count();
            over.store(true, Ordering::SeqCst);
            assert_eq!(refused, 0);
        });
    }

    #[test]
    fn only_the_same_process_sends_the_old_server_away() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let (name, system) = ("w".parse().unwrap(), BTreeMap::new());
        let session = spool.open_session(&name, "one", &system, &[]).unwrap().unwrap();
        let listener = Listener::new(spool.layout().wake_worker(&name)).unwrap();
        assert!(spool.open_session(&name, "two", &system, &[]).unwrap().is_none());
        assert!(spool.open_session(&name, "", &system, &[]).unwrap().is_none());
        assert!(!listener.drain());
        assert!(spool.open_session(&name, "one", &system, &[]).unwrap().is_none());
        let mut told = Vec::new();
        listener.news(|news| told.push(news.to_owned()));
        assert_eq!(told, [wake::LEAVE]);
        drop(session);
        assert!(spool.open_session(&name, "two", &system, &[]).unwrap().is_some());
        assert_eq!(spool.seen(&name).unwrap().0.instance, "two");
    }
}
