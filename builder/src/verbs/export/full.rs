//! A build as robur's builder writes it.

use crate::copy::check;
use crate::out;
use crate::robur::fields::ScriptJob;
use crate::robur::full::{Console, Head, LONGEST_CONSOLE, MOST_LINES};
use crate::save::Saving;
use spool::artifact_path::ArtifactPath;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use spool::find::Build;
use spool::import::uuid_of;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

/// Writes a build. The same build gives the same bytes.
pub fn write(build: &Build<'_>, begin: impl FnOnce() -> Result<Option<Saving>>) -> Result<()> {
    let head = head(build)?;
    let saving = begin()?;
    if saving.is_none() && io::stdout().is_terminal() {
        return Err(Error::new(Kind::Usage, "a terminal can't show what is exported")
            .hint("send it to a pipe, or name a file with -o"));
    }
    let manifest = build.manifest()?;
    let artifacts = manifest.iter().map(|(path, sha256)| Ok((path.clone(), checked(build, path, sha256)?)));
    let artifacts = artifacts.collect::<Result<Vec<_>>>()?;
    match saving {
        None => out::unless_closed(send(io::stdout().lock(), build, &head, &artifacts).map(drop)),
        Some(saving) => send(saving, build, &head, &artifacts).at("write", "the file")?.keep(),
    }
}

fn send<W: Write>(to: W, build: &Build<'_>, head: &Head, artifacts: &[(ArtifactPath, u64)]) -> io::Result<W> {
    let mut to = BufWriter::with_capacity(64 << 10, to);
    crate::robur::write::full(&mut to, head, artifacts, |path, to| {
        io::copy(&mut File::open(build.artifact(path))?, to).map(drop)
    })?;
    to.into_inner().map_err(|e| e.into_error())
}

/// The size of an artifact that is what it must be: before a byte of it is out, as nothing can call it back.
fn checked(build: &Build<'_>, path: &ArtifactPath, sha256: &Sha256) -> Result<u64> {
    let from = build.artifact(path);
    let file = File::open(&from).at("read", &from)?;
    let size = file.metadata().at("look at", &from)?.len();
    check(&from, file, sha256)?;
    Ok(size)
}

fn head(build: &Build<'_>) -> Result<Head> {
    let id = &build.id;
    let lost = || Error::new(Kind::Data, format!("what was asked for with {id}, or came of it, is lost"));
    let result = build.result()?.ok_or_else(lost)?;
    let request = build.request()?.ok_or_else(lost)?;
    let (name, platform) = (id.job().clone(), id.platform().clone());
    Ok(Head {
        job: ScriptJob { name, platform, script: build.script()?, files: Vec::new() },
        uuid: uuid_of(id, &request),
        console: console(build)?,
        started: result.started.unwrap_or(result.finished),
        finished: result.finished,
        outcome: result.outcome,
    })
}

/// The lines, each with the time of its first byte.
fn console(build: &Build<'_>) -> Result<Console> {
    let mut lines = Lines::default();
    let Some(mut reader) = build.console()? else { return Ok(lines.console) };
    loop {
        let chunk = match reader.next_chunk()? {
            Some(chunk) => Some(chunk),
            None => reader.next_untimed()?,
        };
        let Some(chunk) = chunk else { break };
        lines.take(chunk.ms, chunk.bytes);
        let (bytes, count) = lines.console.size();
        if bytes + lines.open.len() > LONGEST_CONSOLE || count > MOST_LINES {
            return Err(Error::new(
                Kind::Data,
                format!(
                    "the console of {} has more than 256 MiB or {MOST_LINES} lines, which is too much to export",
                    build.id
                ),
            ));
        }
    }
    lines.end();
    Ok(lines.console)
}

/// Makes lines of pieces.
#[derive(Default)]
struct Lines {
    console: Console,
    open: Vec<u8>,
    since: u64,
}

impl Lines {
    fn take(&mut self, ms: u64, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let since = if self.open.is_empty() { ms } else { self.since };
            self.open.extend_from_slice(&bytes[..end]);
            self.console.push(since, &self.open);
            self.open.clear();
            bytes = &bytes[end + 1..];
        }
        if self.open.is_empty() {
            self.since = ms;
        }
        self.open.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        if !self.open.is_empty() {
            self.console.push(self.since, &self.open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_time_of_their_first_byte() {
        let mut lines = Lines::default();
        for (ms, piece) in [(1, "one\ntw"), (2, "o\n\nth"), (3, "ree")] {
            lines.take(ms, piece.as_bytes());
        }
        lines.end();
        let all: Vec<(u64, &[u8])> = lines.console.lines().collect();
        assert_eq!(all, [(1, &b"one"[..]), (1, b"two"), (2, b""), (2, b"three")]);
    }
}
