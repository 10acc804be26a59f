//! The console of a build: `console.log`, the bytes as printed, and `console.times`, when they came.
//!
//! A line of `console.times` is `MILLISECONDS BYTES`: so many further bytes of the log came that long after
//! the script's start. The log is written first, so bytes without a time are the newest, or a crash's. A line that
//! is anything else is a crash's, too, and says nothing.

use crate::disk;
use crate::error::{At, Result};
use crate::layout::file;
use crate::wake;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Appends to a console; there is one writer, who holds the build.
#[derive(Debug)]
pub struct ConsoleWriter {
    log: File,
    times: File,
    dir: PathBuf,
    watchers: Option<PathBuf>,
    /// Bytes in the log.
    pub length: u64,
    times_length: u64,
}

fn length_of(file: &File, dir: &Path) -> Result<u64> {
    file.metadata().at("look at", dir).map(|meta| meta.len())
}

impl ConsoleWriter {
    /// Opens the console in a directory, which may have begun. Where a crash parted log and times, they agree again;
    /// what `watchers` of it have read stays as it is.
    pub fn open(dir: &Path, watchers: Option<PathBuf>) -> Result<ConsoleWriter> {
        let open = |name: &str| disk::open_for_appending(&dir.join(name), 0o644);
        let (log, times) = (open(file::CONSOLE)?, open(file::TIMES)?);
        let (length, times_length) = (length_of(&log, dir)?, length_of(&times, dir)?);
        let mut writer = ConsoleWriter { log, times, dir: dir.to_owned(), watchers, length, times_length };
        if length > 0 || times_length > 0 {
            writer.mend()?;
        }
        Ok(writer)
    }

    /// Begins anew, with nothing.
    pub fn restart(&mut self) -> Result<()> {
        self.times.set_len(0).at("empty the console of", &self.dir)?;
        self.log.set_len(0).at("empty the console of", &self.dir)?;
        (self.length, self.times_length) = (0, 0);
        Ok(())
    }

    fn mend(&mut self) -> Result<()> {
        let Some(mut reader) = ConsoleReader::open(&self.dir, false)? else { return Ok(()) };
        let timed = reader.skip(u64::MAX)?;
        if timed > self.length {
            return self.restart();
        }
        let mut line = String::new();
        if !reader.line.is_empty() {
            // Half a line becomes one that says nothing, for those who have read the half.
            line += "x\n";
        }
        if timed < self.length {
            line += &format!("{} {}\n", reader.ms, self.length - timed);
        }
        self.times.write_all(line.as_bytes()).at("write the console of", &self.dir)?;
        self.times_length += line.len() as u64;
        Ok(())
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
        if let Some(watchers) = &self.watchers {
            wake::ring(watchers);
        }
        Ok(())
    }
}

/// Writes a whole console, line by line, into a directory that has none; nothing where nothing was printed. Not durable.
pub(crate) fn write<'p>(dir: &Path, lines: impl Iterator<Item = (u64, &'p [u8])>) -> Result<()> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let create = |name: &str| disk::create_new(&dir.join(name), 0o644).map(BufWriter::new);
    let (mut log, mut times) = (create(file::CONSOLE)?, create(file::TIMES)?);
    lines
        .try_for_each(|(ms, line)| {
            log.write_all(line)?;
            log.write_all(b"\n")?;
            writeln!(times, "{ms} {}", line.len() + 1)
        })
        .and_then(|()| log.flush())
        .and_then(|()| times.flush())
        .at("write the console of", dir)
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

    /// Goes on behind so many bytes, or at the end of what has a time. Returns behind how many.
    pub fn skip(&mut self, bytes: u64) -> Result<u64> {
        let mut passed = 0;
        while passed < bytes && (self.left > 0 || self.next_time()?) {
            let step = self.left.min(bytes - passed);
            self.left -= step;
            passed += step;
        }
        self.log.seek(SeekFrom::Start(passed)).at("read", file::CONSOLE)?;
        Ok(passed)
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

/// How many bytes of a `console.times` can be true of a log of `log` bytes: lines from its start. One that a crash left
/// says nothing, and can be true.
pub(crate) fn fitting(mut times: impl BufRead, log: u64) -> io::Result<u64> {
    // Two numbers are shorter.
    const LONGEST: u64 = 64;
    let (mut counted, mut end, mut line) = (0u64, 0, Vec::new());
    while times.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        counted = counted.saturating_add(time(&line).map_or(0, |(_, bytes)| bytes));
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
            ("0 3\n5 x\n5 4\n", 7, "0 3\n5 x\n5 4\n"),
            ("0 3\n5 x\n5 4\n", 6, "0 3\n5 x\n"),
            ("", 0, ""),
        ] {
            assert_eq!(fitting(times.as_bytes(), log).unwrap(), fits.len() as u64, "{times:?} {log}");
        }
    }

    #[test]
    fn a_reader_that_follows_gets_each_byte_once() {
        let dir = std::env::temp_dir().join(format!("builder-console-{}", std::process::id()));
        std::fs::DirBuilder::new().recursive(true).create(&dir).unwrap();
        let mut writer = ConsoleWriter::open(&dir, Some(dir.join("nobody"))).unwrap();
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

    fn text(dir: &Path, name: &str) -> String {
        String::from_utf8(disk::read_if_there(&dir.join(name), 99).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn log_and_times_that_a_crash_parted_agree_again() {
        for (log, times, mended) in [
            ("onetwo", "1 3\n", "1 3\n1 3\n"),
            ("onetwo", "1 3\n2 ", "1 3\n2 x\n1 3\n"),
            ("one", "1 3\n2 3", "1 3\n2 3x\n"),
            ("one", "", "0 3\n"),
            ("onetwo", "1 3\n2 3\n", "1 3\n2 3\n"),
            // Bytes that had a time and are gone were lost with the power.
            ("o", "1 3\n", ""),
            ("", "1 3\n", ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            disk::write_new(&dir.path().join(file::CONSOLE), log.as_bytes(), 0o644).unwrap();
            disk::write_new(&dir.path().join(file::TIMES), times.as_bytes(), 0o644).unwrap();
            let writer = ConsoleWriter::open(dir.path(), None).unwrap();
            assert_eq!(text(dir.path(), file::TIMES), mended, "{log} {times}");
            assert_eq!(text(dir.path(), file::CONSOLE), if mended.is_empty() { "" } else { log });
            assert_eq!(ConsoleReader::open(dir.path(), false).unwrap().unwrap().skip(99).unwrap(), writer.length);
        }
    }

    #[test]
    fn a_reader_goes_on_in_the_middle_of_a_piece() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ConsoleWriter::open(dir.path(), None).unwrap();
        writer.append(1, b"one").unwrap();
        writer.append(2, b"two").unwrap();
        for (bytes, ms, rest) in [(0, 1, "one"), (2, 1, "e"), (3, 2, "two"), (4, 2, "wo")] {
            let mut reader = ConsoleReader::open(dir.path(), false).unwrap().unwrap();
            assert_eq!(reader.skip(bytes).unwrap(), bytes);
            let chunk = reader.next_chunk().unwrap().unwrap();
            assert_eq!((chunk.ms, chunk.bytes), (ms, rest.as_bytes()));
        }
    }
}
