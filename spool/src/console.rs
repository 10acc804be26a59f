//! The console of a build: `console.log`, the bytes as printed, and `console.times`, when they came.
//!
//! A line of `console.times` is `MILLISECONDS BYTES`: so many further bytes of the log came that long after
//! the script's start. The log is written first, so bytes without a time are the newest, or a crash's.

use crate::disk;
use crate::error::{At, Result};
use crate::layout::file;
use crate::wake;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Appends to a console; there is one writer, who holds the build.
#[derive(Debug)]
pub struct ConsoleWriter {
    log: File,
    times: File,
    dir: PathBuf,
    watchers: PathBuf,
    /// Bytes in the log.
    pub length: u64,
    times_length: u64,
}

impl ConsoleWriter {
    pub(crate) fn open(dir: &Path, watchers: PathBuf) -> Result<ConsoleWriter> {
        let open = |name: &str| disk::open_for_appending(&dir.join(name), 0o644);
        let (log, times) = (open(file::CONSOLE)?, open(file::TIMES)?);
        let length = |file: &File| file.metadata().at("look at", dir).map(|meta| meta.len());
        let (length, times_length) = (length(&log)?, length(&times)?);
        Ok(ConsoleWriter { log, times, dir: dir.to_owned(), watchers, length, times_length })
    }

    /// Appends what was printed `ms` milliseconds after the start, and wakes those who watch. Not durable. Where it
    /// fails, on a full disk, nothing of it stays, so that it can be tried again.
    pub fn append(&mut self, ms: u64, bytes: &[u8]) -> Result<()> {
        let line = format!("{ms} {}\n", bytes.len());
        let written = self.log.write_all(bytes).and_then(|()| self.times.write_all(line.as_bytes()));
        if let Err(e) = written {
            self.log.set_len(self.length).and_then(|()| self.times.set_len(self.times_length)).at("cut", &self.dir)?;
            return Err(e).at("write the console of", &self.dir);
        }
        self.length += bytes.len() as u64;
        self.times_length += line.len() as u64;
        wake::ring(&self.watchers);
        Ok(())
    }
}

/// A piece of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Milliseconds since the script's start.
    pub ms: u64,
    /// What was printed; never empty.
    pub bytes: &'a [u8],
}

/// Reads a console from its first byte on, in bounded memory, also while it grows.
#[derive(Debug)]
pub struct ConsoleReader {
    log: File,
    times: Option<BufReader<File>>,
    line: Vec<u8>,
    ms: u64,
    left: u64,
    buffer: Vec<u8>,
}

impl ConsoleReader {
    /// Opens the console in a build's directory; nothing when the build has printed nothing yet. Of a build that is
    /// over, a log without times is a console, too.
    pub fn open(dir: &Path, over: bool) -> Result<Option<ConsoleReader>> {
        let (log, times) = (dir.join(file::CONSOLE), dir.join(file::TIMES));
        if !log.exists() || !(over || times.exists()) {
            return Ok(None);
        }
        let times = times.exists().then(|| File::open(&times).at("read", &times)).transpose()?;
        Ok(Some(ConsoleReader {
            log: File::open(&log).at("read", &log)?,
            times: times.map(BufReader::new),
            line: Vec::new(),
            ms: 0,
            left: 0,
            buffer: vec![0; 64 * 1024],
        }))
    }

    /// Whether this is still the console in that directory, and not the one of an earlier attempt.
    pub fn is_of(&self, dir: &Path) -> bool {
        match (self.log.metadata(), dir.join(file::CONSOLE).symlink_metadata()) {
            (Ok(ours), Ok(there)) => disk::same_file(&ours, &there),
            _ => false,
        }
    }

    /// The next piece, or nothing when there is no more for now.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        while self.left == 0 {
            if !self.next_time()? {
                return Ok(None);
            }
        }
        let most = self.left.min(self.buffer.len() as u64) as usize;
        let got = self.log.read(&mut self.buffer[..most]).at("read", file::CONSOLE)?;
        if got == 0 {
            return Ok(None);
        }
        self.left -= got as u64;
        Ok(Some(Chunk { ms: self.ms, bytes: &self.buffer[..got] }))
    }

    /// What lies behind the last known time once nobody writes any more: a crash parted the two files.
    pub fn next_untimed(&mut self) -> Result<Option<Chunk<'_>>> {
        let got = self.log.read(&mut self.buffer).at("read", file::CONSOLE)?;
        Ok((got > 0).then(|| Chunk { ms: self.ms, bytes: &self.buffer[..got] }))
    }

    /// Reads a line of `console.times`; half a line stays until its rest is there, and what is no line is passed over.
    fn next_time(&mut self) -> Result<bool> {
        let Some(times) = &mut self.times else { return Ok(false) };
        times.read_until(b'\n', &mut self.line).at("read", file::TIMES)?;
        if self.line.last() != Some(&b'\n') {
            return Ok(false);
        }
        if let Some((ms, bytes)) = time(&self.line) {
            (self.ms, self.left) = (ms, bytes);
        }
        self.line.clear();
        Ok(true)
    }
}

/// What a whole line of `console.times` says.
fn time(line: &[u8]) -> Option<(u64, u64)> {
    let (ms, bytes) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    Some((ms.parse().ok()?, bytes.parse().ok()?))
}

/// How many bytes of a `console.times` can be true of a log of `log` bytes: whole lines from its start. A last line that
/// a crash cut short can be true, too.
pub(crate) fn fitting(mut times: impl BufRead, log: u64) -> io::Result<u64> {
    // Two numbers are shorter.
    const LONGEST: u64 = 64;
    let (mut counted, mut end, mut line) = (0u64, 0, Vec::new());
    while times.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        let cut_short = !line.ends_with(b"\n") && line.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ');
        counted = match time(&line) {
            Some((_, bytes)) => counted.saturating_add(bytes),
            None if cut_short => counted,
            None => break,
        };
        if counted > log {
            break;
        }
        end += line.len() as u64;
        line.clear();
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fit_a_log_up_to_the_first_line_that_can_not_be_true() {
        for (times, log, fits) in [
            ("0 3\n5 4\n", 7, "0 3\n5 4\n"),
            ("0 3\n5 4\n", 6, "0 3\n"),
            ("0 3\n5 4", 3, "0 3\n5 4"),
            ("0 3\nnonsense\n5 0\n", 9, "0 3\n"),
            ("0 3\nx", 9, "0 3\n"),
            ("", 0, ""),
        ] {
            assert_eq!(fitting(times.as_bytes(), log).unwrap(), fits.len() as u64, "{times:?} {log}");
        }
    }

    #[test]
    fn a_reader_that_follows_gets_each_byte_once() {
        let dir = std::env::temp_dir().join(format!("builder-console-{}", std::process::id()));
        std::fs::DirBuilder::new().recursive(true).create(&dir).unwrap();
        let mut writer = ConsoleWriter::open(&dir, dir.join("nobody")).unwrap();
        let mut reader = ConsoleReader::open(&dir, false).unwrap().unwrap();
        let mut seen = Vec::new();
        for n in 0..100u64 {
            writer.append(n, format!("line {n}\n").as_bytes()).unwrap();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                assert_eq!(chunk.ms, n);
                seen.extend_from_slice(chunk.bytes);
            }
        }
        let expected: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(seen, expected.as_bytes());
        assert_eq!(writer.length, expected.len() as u64);
        disk::remove_tree(&dir).unwrap();
    }
}
