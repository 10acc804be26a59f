//! Platforms under an operator's hand: paused, dropped, and a whole spool that drains.
//!
//! A platform is known from its queue, which `builder worker add`, a worker that connects, or a build makes. A
//! state that differs from the normal one is a file in `platforms/`; there is none for a platform that is open.

use crate::build_id::BuildId;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::name::Platform;
use crate::spool::Spool;
use crate::{record, tmp, wake};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is done with the builds of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// They are queued and handed out.
    Open,
    /// They are queued, and nothing is handed out.
    Paused,
    /// There are none, and none are taken; its workers are told to go.
    Dropped,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Paused => "paused",
            State::Dropped => "dropped",
        }
    }
}

/// `platforms/PLATFORM.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Standing {
    state: State,
    since: Timestamp,
}

/// Why a worker gets no build now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Its platform is paused.
    Paused,
    /// Its platform is dropped.
    Dropped,
    /// The spool drains.
    Draining,
}

impl Spool {
    /// The state of a platform. A file that can't be read counts as a pause: whoever wrote it wanted to stop something.
    pub fn platform_state(&self, platform: &Platform) -> State {
        match record::read::<Standing>(&self.layout().platform(platform)) {
            Ok(None) => State::Open,
            Ok(Some(standing)) => standing.state,
            Err(_) => State::Paused,
        }
    }

    /// All platforms that are known, with their states: those with a queue, and those that have a state.
    pub fn platform_states(&self) -> Result<BTreeMap<Platform, State>> {
        let mut known = self.platforms()?;
        let files = disk::names(&self.layout().directory("platforms"))?;
        known.extend(files.iter().filter_map(|name| name.strip_suffix(".toml")?.parse::<Platform>().ok()));
        Ok(known.into_iter().map(|platform| (platform.clone(), self.platform_state(&platform))).collect())
    }

    /// Makes a platform known, so that jobs for all platforms are built there, too. Durable on return.
    pub fn know_platform(&self, platform: &Platform) -> Result<()> {
        let queue = self.layout().queue(platform);
        if !queue.is_dir() {
            disk::make_dir_synced(&queue)?;
            wake::ring(&self.layout().wake_daemon());
        }
        Ok(())
    }

    /// Refuses a platform that is dropped.
    pub fn refuse_dropped(&self, platform: &Platform) -> Result<()> {
        if self.platform_state(platform) != State::Dropped {
            return Ok(());
        }
        Err(Error::new(Kind::Data, format!("platform {platform} is dropped and takes no builds"))
            .hint(format!("`builder platform restore {platform}` takes that back")))
    }

    /// Pauses a platform, opens it again, or drops it. Durable on return. Returns what was taken from the queue
    /// of a platform that was dropped.
    pub fn set_platform(&self, platform: &Platform, state: State, now: Timestamp) -> Result<Vec<BuildId>> {
        let _lock = self.lock_jobs()?;
        let path = self.layout().platform(platform);
        match state {
            State::Open => {
                disk::remove_file(&path)?;
                disk::sync_dir(&self.layout().directory("platforms"))?;
            }
            _ => tmp::replace_file(self.layout(), &path, &record::to_bytes(&Standing { state, since: now })?)?,
        }
        let taken = if state == State::Dropped { self.empty_queue(platform, |_| true)? } else { Vec::new() };
        wake::ring(&self.layout().wake_queue(platform));
        wake::ring(&self.layout().wake_daemon());
        Ok(taken)
    }

    /// Removes queued builds that are wanted gone. Durable on return. Needs the jobs' lock, or a job that nobody
    /// queues any more.
    pub(crate) fn empty_queue(&self, platform: &Platform, wanted: impl Fn(&BuildId) -> bool) -> Result<Vec<BuildId>> {
        let mut removed = Vec::new();
        for ticket in self.queue(platform)?.into_iter().filter(|ticket| wanted(&ticket.id)) {
            if let Some(held) = self.take(&ticket)? {
                held.remove()?;
                removed.push(ticket.id);
            }
        }
        if !removed.is_empty() {
            disk::sync_dir(&self.layout().queue(platform))?;
        }
        Ok(removed)
    }

    /// Whether the spool drains: nothing is handed out, and what runs goes on to its end.
    pub fn drains(&self) -> bool {
        self.layout().drain().exists()
    }

    /// Begins or ends a drain. Durable on return.
    pub fn set_drain(&self, drain: bool) -> Result<()> {
        let path = self.layout().drain();
        if drain {
            return tmp::replace_file(self.layout(), &path, b"");
        }
        disk::remove_file(&path)?;
        disk::sync_dir(self.layout().root())?;
        self.platforms()?.iter().for_each(|platform| wake::ring(&self.layout().wake_queue(platform)));
        Ok(())
    }

    /// Why a worker of this platform gets nothing now; nothing when it may.
    pub fn withheld(&self, platform: &Platform) -> Option<Withheld> {
        match self.platform_state(platform) {
            State::Dropped => Some(Withheld::Dropped),
            _ if self.drains() => Some(Withheld::Draining),
            State::Paused => Some(Withheld::Paused),
            State::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_platform_is_open_until_somebody_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::init(&dir.path().join("spool")).unwrap();
        let platform: Platform = "debian-12".parse().unwrap();
        spool.know_platform(&platform).unwrap();
        assert_eq!((spool.platform_state(&platform), spool.withheld(&platform)), (State::Open, None));
        let states =
            [(State::Paused, Some(Withheld::Paused)), (State::Dropped, Some(Withheld::Dropped)), (State::Open, None)];
        for (state, withheld) in states {
            spool.set_platform(&platform, state, clock::now()).unwrap();
            assert_eq!((spool.platform_state(&platform), spool.withheld(&platform)), (state, withheld));
        }
        spool.set_drain(true).unwrap();
        assert_eq!(spool.withheld(&platform), Some(Withheld::Draining));
        spool.set_drain(false).unwrap();
        assert_eq!(spool.withheld(&platform), None);
        std::fs::write(spool.layout().platform(&platform), "state = \"pau").unwrap();
        assert_eq!(spool.platform_state(&platform), State::Paused, "a damaged file stops rather than starts");
    }
}
