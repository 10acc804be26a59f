//! Which builds have a content.

use crate::artifact_path::ArtifactPath;
use crate::digest::Sha256;
use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::find::Build;
use crate::layout::file;
use crate::spool::Spool;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;

/// A part of a digest with fewer digits fits too much.
const FEWEST: usize = 4;

/// A finished build, and where in it a content lies.
#[derive(Debug)]
pub struct Having<'s> {
    /// The build.
    pub build: Build<'s>,
    /// The artifacts with this content.
    pub paths: Vec<ArtifactPath>,
}

impl Spool {
    /// The content of the store whose digest is this, or begins with it.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is no digest or fits several, [`Kind::NoInput`] when the store has none.
    pub fn content(&self, text: &str) -> Result<Sha256> {
        let digits = text.strip_prefix("SHA256:").unwrap_or(text).to_ascii_lowercase();
        let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
        let none = || Error::new(Kind::NoInput, format!("no build has the content {shown}"));
        if digits.len() < FEWEST || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || digits.len() > 64 {
            return Err(Error::new(Kind::Usage, format!("`{shown}` is no SHA-256")).hint(format!(
                "give its first {FEWEST} hexadecimal digits at least, or a file by a path with a slash"
            )));
        }
        if let Ok(digest) = digits.parse::<Sha256>() {
            return self.store().size_of(&digest).map(|_| digest).ok_or_else(none);
        }
        let (shard, rest) = digits.split_at(2);
        let mut found = disk::names(&self.layout().shard(shard))?;
        found.retain(|name| name.starts_with(rest));
        found.sort();
        match &found[..] {
            [] => Err(none()),
            [one] => format!("{shard}{one}").parse(),
            [one, two, ..] => Err(Error::new(
                Kind::Usage,
                format!("`{shown}` fits more than one content, such as {shard}{one} and {shard}{two}"),
            )
            .hint("give more of it")),
        }
    }

    /// The finished builds that have a content as an artifact, the newest first. One whose manifest can't be read is none
    /// of them.
    pub fn having(&self, content: &Sha256) -> Result<Vec<Having<'_>>> {
        let index = self.index();
        let index = index.as_ref();
        // Builds with the same artifacts share one manifest: it is read once.
        let mut read: HashMap<(u64, u64), Vec<ArtifactPath>> = HashMap::new();
        let mut having = Vec::new();
        for month in self.months()? {
            let hits = index.map(|index| index.having(&month, content)).unwrap_or_default();
            for id in self.may_be(&month, hits)? {
                let build = self.ended_build(id, month.end);
                let Ok(meta) = build.dir().join(file::MANIFEST).symlink_metadata() else { continue };
                let paths = read.entry((meta.dev(), meta.ino())).or_insert_with(|| paths(&build, content));
                if !paths.is_empty() {
                    having.push(Having { paths: paths.clone(), build });
                }
            }
        }
        having.sort_by(|a, b| (&b.build.id, b.build.place.end()).cmp(&(&a.build.id, a.build.place.end())));
        Ok(having)
    }
}

fn paths(build: &Build<'_>, content: &Sha256) -> Vec<ArtifactPath> {
    let manifest = build.manifest().unwrap_or_default();
    let all: BTreeSet<&ArtifactPath> =
        manifest.iter().filter(|(_, sha256)| *sha256 == content).map(|(path, _)| path).collect();
    all.into_iter().cloned().collect()
}
