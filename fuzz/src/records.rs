//! The records of builds and workers.

use crate::is_a_line;
use serde::{Serialize, de::DeserializeOwned};
use spool::artifact_path::ArtifactPath;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::Kind;
use spool::manifest::Manifest;
use spool::place::Ticket;
use spool::record::{self, Attempts, BuildResult, Lease, Request};
use spool::session::Seen;
use spool::sign::Seal;
use spool::sign::armor::Signature;
use spool::sign::statement::Signer;
use spool::worker::Worker;
use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;

/// A record is read, or refused in a line; what was read is written so that it is read again as the same.
pub fn records(bytes: &[u8]) {
    record::<Request>(bytes);
    record::<Lease>(bytes);
    record::<Attempts>(bytes);
    record::<Worker>(bytes);
    record::<Seen>(bytes);
    if let Some(result) = record::<BuildResult>(bytes) {
        is_a_line(&result.outcome);
        assert_eq!(result.outcome.succeeded(), result.outcome.exit_code() == 0);
    }
    manifest(bytes);
    signatures(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        word::<BuildId>(text);
        word::<Ticket>(text);
        word::<ArtifactPath>(text);
        word::<Sha256>(text);
        if let Ok(id) = text.parse::<BuildId>() {
            assert_eq!(id.month().len(), "2026-11".len());
            assert!(id.as_str().len() <= 255, "no file has such a name");
        }
    }
}

fn record<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let path = Path::new("record.toml");
    let read: T = record::parse(path, bytes).inspect_err(is_a_line).ok()?;
    let written = record::to_bytes(&read).expect("what was read can be written");
    let again: T = record::parse(path, &written).expect("what was written can be read");
    assert_eq!(record::to_bytes(&again).expect("it can be written"), written);
    Some(read)
}

/// Of what is signed there is one form only.
fn signatures(bytes: &[u8]) {
    match Signature::parse(bytes) {
        Ok(signature) => assert_eq!(signature.as_str().as_bytes(), bytes),
        Err(e) => is_a_line(&e),
    }
    match Seal::parse(bytes) {
        Ok(seal) => assert_eq!(seal.to_bytes(), bytes),
        Err(e) => is_a_line(&e),
    }
    match Signer::read(bytes) {
        Ok(signer) => assert!(signer.line().is_none_or(|line| line.lines().count() == 1)),
        Err(e) => is_a_line(&e),
    }
}

fn manifest(bytes: &[u8]) {
    let read = match Manifest::parse(bytes) {
        Ok(read) => read,
        Err(e) => return is_a_line(&e),
    };
    let again = Manifest::parse(&read.to_bytes()).expect("what was written can be read");
    assert_eq!(again, read);
    let entries = read.iter().map(|(path, digest)| (path.clone(), *digest));
    assert_eq!(Manifest::new(entries).expect("it fits together"), read);
    for (path, _) in read.iter() {
        let below = format!("{path}/");
        assert!(!read.iter().any(|(other, _)| other.as_str().starts_with(&below)), "{path} is a file and a directory");
    }
    // What `sha256sum -c` would read, and no line beside it.
    assert_eq!(read.to_bytes().iter().filter(|byte| **byte == b'\n').count(), read.len());
}

fn word<T: FromStr<Err = spool::Error> + Display + Debug + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(read) => assert_eq!(read.to_string().parse::<T>().expect("it reads back"), read),
        Err(e) => {
            is_a_line(&e);
            assert_eq!(e.kind(), Kind::Data);
        }
    }
}
