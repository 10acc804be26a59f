//! The files of robur's builder.

use crate::is_a_line;
use builder::robur::full::Full;
use builder::robur::state::State;
use builder::robur::{Holds, write};
use spool::artifact_path::ArtifactPath;
use spool::error::{Kind, Result};
use std::io::Write;

/// A file is read, or refused in a line that says where. A build that was read is the same when it is written and read again;
/// what was written so is written the same.
pub fn robur(bytes: &[u8]) {
    match Holds::of(bytes.first().copied()) {
        Holds::State => drop(State::read(bytes, bytes.len() as u64).inspect_err(is_refused)),
        Holds::Full => {
            let Ok(read) = full(bytes).inspect_err(is_refused) else { return };
            let written = written(&read);
            let again = full(&written).expect("what was written can be read");
            assert_eq!(again, read);
            assert_eq!(self::written(&again), written);
        }
    }
}

fn is_refused(e: &spool::Error) {
    is_a_line(e);
    assert_eq!(e.kind(), Kind::Data);
    assert!(e.to_string().starts_with("byte "), "{e}");
}

type Build = (builder::robur::full::Head, Vec<(ArtifactPath, Vec<u8>)>);

/// What is read, but for what robur's builder itself passes over.
fn full(bytes: &[u8]) -> Result<Build> {
    let mut full = Full::read(bytes, bytes.len() as u64)?;
    let (mut artifacts, mut buffer) = (Vec::new(), [0; 7]);
    while let Some(path) = full.artifact()? {
        let mut content = Vec::new();
        while let got @ 1.. = full.piece(&mut buffer)? {
            content.extend_from_slice(&buffer[..got]);
        }
        artifacts.push((path, content));
    }
    full.head.job.files.clear();
    Ok((full.head, artifacts))
}

fn written((head, artifacts): &Build) -> Vec<u8> {
    let sizes: Vec<(ArtifactPath, u64)> =
        artifacts.iter().map(|(path, content)| (path.clone(), content.len() as u64)).collect();
    let mut bytes = Vec::new();
    let content = |wanted: &ArtifactPath, to: &mut Vec<u8>| {
        let (_, content) = artifacts.iter().find(|(path, _)| path == wanted).expect("one of them");
        to.write_all(content)
    };
    write::full(&mut bytes, head, &sizes, content).expect("memory takes it");
    bytes
}
