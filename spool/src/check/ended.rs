//! Builds that are over: their record, and that they have what it says.
//!
//! What is lost of such a build is noted in its file `lost`, a name a line, and is no fault any more: the build stays
//! where people look for it as long as its `result.toml` can be read.

use super::builds::{Members, absent, attempts, members};
use super::eye::{Entry, Eye, Shape};
use super::finding::{Cure, Invariant};
use crate::build_id::BuildId;
use crate::console;
use crate::digest::Sha256;
use crate::error::{At, Result};
use crate::inputs::{Sides, input_digest};
use crate::keep::Pin;
use crate::layout::file;
use crate::manifest::Manifest;
use crate::place::End;
use crate::record::{BuildResult, Request};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;

/// A build that is over, as it is being looked at.
pub struct Over<'a> {
    /// Its directory.
    pub dir: &'a Entry,
    /// Its files that fit.
    pub members: Members,
    /// How it ended.
    pub result: BuildResult,
    /// The files that are known to be lost.
    pub lost: BTreeSet<String>,
}

/// Looks at a build in `done/` or `failed/`.
pub fn look(eye: &mut Eye<'_>, dir: &Entry, end: End, month: &str, id: &BuildId) -> Result<()> {
    if !eye.fits(dir, Shape::Directory) {
        return Ok(());
    }
    // A lease that a power cut has brought back says nothing.
    let members = members(eye, dir, |name| name != file::UPLOAD)?;
    let aside = Cure::SetAside(dir.path.clone());
    let result = match members.get(file::RESULT) {
        Some(entry) => eye.record::<BuildResult>(entry, Invariant::Ended, aside),
        None => {
            absent(eye, &dir.path.join(file::RESULT), Invariant::Ended, aside)?;
            None
        }
    };
    if let Some(entry) = members.get(file::PINNED) {
        let cure = Cure::Human("say `builder unpin` and `builder pin`; until then it is pinned".into());
        eye.record::<Pin>(entry, Invariant::Written, cure);
    }
    let Some(result) = result else { return Ok(()) };
    place(eye, dir, end, month, id, &result);
    let lost = match members.get(file::LOST) {
        Some(entry) => lost(eye, entry)?,
        None => BTreeSet::new(),
    };
    let over = Over { dir, members, result, lost };
    let before = eye.found.len();
    over.look(eye)?;
    over.sealed(eye, id, before)
}

fn place(eye: &mut Eye<'_>, dir: &Entry, end: End, month: &str, id: &BuildId, result: &BuildResult) {
    let belongs = if result.outcome.succeeded() { End::Done } else { End::Failed };
    let home = Cure::Move(eye.layout().finished(belongs, id));
    if belongs != end {
        let wrong = format!("it is in {}/ and {}", end.directory(), result.outcome);
        eye.find(Invariant::Ended, &dir.path, wrong, home);
    } else if id.month() != month {
        eye.find(Invariant::Placed, &dir.path, format!("it is in the month {month}"), home);
    }
}

fn lost(eye: &mut Eye<'_>, entry: &Entry) -> Result<BTreeSet<String>> {
    let bytes = eye.bytes(entry).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(_) => {
            eye.damaged(Invariant::Noted, &entry.path, "it is not UTF-8 text");
            Ok(BTreeSet::new())
        }
    }
}

impl Over<'_> {
    fn look(&self, eye: &mut Eye<'_>) -> Result<()> {
        self.asked(eye)?;
        attempts(eye, &self.members);
        for (name, times) in &self.members {
            if let Some(number) = name.strip_prefix(file::TIMES) {
                self.console(eye, &format!("{}{number}", file::CONSOLE), times)?;
            }
        }
        let manifest = self.manifest(eye)?;
        if let Some(manifest) = &manifest {
            self.artifacts(eye, manifest)?;
        }
        // What the manifest says of inputs is needed to judge them.
        if manifest.is_none() && self.result.manifest_digest().is_some() {
            return Ok(());
        }
        let sides = Sides::as_noted(&manifest.unwrap_or_default(), &self.result.inputs);
        if sides.output_digest() != self.result.output {
            let wrong = "its output is not what the manifest says";
            let how = "correct result.toml: the output is the digest of the manifest without its inputs";
            eye.find(Invariant::Manifest, &self.dir.path.join(file::RESULT), wrong, Cure::Human(how.into()));
        }
        if eye.deep { self.inputs(eye, &sides.inputs) } else { Ok(()) }
    }

    /// Notes that a file can't be had back, unless that is known.
    pub fn lose(&self, eye: &mut Eye<'_>, invariant: Invariant, name: &str, wrong: &str) {
        if !self.lost.contains(name) {
            let cure = Cure::Lose { build: self.dir.path.clone(), name: name.to_owned() };
            eye.find(invariant, &self.dir.path.join(name), wrong, cure);
        }
    }

    /// Whether there is something that does not fit under this name: then that goes first.
    pub fn is_in_the_way(&self, eye: &Eye<'_>, name: &str) -> Result<bool> {
        Ok(!self.members.contains_key(name) && eye.entry(&self.dir.path.join(name))?.is_some())
    }

    fn asked(&self, eye: &mut Eye<'_>) -> Result<()> {
        for name in [file::BUILD, file::SCRIPT] {
            let cure = Cure::Lose { build: self.dir.path.clone(), name: name.to_owned() };
            match self.members.get(name) {
                Some(entry) if name == file::BUILD => drop(eye.record::<Request>(entry, Invariant::Whole, cure)),
                Some(entry) if entry.meta.len() == 0 => eye.find(Invariant::Whole, &entry.path, "it is empty", cure),
                Some(_) => {}
                None if self.is_in_the_way(eye, name)? => {}
                None => self.lose(eye, Invariant::Whole, name, "it is missing"),
            }
        }
        Ok(())
    }

    fn console(&self, eye: &mut Eye<'_>, log: &str, times: &Entry) -> Result<()> {
        let Some(log) = self.members.get(log) else {
            if !self.is_in_the_way(eye, log)? && times.meta.len() > 0 {
                self.lose(eye, Invariant::Timed, log, "it is missing, and its times are there");
            }
            return Ok(());
        };
        let Ok(open) = File::open(&times.path) else { return Ok(()) };
        let fits = console::fitting(BufReader::new(open), log.meta.len()).at("read", &times.path)?;
        if fits < times.meta.len() {
            let wrong = format!("it counts more than the {} bytes of its log", log.meta.len());
            eye.find(Invariant::Timed, &times.path, wrong, Cure::Cut);
        }
        Ok(())
    }

    /// Script, environment and packages, which only together have a digest that is noted.
    fn inputs(&self, eye: &mut Eye<'_>, artifacts: &Manifest) -> Result<()> {
        let Some(input) = &self.result.input else { return Ok(()) };
        let names = [file::SCRIPT, file::ENVIRONMENT, file::PACKAGES];
        for name in names {
            if self.lost.contains(name) || self.is_in_the_way(eye, name)? {
                return Ok(());
            }
        }
        if !self.members.contains_key(file::ENVIRONMENT) {
            self.lose(eye, Invariant::Content, file::ENVIRONMENT, "it is missing");
            return Ok(());
        }
        let mut digests = Vec::new();
        for name in names {
            if let Some(entry) = self.members.get(name)
                && let Some(digest) = eye.digest(entry)
            {
                digests.push((name, digest));
            }
        }
        let platform = self.dir.name.parse::<BuildId>().map(|id| id.platform().clone());
        if platform.is_ok_and(|platform| input_digest(&platform, &digests, artifacts) == *input) {
            return digests.iter().try_for_each(|(name, digest)| {
                self.members.get(*name).into_iter().for_each(|entry| self.in_store(eye, entry, digest));
                Ok(())
            });
        }
        self.wrong_input(eye, &digests);
        Ok(())
    }

    /// The culprit is one that the store does not vouch for.
    fn wrong_input(&self, eye: &mut Eye<'_>, digests: &[(&str, Sha256)]) {
        let before = eye.found.len();
        for (name, digest) in digests {
            let rotten = self.members.get(*name).is_some_and(|entry| eye.rotten.contains(&entry.identity()));
            if rotten || eye.spool.store().size_of(digest).is_none() {
                self.lose(eye, Invariant::Content, name, "it is not what went into the build");
            }
        }
        if eye.found.len() > before {
            return;
        }
        match self.members.get(file::PACKAGES) {
            None => self.lose(eye, Invariant::Content, file::PACKAGES, "it is missing"),
            Some(packages) => {
                let wrong = "script, environment and packages are not what went into the build";
                let cure =
                    Cure::Human("find out which is wrong, and write its name into the build's file `lost`".into());
                eye.find(Invariant::Content, &packages.path, wrong, cure);
            }
        }
    }
}
