//! What a rebuild may have different from the build that it repeats.

use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A circumstance that must not matter to what comes out, as reprotest(1) varies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vary {
    /// The variables that say who builds: USER, LOGNAME, USERNAME. The user itself stays.
    User,
    /// HOME.
    Home,
    /// The directory in which the script runs, and TMPDIR.
    Path,
    /// A variable more, and a directory more in PATH.
    Environment,
    /// LANG, LANGUAGE and LC_ALL.
    Locale,
    /// TZ.
    Timezone,
    /// The permissions that new files don't get.
    Umask,
    /// The time of the day, the day and the year, where libfaketime is installed.
    Time,
}

impl Vary {
    /// All of them.
    pub const ALL: [Vary; 8] =
        [Vary::User, Vary::Home, Vary::Path, Vary::Environment, Vary::Locale, Vary::Timezone, Vary::Umask, Vary::Time];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Vary::User => "user",
            Vary::Home => "home",
            Vary::Path => "path",
            Vary::Environment => "environment",
            Vary::Locale => "locale",
            Vary::Timezone => "timezone",
            Vary::Umask => "umask",
            Vary::Time => "time",
        }
    }
}

impl fmt::Display for Vary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Vary {
    type Err = Error;

    fn from_str(word: &str) -> Result<Vary, Error> {
        Vary::ALL.into_iter().find(|one| one.word() == word).ok_or_else(|| {
            let shown: String = word.chars().take(60).flat_map(char::escape_default).collect();
            let all: Vec<&str> = Vary::ALL.iter().map(|one| one.word()).collect();
            Error::new(Kind::Usage, format!("`{shown}` is nothing that can be varied"))
                .hint(format!("give some of {}", all.join(",")))
        })
    }
}
