//! builder.toml while builderd runs: it is read again when that is asked for.

use spool::config::Config;
use spool::error::Result;
use std::path::PathBuf;

/// What builder.toml says, as far as it holds for a builderd that runs.
pub struct Settings {
    named: Option<PathBuf>,
    current: Config,
}

impl Settings {
    /// Reads the file that was named, or the system's.
    pub fn read(named: Option<PathBuf>) -> Result<Settings> {
        let current = Config::read(named.as_deref())?;
        Ok(Settings { named, current })
    }

    /// What holds now.
    pub fn current(&self) -> &Config {
        &self.current
    }

    /// The file that was named.
    pub fn named(&self) -> Option<&PathBuf> {
        self.named.as_ref()
    }

    /// What it says now, and the settings that have changed and can't take effect before builderd is started anew.
    pub fn read_again(&self) -> Result<(Settings, Vec<&'static str>)> {
        let (new, old) = (Config::read(self.named.as_deref())?, &self.current);
        let fixed = [("spool", new.spool != old.spool), ("socket", new.socket != old.socket)];
        let (spool, socket) = (old.spool.clone(), old.socket.clone());
        let again = Settings { named: self.named.clone(), current: Config { spool, socket, ..new } };
        Ok((again, fixed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect()))
    }
}
