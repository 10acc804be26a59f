//! From the words of a command line to what the spool library takes.

pub mod job;
mod script;

pub use script::{from_template, installed_templates, open, script, template_paths};

use jiff::SignedDuration;
use spool::artifact_path::ArtifactPath;
use spool::error::{Error, Kind, Result};
use spool::job::Platforms;
use spool::keep::{Keep, Size};
use spool::name::Platform;
use spool::rebuild::Vary;
use std::collections::{BTreeMap, BTreeSet};

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
    each_once(named, |text| text.parse())
}

/// What words mean, each meaning once.
fn each_once<T: PartialEq>(words: &[String], meant: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let mut all: Vec<T> = Vec::new();
    for word in words {
        let one = meant(word)?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

/// As [`each_once`]; the word `none` alone for nothing.
fn each_once_or_none<T: PartialEq>(words: &[String], meant: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    if words == ["none"] { Ok(Vec::new()) } else { each_once(words, meant) }
}

/// Some names, each once; the word `none` for none of them.
pub fn names<T: std::str::FromStr<Err = Error> + PartialEq>(words: &[String]) -> Result<Vec<T>> {
    each_once_or_none(words, str::parse)
}

/// The path of an artifact, or of a directory of them, with or without a slash at its end.
pub fn artifact(option: &str, path: &str) -> Result<ArtifactPath> {
    let parsed = path.trim_end_matches('/').parse();
    parsed.map_err(|e: Error| Error::new(Kind::Usage, format!("{option}: {e}")))
}

/// Some of them, each once; the word `none` for none of them.
pub fn artifacts(option: &str, words: &[String]) -> Result<Vec<ArtifactPath>> {
    each_once_or_none(words, |word| artifact(option, word))
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

/// What rebuilds have different: `all`, `none`, or some words with commas between them.
pub fn vary(text: &str) -> Result<Vec<Vary>> {
    let some = match text {
        "all" => Vary::ALL.to_vec(),
        "none" => Vec::new(),
        _ => text.split(',').map(|word| word.trim().parse()).collect::<Result<Vec<Vary>>>()?,
    };
    let each_once: BTreeSet<Vary> = some.into_iter().collect();
    Ok(each_once.into_iter().collect())
}

/// Bytes: a number, and perhaps a unit, see [`Size`].
pub fn bytes(option: &str, text: &str) -> Result<u64> {
    let size = text.parse::<Size>().map(Size::bytes);
    size.map_err(|e| Error::new(Kind::Usage, format!("{option} {e}")))
}

/// What is kept: `builds=50,days=90,disk=200GB`, some of these; or `all`. Nothing for `usual`.
pub fn keep(text: &str) -> Result<Option<Keep>> {
    let wrong = || {
        Error::new(Kind::Usage, format!("--keep `{}` says nothing that can be kept", shown(text)))
            .hint("give some of builds=N,days=N,disk=SIZE, each 1 or more; or all, or usual for what builder.toml says")
    };
    let mut keep = Keep::default();
    match text {
        "usual" => return Ok(None),
        "all" => return Ok(Some(keep)),
        _ => {}
    }
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        match name.trim() {
            "builds" => keep.builds = Some(value.parse().map_err(|_| wrong())?),
            "days" => keep.days = Some(value.parse().map_err(|_| wrong())?),
            "disk" => keep.disk = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    keep.check().map_err(|_| wrong())?;
    Ok(Some(keep))
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
        assert_eq!(bytes("--log-limit", "200MB").unwrap(), 200_000_000);
        let refused = bytes("--log-limit", "1XB").unwrap_err();
        let said = "--log-limit `1XB` is no size; give a number with a unit, such as 500kB, 200MB or 1GiB";
        assert_eq!((refused.kind(), refused.to_string().as_str()), (Kind::Usage, said));
        assert_eq!(seconds("--timeout", "1h30m", 1).unwrap(), 5400);
        assert!(seconds("--timeout", "0s", 1).is_err() && seconds("--timeout", "90", 1).is_err());
        assert_eq!(seconds("--jitter", "0s", 0).unwrap(), 0);
    }
}
