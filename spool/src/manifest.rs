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
        match manifest.file_with_files_below() {
            Some(path) => Err(Error::new(Kind::Data, format!("the artifact {path} is a directory of another one"))),
            None => Ok(manifest),
        }
    }

    fn file_with_files_below(&self) -> Option<&ArtifactPath> {
        let mut parents = self.entries.keys().flat_map(|path| {
            let slashes = path.as_str().match_indices('/').map(|(at, _)| at);
            slashes.filter_map(|at| self.entries.get_key_value(&path.as_str()[..at]))
        });
        parents.next().map(|(path, _)| path)
    }

    /// The artifacts whose paths are wanted.
    pub fn part(&self, wanted: impl Fn(&ArtifactPath) -> bool) -> Manifest {
        let entries = self.entries.iter().filter(|(path, _)| wanted(path));
        Manifest { entries: entries.map(|(path, digest)| (path.clone(), *digest)).collect() }
    }

    /// Whether there is such an artifact.
    pub fn has(&self, path: &ArtifactPath) -> bool {
        self.entries.contains_key(path)
    }

    /// The content of an artifact.
    pub fn get(&self, path: &ArtifactPath) -> Option<&Sha256> {
        self.entries.get(path)
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
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (line, escaped) = match line.strip_prefix('\\') {
                Some(rest) => (rest, true),
                None => (line, false),
            };
            let (digest, path) = line.split_once("  artifacts/").ok_or_else(|| wrong(number))?;
            let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
            let path: ArtifactPath = path.parse().map_err(|_| wrong(number))?;
            entries.push((path, digest.parse().map_err(|_| wrong(number))?));
        }
        Manifest::new(entries)
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
    fn a_path_is_one_file_and_no_directory() {
        let digest = Sha256::of(b"");
        for (paths, says) in [
            (["a", "a"], "the artifact a was named twice"),
            (["a", "a/b"], "the artifact a is a directory of another one"),
            (["a/b/c/d", "a/b"], "the artifact a/b is a directory of another one"),
        ] {
            let entries = paths.map(|path| (path.parse().unwrap(), digest));
            assert_eq!(Manifest::new(entries).unwrap_err().to_string(), says);
            let text = paths.map(|path| format!("{digest}  artifacts/{path}\n")).concat();
            assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err().to_string(), says);
        }
        for paths in [["a", "a-b"], ["a/b", "a/c"], ["a!", "a/b"]] {
            assert!(Manifest::new(paths.map(|path| (path.parse().unwrap(), digest))).is_ok(), "{paths:?}");
        }
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let error = Manifest::parse(b"nonsense\n").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
