//! From the words of a command line to what the spool library takes.

pub mod job;
mod script;

pub use script::{from_template, open, script};

use jiff::SignedDuration;
use spool::error::{Error, Kind, Result};
use spool::job::Platforms;
use spool::name::Platform;
use std::collections::BTreeMap;

/// What somebody typed, fit for a message.
pub fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}

/// The platforms as they were named, each once, or all.
pub fn job_platforms(named: &[String]) -> Result<Platforms> {
    match named {
        [word] if word == "all" => Ok(Platforms::All),
        _ if named.iter().any(|word| word == "all") => {
            Err(Error::new(Kind::Usage, "--platform all takes no other platforms beside it"))
        }
        _ => platforms(named).map(Platforms::Named),
    }
}

/// The platforms as they were named, each once.
pub fn platforms(named: &[String]) -> Result<Vec<Platform>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in named {
        let platform = text.parse()?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// Some names, each once; the word `none` for none of them.
pub fn names<T: std::str::FromStr<Err = Error> + PartialEq>(words: &[String]) -> Result<Vec<T>> {
    if let [word] = words
        && word == "none"
    {
        return Ok(Vec::new());
    }
    let mut names: Vec<T> = Vec::new();
    for word in words {
        let name = word.parse()?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// A duration in whole seconds, at least `least`.
pub fn seconds(option: &str, text: &str, least: u64) -> Result<u64> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| u64::try_from(duration.as_secs()).ok());
    parsed.filter(|seconds| *seconds >= least).ok_or_else(|| {
        let longer = if least > 0 { " of a second or more" } else { "" };
        Error::new(Kind::Usage, format!("{option} `{}` is no duration{longer}", shown(text)))
            .hint("give a number with a unit, such as 90s, 30m or 2h")
    })
}

/// A value, or nothing for the word `none`.
pub fn or_none<T>(text: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}

/// Bytes: a number, and perhaps a unit of powers of 1000 (`kB`, `MB`) or 1024 (`KiB`, `MiB`).
pub fn bytes(option: &str, text: &str) -> Result<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1_000),
        "m" | "mb" => Some(1_000_000),
        "g" | "gb" => Some(1_000_000_000),
        "t" | "tb" => Some(1_000_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        "tib" => Some(1 << 40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{option} `{}` is no size", shown(text)))
            .hint("give a number with a unit, such as 500kB, 200MB or 1GiB")
    })
}

/// NAME=VALUE, some times.
pub fn values(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let mut given = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(
                Error::new(Kind::Usage, format!("--set {} has no '='", shown(pair))).hint("write --set NAME=VALUE")
            );
        };
        if given.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::new(Kind::Usage, format!("--set {} is given twice", shown(name))));
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_or_refused() {
        let table = [
            ("1", Some(1)),
            ("500kB", Some(500_000)),
            ("200MB", Some(200_000_000)),
            ("1GiB", Some(1 << 30)),
            ("2g", Some(2_000_000_000)),
        ];
        for (text, expected) in table {
            assert_eq!(bytes("--log-limit", text).ok(), expected, "{text}");
        }
        for text in ["", "0", "MB", "-1", "1.5MB", "1XB", "99999999999TB"] {
            assert_eq!(bytes("--log-limit", text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        assert_eq!(seconds("--timeout", "1h30m", 1).unwrap(), 5400);
        assert!(seconds("--timeout", "0s", 1).is_err() && seconds("--timeout", "90", 1).is_err());
        assert_eq!(seconds("--jitter", "0s", 0).unwrap(), 0);
    }
}
