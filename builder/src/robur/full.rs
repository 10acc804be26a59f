//! `full`: a build, its console and its artifacts.

use super::der::Reader;
use super::fields::{ScriptJob, Time};
use super::{signals, tag};
use jiff::Timestamp;
use spool::artifact_path::ArtifactPath;
use spool::error::Result;
use spool::find::LARGEST_SCRIPT;
use spool::record::Outcome;
use std::collections::BTreeSet;
use std::io::Read;
use uuid::Uuid;

/// The largest file, in bytes, where its own size does not say more.
pub const LARGEST: u64 = 1 << 40;

/// The longest console, in bytes, since it lies there with its newest line first.
pub const LONGEST_CONSOLE: usize = 256 << 20;

/// The most lines of a console.
pub const MOST_LINES: usize = 8 << 20;

/// The most artifacts.
const MOST_ARTIFACTS: usize = 1 << 20;

/// The longest reason for which a build was not carried out, in bytes.
const LONGEST_REASON: u64 = 64 << 10;

/// What robur's server says of a build that took too long.
pub const TIMEOUT: &str = "timeout";

/// What was printed, line by line, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    ms: u64,
    start: usize,
    end: usize,
}

impl Console {
    /// Adds a line behind all others; it has no newline. `ms` are the milliseconds since the start.
    pub fn push(&mut self, ms: u64, line: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.lines.push(Line { ms, start, end: self.text.len() });
    }

    /// How many bytes it has, and how many lines.
    pub fn size(&self) -> (usize, usize) {
        (self.text.len(), self.lines.len())
    }

    /// The lines, without their newlines.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.lines.iter().map(|line| (line.ms, &self.text[line.start..line.end]))
    }

    fn read<R: Read>(der: &mut Reader<R>) -> Result<Console> {
        let mut console = Console::default();
        der.enter(tag::SEQUENCE, "console")?;
        while der.more() {
            let at = der.at();
            der.enter(tag::SEQUENCE, "console")?;
            let delta = der.int("console.delta")?;
            let ns = u64::try_from(delta).map_err(|_| der.wrong(at, "console.delta", "it is before the start"))?;
            let most = LONGEST_CONSOLE - console.text.len();
            let line = der.bytes(tag::UTF8, most as u64, "console.data")?;
            der.leave("console")?;
            if console.lines.len() == MOST_LINES {
                return Err(der.wrong(at, "console", format!("it has more than {MOST_LINES} lines")));
            }
            console.push(ns / 1_000_000, &line);
        }
        der.leave("console")?;
        console.lines.reverse();
        Ok(console)
    }
}

/// All of a build but its artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What was built.
    pub job: ScriptJob,
    /// What it is called.
    pub uuid: Uuid,
    /// What it printed.
    pub console: Console,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// A build that is being read.
#[derive(Debug)]
pub struct Full<R> {
    der: Reader<R>,
    /// What stands before the artifacts.
    pub head: Head,
    seen: BTreeSet<ArtifactPath>,
    left: Option<u64>,
    over: bool,
}

impl<R: Read> Full<R> {
    /// Reads a build up to its artifacts, from a stream of no more than `most` bytes.
    ///
    /// # Errors
    /// [`spool::error::Kind::Data`] for what robur's builder does not write, with the byte and the field.
    pub fn read(from: R, most: u64) -> Result<Full<R>> {
        let mut der = Reader::new(from, most);
        der.enter(tag::explicit(0), "build")?;
        der.enter(tag::SEQUENCE, "build")?;
        let job = ScriptJob::read(&mut der, LARGEST_SCRIPT)?;
        let uuid = uuid(&mut der)?;
        let console = Console::read(&mut der)?;
        der.enter(tag::SEQUENCE, "timestamps")?;
        let mut time = |what: &str| Time::read(&mut der, what)?.moment(&der, what);
        let (started, finished) = (time("timestamps.started")?, time("timestamps.finished")?);
        der.leave("timestamps")?;
        let outcome = outcome(&mut der)?;
        der.enter(tag::SEQUENCE, "output")?;
        let head = Head { job, uuid, console, started, finished, outcome };
        Ok(Full { der, head, seen: BTreeSet::new(), left: None, over: false })
    }

    /// The next artifact, whose content [`Full::piece`] gives. Nothing when all were read, and the file is at its end.
    pub fn artifact(&mut self) -> Result<Option<ArtifactPath>> {
        if self.over {
            return Ok(None);
        }
        let mut buffer = [0; 8192];
        while self.piece(&mut buffer)? > 0 {}
        if self.left.take().is_some() {
            self.der.leave("output")?;
        }
        if !self.der.more() {
            ["output", "build", "build"].iter().try_for_each(|what| self.der.leave(what))?;
            self.der.finish("build")?;
            self.over = true;
            return Ok(None);
        }
        self.der.enter(tag::SEQUENCE, "output")?;
        let at = self.der.at();
        let path: ArtifactPath = self.der.parsed(ArtifactPath::LONGEST, "output.path")?;
        if self.seen.len() == MOST_ARTIFACTS {
            return Err(self.der.wrong(at, "output", format!("it has more than {MOST_ARTIFACTS} artifacts")));
        }
        if !self.seen.insert(path.clone()) {
            return Err(self.der.wrong(at, "output.path", format!("{path} is there twice")));
        }
        self.left = Some(self.der.header(tag::UTF8, "output.data")?);
        Ok(Some(path))
    }

    /// The next piece of an artifact; 0 at its end.
    pub fn piece(&mut self, into: &mut [u8]) -> Result<usize> {
        let Some(left) = self.left.filter(|left| *left > 0) else { return Ok(0) };
        let got = self.der.piece(into, left, "output.data")?;
        self.left = Some(left - got as u64);
        Ok(got)
    }
}

fn uuid<R: Read>(der: &mut Reader<R>) -> Result<Uuid> {
    let at = der.at();
    let bytes = der.bytes(tag::UTF8, 16, "uuid")?;
    Uuid::from_slice(&bytes).map_err(|_| der.wrong(at, "uuid", format!("it has {} bytes, not 16", bytes.len())))
}

fn outcome<R: Read>(der: &mut Reader<R>) -> Result<Outcome> {
    const EXITED: u8 = tag::explicit(0);
    const SIGNALLED: u8 = tag::explicit(1);
    const STOPPED: u8 = tag::explicit(2);
    const MESSAGE: u8 = tag::explicit(3);
    let at = der.at();
    let kind = der.peek("result")?.unwrap_or(EXITED);
    der.enter(if (EXITED..=MESSAGE).contains(&kind) { kind } else { EXITED }, "result")?;
    let outcome = if kind == MESSAGE {
        match der.text(LONGEST_REASON, "result.msg")? {
            text if text == TIMEOUT => Outcome::TimedOut,
            reason => Outcome::Aborted { reason },
        }
    } else {
        let number = der.int("result")?;
        let signal =
            |what: &str| signals::of_ocaml(number).ok_or_else(|| der.wrong(at, what, "there is no such signal"));
        match kind {
            SIGNALLED => Outcome::Signalled { signal: signal("result.signalled")? },
            STOPPED => Outcome::Aborted { reason: format!("stopped by signal {}", signal("result.stopped")?) },
            _ => {
                let code = u8::try_from(number);
                let code = code.map_err(|_| der.wrong(at, "result.exited", format!("{number} is no exit code")))?;
                Outcome::Exited { code }
            }
        }
    };
    der.leave("result")?;
    Ok(outcome)
}
