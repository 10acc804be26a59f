//! What hears of new settings beside the daemon's own round.

use crate::door::Door;
use crate::house::House;
use crate::launch::Launcher;
use crate::metrics::Metrics;
use crate::retention::Retention;
use crate::settings::Settings;
use spool::Spool;
use spool::config::Config;
use spool::error::Result;
use tracing::warn;

/// The settings, and those who work by them in threads of their own.
pub struct Reload {
    /// builder.toml.
    pub settings: Settings,
    /// Who lets go of builds.
    pub retention: Retention,
    /// Who starts workers.
    pub launcher: Launcher,
    /// Who writes what is measured.
    pub metrics: Metrics,
    /// The door for local users, where it could be opened.
    pub door: Option<Door>,
}

impl Reload {
    /// Reads builder.toml again and hands on what it says.
    ///
    /// # Errors
    /// What is wrong with it: then nothing has changed.
    pub fn read_again(&mut self, spool: &Spool) -> Result<&Config> {
        let (settings, waiting) = self.settings.read_again()?;
        let house = House::new(spool, &settings)?;
        self.settings = settings;
        for name in waiting {
            warn!("a new `{name}` takes effect when builderd is started anew");
        }
        if let Some(door) = &self.door {
            door.change(house);
        }
        let config = self.settings.current();
        self.retention.change(&config.keep);
        self.launcher.change(&config.limited(spool), config);
        self.metrics.change(&config.limited(spool), config);
        Ok(config)
    }
}
