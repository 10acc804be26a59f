//! The store: shards, names, and with `--deep` the contents.

use super::eye::{Entry, Eye, Shape};
use super::finding::Invariant;
use crate::digest::Sha256;
use crate::error::Result;
use std::os::unix::fs::MetadataExt;

/// Looks at every content.
pub fn look(eye: &mut Eye<'_>) -> Result<()> {
    for entry in eye.entries(&eye.layout().directory("store"))? {
        match entry.name.as_str() {
            "sha256" => shards(eye)?,
            _ => eye.foreign(&entry),
        }
    }
    Ok(())
}

fn shards(eye: &mut Eye<'_>) -> Result<()> {
    for shard in eye.entries(&eye.layout().directory("store/sha256"))? {
        if !u8::from_str_radix(&shard.name, 16).is_ok_and(|number| format!("{number:02x}") == shard.name) {
            eye.foreign(&shard);
            continue;
        }
        for object in eye.entries(&shard.path)? {
            content(eye, &shard, &object)?;
        }
    }
    Ok(())
}

fn content(eye: &mut Eye<'_>, shard: &Entry, object: &Entry) -> Result<()> {
    let Ok(name) = format!("{}{}", shard.name, object.name).parse::<Sha256>() else {
        eye.foreign(object);
        return Ok(());
    };
    if !eye.fits(object, Shape::Content) {
        return Ok(());
    }
    eye.counts.contents += 1;
    eye.counts.garbage += usize::from(object.meta.nlink() == 1);
    if eye.deep
        && let Some(digest) = eye.digest(object)
        && digest != name
    {
        eye.rotten.insert(object.identity());
        eye.damaged(Invariant::Content, &object.path, format!("its content has the digest {digest}"));
    }
    Ok(())
}
