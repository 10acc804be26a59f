//! Where a console goes: to standard output as it is, and on a terminal with a status line below it.
//!
//! The status line is erased before anything else is printed and drawn again after it, in one write. Between the two
//! the cursor stands where the console left it, so that whatever is printed next goes on from there.

use super::cursor::{Cursor, Spot};
use crate::terminal;
use spool::console::{Chunk, ConsoleReader};
use spool::error::{At, Result};
use std::io::{self, BufWriter, StdoutLock, Write};

/// Erases an empty line and what is below it. A Ctrl-C that was typed stands in it, too, and has moved the cursor.
const ERASE_HERE: &str = "\r\x1b[J";

/// Erases what is below the cursor's line: text may stand to the right of the cursor, after a carriage return.
const ERASE_BELOW: &str = "\x1b7\x1b[B\r\x1b[J\x1b8";

/// Standard output, and whether somebody still reads it.
pub struct Printer {
    to: BufWriter<StdoutLock<'static>>,
    lines: TimedLines,
    /// On a terminal: where the cursor is, and whether there is a status line now.
    bottom: Option<Bottom>,
    /// Nobody reads any more.
    pub closed: bool,
}

#[derive(Default)]
struct Bottom {
    cursor: Cursor,
    drawn: Option<Spot>,
}

impl Printer {
    /// To standard output as it is.
    pub fn new() -> Printer {
        let to = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        let bottom = terminal::is_clever().then(Bottom::default);
        Printer { to, lines: TimedLines::default(), bottom, closed: false }
    }

    /// Whether a status can be seen.
    pub fn has_status(&self) -> bool {
        self.bottom.is_some()
    }

    /// Prints a piece of a console.
    pub fn print(&mut self, chunk: Chunk<'_>) -> Result<()> {
        self.erase()?;
        let written = match &mut self.bottom {
            None => self.lines.print(&mut self.to, chunk.ms, chunk.bytes),
            Some(bottom) => {
                let mut to = Seen { to: &mut self.to, cursor: &mut bottom.cursor };
                self.lines.print(&mut to, chunk.ms, chunk.bytes)
            }
        };
        self.noted(written)
    }

    /// All that a console holds of which no more is written.
    pub fn all_of(&mut self, console: &mut ConsoleReader) -> Result<()> {
        while let Some(chunk) = console.next_chunk()? {
            self.print(chunk)?;
        }
        while let Some(chunk) = console.next_untimed()? {
            self.print(chunk)?;
        }
        Ok(())
    }

    /// Ends the line, if there is one.
    pub fn line_end(&mut self) -> Result<()> {
        match self.lines.within {
            true => self.print(Chunk { ms: 0, bytes: b"\n" }),
            false => Ok(()),
        }
    }

    /// Takes the status line away.
    pub fn erase(&mut self) -> Result<()> {
        let Some(spot) = self.bottom.as_mut().and_then(|bottom| bottom.drawn.take()) else { return Ok(()) };
        let erase = if spot == Spot::Here { ERASE_HERE } else { ERASE_BELOW };
        let written = self.to.write_all(erase.as_bytes());
        self.noted(written)
    }

    /// Draws the status line that `text` makes for a width, where there can be one.
    pub fn draw(&mut self, text: impl FnOnce(usize) -> String) -> Result<()> {
        self.erase()?;
        let (Some(bottom), Some((width, _))) = (&mut self.bottom, terminal::size()) else { return Ok(()) };
        let spot = bottom.cursor.spot(width);
        let plain = if bottom.cursor.styled { "\x1b[0m" } else { "" };
        let text = text(width);
        // ESC 7 and ESC 8 keep the cursor's place and the console's colours.
        let written = match spot {
            Spot::Here => write!(self.to, "\x1b7{plain}{text}\x1b8"),
            // The newline makes sure that there is a line below; going up again leads back wherever that scrolled.
            Spot::Below(column) => {
                write!(self.to, "\n\x1b[A\x1b[{}G\x1b7\x1b[B\r{plain}{text}\x1b8", column + 1)
            }
            Spot::Nowhere => return Ok(()),
        };
        bottom.drawn = Some(spot);
        self.noted(written)
    }

    /// Makes sure that all of it can be read.
    pub fn flush(&mut self) -> Result<()> {
        let flushed = self.to.flush();
        self.noted(flushed)
    }

    /// Notes whether somebody still reads.
    pub fn noted(&mut self, result: io::Result<()>) -> Result<()> {
        self.closed |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result.at("write to", "standard output")
    }
}

/// A writer that notes where the cursor gets to.
struct Seen<'p, W> {
    to: &'p mut W,
    cursor: &'p mut Cursor,
}

impl<W: Write> Write for Seen<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.cursor.pass(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Puts the seconds since the start before each line: `[   1.234] text`. A line has the time of its first byte.
#[derive(Debug, Default)]
pub struct TimedLines {
    within: bool,
}

impl TimedLines {
    /// Prints the next piece of a console.
    pub fn print(&mut self, to: &mut impl Write, ms: u64, bytes: &[u8]) -> io::Result<()> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within {
                write!(to, "[{:>4}.{:03}] ", ms / 1000, ms % 1000)?;
            }
            to.write_all(line)?;
            self.within = !line.ends_with(b"\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_one_time_however_it_is_split() {
        let (mut out, mut lines) = (Vec::new(), TimedLines::default());
        for (ms, piece) in [(1, "a\nb"), (2, "c"), (1_003, "\n\nd")] {
            lines.print(&mut out, ms, piece.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "[   0.001] a\n[   0.001] bc\n[   1.003] \n[   1.003] d");
    }
}
