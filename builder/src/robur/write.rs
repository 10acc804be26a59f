//! A build as robur's builder writes it: what builder-web takes at `/upload`.

use super::full::{Console, Head, TIMEOUT};
use super::tag;
use jiff::Timestamp;
use spool::artifact_path::ArtifactPath;
use spool::record::Outcome;
use std::io::{self, Write};

/// An element: its tag, its length, its content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(tag, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

/// A tag and a length, in as many bytes as it needs.
fn header(tag: u8, length: u64) -> Vec<u8> {
    if length < 0x80 {
        return vec![tag, length as u8];
    }
    let bytes = length.to_be_bytes();
    let bytes = &bytes[length.leading_zeros() as usize / 8..];
    [&[tag, 0x80 | bytes.len() as u8], bytes].concat()
}

/// How long an element is with a content of this length.
fn length_of(content: u64) -> u64 {
    header(0, content).len() as u64 + content
}

fn text(text: &str) -> Vec<u8> {
    element(tag::UTF8, text.as_bytes())
}

fn int(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    // A leading byte that says no more than the sign of the next one is not needed.
    let spare = bytes.windows(2).take_while(|two| matches!(two, [0, 0..0x80] | [0xff, 0x80..=0xff])).count();
    element(tag::INTEGER, &bytes[spare..])
}

/// To the millisecond, and only where there are some.
fn time(moment: Timestamp) -> Vec<u8> {
    let form = if moment.subsec_millisecond() == 0 { "%Y%m%d%H%M%SZ" } else { "%Y%m%d%H%M%S%.3fZ" };
    element(tag::GENERALIZED_TIME, moment.strftime(form).to_string().as_bytes())
}

/// Signals have the numbers of the system, which builder-web shows as signals; OCaml's own it takes for exit codes.
fn outcome(outcome: &Outcome) -> Vec<u8> {
    let (number, content) = match outcome {
        Outcome::Exited { code } => (0, int((*code).into())),
        Outcome::Signalled { signal } => (1, int((*signal).into())),
        Outcome::TimedOut => (3, text(TIMEOUT)),
        Outcome::Aborted { reason } => (3, text(reason)),
        Outcome::Silent | Outcome::Cancelled | Outcome::Lost => (3, text(&outcome.to_string())),
    };
    element(tag::explicit(number), &content)
}

/// Without its header, and with the newest line first.
fn console(console: &Console) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (ms, line) in console.lines().rev() {
        let delta = int(i64::try_from(u128::from(ms) * 1_000_000).unwrap_or(i64::MAX >> 1));
        let length = delta.len() as u64 + length_of(line.len() as u64);
        bytes.extend(header(tag::SEQUENCE, length));
        bytes.extend(delta);
        bytes.extend(header(tag::UTF8, line.len() as u64));
        bytes.extend_from_slice(line);
    }
    bytes
}

fn job(head: &Head) -> Vec<u8> {
    let script = element(tag::UTF8, &head.job.script);
    let parts = [text(head.job.name.as_str()), script, header(tag::SEQUENCE, 0), text(head.job.platform.as_str())];
    element(tag::SEQUENCE, &parts.concat())
}

/// Writes a build. `artifacts` are paths and sizes in bytes; `content` writes the content of one, which must have its size.
pub fn full<W: Write>(
    to: &mut W,
    head: &Head,
    artifacts: &[(ArtifactPath, u64)],
    mut content: impl FnMut(&ArtifactPath, &mut W) -> io::Result<()>,
) -> io::Result<()> {
    let times = element(tag::SEQUENCE, &[time(head.started), time(head.finished)].concat());
    let console = console(&head.console);
    let before = [job(head), element(tag::UTF8, head.uuid.as_bytes()), header(tag::SEQUENCE, console.len() as u64)];
    let (before, behind) = (before.concat(), [times, outcome(&head.outcome)].concat());
    let one = |(path, size): &(ArtifactPath, u64)| length_of(path.as_str().len() as u64) + length_of(*size);
    let output: u64 = artifacts.iter().map(|artifact| length_of(one(artifact))).sum();
    let all = (before.len() + console.len() + behind.len()) as u64 + length_of(output);
    to.write_all(&header(tag::explicit(0), length_of(all)))?;
    to.write_all(&header(tag::SEQUENCE, all))?;
    [before, console, behind, header(tag::SEQUENCE, output)].iter().try_for_each(|part| to.write_all(part))?;
    for artifact in artifacts {
        to.write_all(&header(tag::SEQUENCE, one(artifact)))?;
        to.write_all(&text(artifact.0.as_str()))?;
        to.write_all(&header(tag::UTF8, artifact.1))?;
        content(&artifact.0, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_take_no_byte_more_than_they_need() {
        for (number, bytes) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (-128, &[2, 1, 128]),
            (-129, &[2, 2, 255, 127]),
            (1_500_000_000, &[2, 4, 0x59, 0x68, 0x2f, 0]),
        ] {
            assert_eq!(int(number), bytes, "{number}");
        }
        for (length, bytes) in [(0x7f, &[4, 0x7f][..]), (0x80, &[4, 0x81, 0x80]), (0x100, &[4, 0x82, 1, 0])] {
            assert_eq!(header(4, length), bytes, "{length}");
        }
    }
}
