//! What is known of the launches of a platform: who is under way, and what has failed. `launches/PLATFORM.toml`.

use crate::disk;
use crate::error::Result;
use crate::name::{Platform, WorkerName};
use crate::spool::Spool;
use crate::{record, tmp};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was launched on a platform and has not come, and what stands against launching more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Launches {
    /// How many launches have failed, one after the other.
    #[serde(skip_serializing_if = "record::is_default")]
    pub failures: u32,
    /// When the last of them has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Timestamp>,
    /// Nothing is launched before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why the last one has failed, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Who would be launched, too, and has no key by which to come in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keyless: Vec<WorkerName>,
    /// Who is waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<UnderWay>,
}

/// A worker that was launched and has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnderWay {
    /// Which.
    pub worker: WorkerName,
    /// Since when.
    pub since: Timestamp,
}

impl Spool {
    /// What is known of a platform's launches; a file that can't be read says nothing.
    pub fn launches(&self, platform: &Platform) -> Launches {
        record::read(&self.layout().launches_of(platform)).ok().flatten().unwrap_or_default()
    }

    /// The platforms of which something is known.
    pub fn launched_platforms(&self) -> Result<Vec<Platform>> {
        let names = disk::names(&self.layout().launches())?;
        let mut platforms: Vec<Platform> =
            names.iter().filter_map(|name| name.strip_suffix(".toml")?.parse().ok()).collect();
        platforms.sort();
        Ok(platforms)
    }

    /// Notes what is known of a platform's launches, for builderd alone. A power cut may take it back, or leave it empty:
    /// that costs a launch too many, of a worker that is refused when it comes second.
    pub fn note_launches(&self, platform: &Platform, launches: &Launches) -> Result<()> {
        let path = self.layout().launches_of(platform);
        if *launches == Launches::default() {
            return disk::remove_file(&path);
        }
        disk::make_dir(&self.layout().launches())?;
        tmp::put_file_unsynced(self.layout(), &path, &record::to_bytes(launches)?)
    }

    /// Forgets platforms on which nothing is launched any more, and what can't be read.
    pub fn forget_launches(&self, keep: impl Fn(&Platform) -> bool) -> Result<()> {
        for platform in self.launched_platforms()? {
            let path = self.layout().launches_of(&platform);
            if !keep(&platform) || record::read::<Launches>(&path).is_err() {
                disk::remove_tree(&path)?;
            }
        }
        Ok(())
    }
}
