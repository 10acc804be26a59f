//! Names that parse once. Behind these types nothing has to think of `/`, `..` or a newline again.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Letters, digits and `. _ + -`, starting with a letter or digit: safe in a path, a shell and a URL.
fn check(what: &str, text: &str, longest: usize) -> Result<()> {
    let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
    let wrong = |why: String| {
        Err(Error::new(Kind::Data, format!("`{shown}` is not a {what}: {why}"))
            .hint(format!("use 1 to {longest} letters, digits, '.', '_', '+' or '-', starting with a letter or digit")))
    };
    if text.is_empty() {
        return wrong("it is empty".into());
    }
    if text.len() > longest {
        return wrong(format!("it has {} bytes", text.len()));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return wrong("it starts with another character".into());
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._+-".contains(*c))) {
        Some(bad) => wrong(format!("it contains {bad:?}")),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The longest allowed, in bytes.
            pub const LONGEST: usize = $longest;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                check($what, text, Self::LONGEST)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// What somebody calls a job.
    JobName, "job name", 100
);
name!(
    /// A platform such as `debian-12`; each has a queue of its own.
    Platform, "platform", 60
);
name!(
    /// What a worker is called; it stands in its key's forced command.
    WorkerName, "worker name", 60
);
name!(
    /// A secret's file in the directory of a job's secrets.
    SecretName, "secret name", 60
);
name!(
    /// What a person is called who uses a spool through a key or through builderd.
    Person, "person's name", 60
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_come_back_as_they_were() {
        for text in ["a", "orb-build", "gtk+3.0", "0ad", "x_y", &"n".repeat(100)] {
            assert_eq!(text.parse::<JobName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_names_are_refused_in_one_line() {
        for text in ["", "..", "../../x", "a/b", ".hidden", "a\nb", "-rf", "a b", "ü", &"n".repeat(300)] {
            let error = text.parse::<JobName>().unwrap_err();
            assert_eq!(error.kind(), Kind::Data, "{text:?}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
