//! The artifacts of a build in the format that `sha256sum -c` reads (GNU coreutils manual, "cksum output modes").

use crate::artifact_path::ArtifactPath;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;

/// Paths and contents, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: BTreeMap<ArtifactPath, Sha256>,
}

impl Manifest {
    /// A manifest of these artifacts; a path that comes twice, or is a directory of another, is an error.
    pub fn new(entries: impl IntoIterator<Item = (ArtifactPath, Sha256)>) -> Result<Manifest> {
        let mut manifest = Manifest::default();
        for (path, digest) in entries {
            if manifest.entries.insert(path.clone(), digest).is_some() {
                return Err(Error::new(Kind::Data, format!("the artifact {path} was named twice")));
            }
        }
        Ok(manifest)
    }

    /// How many artifacts there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&ArtifactPath, &Sha256)> {
        self.entries.iter()
    }

    /// The file: a line each, two blanks between digest and path; a backslash in a path is doubled and the
    /// line then starts with one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (path, digest) in &self.entries {
            let escaped = path.as_str().replace('\\', "\\\\");
            let mark = if escaped.len() == path.as_str().len() { "" } else { "\\" };
            text += &format!("{mark}{digest}  artifacts/{escaped}\n");
        }
        text.into_bytes()
    }

    /// Reads a manifest file.
    pub fn parse(bytes: &[u8]) -> Result<Manifest> {
        let wrong = |number: usize| Error::new(Kind::Data, format!("line {} of the manifest is damaged", number + 1));
        let text = std::str::from_utf8(bytes).map_err(|_| Error::new(Kind::Data, "the manifest is not UTF-8"))?;
        let mut manifest = Manifest::default();
        for (number, line) in text.lines().enumerate() {
            let (line, escaped) = match line.strip_prefix('\\') {
                Some(rest) => (rest, true),
                None => (line, false),
            };
            let (digest, path) = line.split_once("  artifacts/").ok_or_else(|| wrong(number))?;
            let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
            let path: ArtifactPath = path.parse().map_err(|_| wrong(number))?;
            manifest.entries.insert(path, digest.parse().map_err(|_| wrong(number))?);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_with_odd_names() {
        let names = ["bin/hello", "a b", "back\\slash", "two  blanks"];
        let entries = names.map(|name| (name.parse().unwrap(), Sha256::of(name.as_bytes())));
        let manifest = Manifest::new(entries).unwrap();
        assert_eq!(Manifest::parse(&manifest.to_bytes()).unwrap(), manifest);
        assert_eq!(manifest.len(), 4);
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let error = Manifest::parse(b"nonsense\n").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
