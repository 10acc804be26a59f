//! The artifacts of a build that is over: those that its manifest lists, and no others.

use super::ended::Over;
use super::eye::{Entry, Eye, Shape};
use super::finding::{Cure, Invariant};
use crate::digest::Sha256;
use crate::error::Result;
use crate::layout::file;
use crate::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

impl Over<'_> {
    /// The manifest, when it is the right one.
    pub fn manifest(&self, eye: &mut Eye<'_>) -> Result<Option<Manifest>> {
        let (Some(digest), entry) = (self.result.manifest_digest(), self.members.get(file::MANIFEST)) else {
            for name in [file::MANIFEST, file::ARTIFACTS] {
                if let Some(entry) = self.members.get(name) {
                    eye.damaged(Invariant::Manifest, &entry.path, "there was no output");
                }
            }
            return Ok(None);
        };
        let Some(entry) = entry else {
            self.missing(eye, file::MANIFEST, &digest)?;
            return Ok(None);
        };
        let Some(bytes) = eye.bytes(entry) else { return Ok(None) };
        if Sha256::of(&bytes) != digest {
            eye.damaged(Invariant::Manifest, &entry.path, "it is not the one that result.toml names");
            return Ok(None);
        }
        self.in_store(eye, entry, &digest);
        Ok(Manifest::parse(&bytes).ok())
    }

    /// A content whose digest is known: without reading it, it is right when it is the store's own.
    pub fn in_store(&self, eye: &mut Eye<'_>, entry: &Entry, digest: &Sha256) {
        if eye.spool.store().size_of(digest).is_none() {
            eye.find(Invariant::Kept, &entry.path, format!("the store has not got {digest}"), Cure::Name);
        }
    }

    /// Looks at the artifacts that a manifest lists.
    pub fn artifacts(&self, eye: &mut Eye<'_>, manifest: &Manifest) -> Result<()> {
        let root = self.dir.path.join(file::ARTIFACTS);
        if self.is_in_the_way(eye, file::ARTIFACTS)? {
            return Ok(());
        }
        let listed: BTreeSet<&str> = manifest.iter().map(|(path, _)| path.as_str()).collect();
        let mut there = BTreeMap::new();
        walk(eye, &listed, &root, &root, &mut there)?;
        let (mut bytes, mut whole) = (0u64, true);
        for (path, digest) in manifest.iter() {
            let name = format!("{}/{path}", file::ARTIFACTS);
            match there.get(path.as_str()) {
                Some(entry) => {
                    bytes += entry.meta.len();
                    whole &= self.artifact(eye, entry, digest)?;
                }
                None => {
                    whole = false;
                    self.missing(eye, &name, digest)?;
                }
            }
        }
        if manifest.len() as u64 != self.result.artifacts || (whole && bytes != self.result.artifact_bytes) {
            let wrong = format!(
                "there are {} artifacts and {bytes} bytes, and result.toml says {} and {}",
                manifest.len(),
                self.result.artifacts,
                self.result.artifact_bytes
            );
            let how = if eye.deep { "correct result.toml" } else { "`builder check --deep` says which is wrong" };
            eye.find(Invariant::Manifest, &root, wrong, Cure::Human(how.into()));
        }
        Ok(())
    }

    /// Notes that a content is missing, which the store may have. What is there and does not fit goes first.
    fn missing(&self, eye: &mut Eye<'_>, name: &str, digest: &Sha256) -> Result<()> {
        let path = self.dir.path.join(name);
        if eye.entry(&path)?.is_some() || self.lost.contains(name) {
            return Ok(());
        }
        match eye.spool.store().size_of(digest) {
            Some(_) => eye.find(Invariant::Manifest, &path, "it is missing", Cure::Link(*digest)),
            None => self.lose(eye, Invariant::Manifest, name, "it is missing"),
        }
        Ok(())
    }

    /// Looks at one artifact. False when its size is nothing to go by.
    fn artifact(&self, eye: &mut Eye<'_>, entry: &Entry, digest: &Sha256) -> Result<bool> {
        if eye.deep
            && let Some(own) = eye.digest(entry)
            && own != *digest
        {
            eye.damaged(Invariant::Content, &entry.path, format!("its content has the digest {own}"));
            return Ok(false);
        }
        self.in_store(eye, entry, digest);
        Ok(true)
    }
}

/// Collects the files below a directory of artifacts by their paths; what the manifest does not list is noted.
fn walk(
    eye: &mut Eye<'_>,
    listed: &BTreeSet<&str>,
    root: &Path,
    dir: &Path,
    there: &mut BTreeMap<String, Entry>,
) -> Result<()> {
    for entry in eye.entries(dir)? {
        let name = entry.path.strip_prefix(root).unwrap_or(&entry.path).to_string_lossy().into_owned();
        let below = format!("{name}/");
        if listed.contains(name.as_str()) {
            if eye.fits(&entry, Shape::Content) {
                there.insert(name, entry);
            }
        } else if !listed.range(below.as_str()..).next().is_some_and(|path| path.starts_with(&below)) {
            eye.damaged(Invariant::Manifest, &entry.path, "the manifest does not list it");
        } else if eye.fits(&entry, Shape::Directory) {
            walk(eye, listed, root, &entry.path, there)?;
        }
    }
    Ok(())
}
