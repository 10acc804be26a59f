//! Where an artifact lies within its build's output directory.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A relative path of plain components, as UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// The longest allowed, in bytes; a component has at most 255.
    pub const LONGEST: usize = 1024;

    /// The path as text, with `/` between components.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a map of paths can be asked for a text; both are ordered and compared alike.
impl Borrow<str> for ArtifactPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArtifactPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<ArtifactPath> {
        let why = if text.len() > ArtifactPath::LONGEST {
            "it is longer than 1024 bytes"
        } else if text.chars().any(char::is_control) {
            "it contains a control character"
        } else if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            "it must be relative, without empty, '.' or '..' components"
        } else if text.split('/').any(|part| part.len() > 255) {
            "a component is longer than 255 bytes"
        } else {
            return Ok(ArtifactPath(text.to_owned()));
        };
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        Err(Error::new(Kind::Data, format!("`{shown}` can't be an artifact's path: {why}")))
    }
}

impl TryFrom<String> for ArtifactPath {
    type Error = Error;
    fn try_from(text: String) -> Result<ArtifactPath> {
        text.parse()
    }
}

impl From<ArtifactPath> for String {
    fn from(path: ArtifactPath) -> String {
        path.0
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_parse() {
        for good in ["hello", "bin/hello", "a\\b", ".profile", "ü/ö.deb", "a b"] {
            assert_eq!(good.parse::<ArtifactPath>().unwrap().as_str(), good);
        }
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\nb", &"x".repeat(256)] {
            assert!(bad.parse::<ArtifactPath>().is_err(), "{bad:?}");
        }
    }
}
