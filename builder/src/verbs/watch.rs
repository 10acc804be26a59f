//! `builder watch`: a build's console from its first byte to its end, every byte once.
//!
//! A build that loses its worker is queued again and starts anew; a watcher says so and goes on with the new
//! console. Being woken is a convenience: the watcher also looks by itself.

use crate::args::WatchArgs;
use crate::{out, text};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::build_id::BuildId;
use spool::console::{Chunk, ConsoleReader};
use spool::error::{At, Error, Kind, Result};
use spool::find::Build;
use spool::name::Platform;
use spool::place::Place;
use spool::record::{BuildResult, Outcome};
use spool::wake::Listener;
use spool::{Spool, owner};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How often a watcher looks when nobody wakes it, and when nobody can, because the spool is another user's.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_ALONE: Duration = Duration::from_millis(200);

/// Follows a build and exits as it does.
pub fn run(spool: &Spool, args: &WatchArgs) -> Result<ExitCode> {
    let build = meant(spool, args)?;
    // The superuser's socket would stand in the owner's way.
    let bell = owner::become_owner(spool).and_then(|()| Listener::new(spool.layout().wake_build(&build.id))).ok();
    let mut watcher = Watcher { build, bell, console: None, to: Printer::new() };
    match watcher.follow() {
        Ok(result) => {
            let took = text::duration(result.duration_ms);
            out::hint(&format!("{} {} after {took}", watcher.build.id, result.outcome));
            Ok(ExitCode::from(result.outcome.exit_code()))
        }
        Err(_) if watcher.to.closed => Ok(ExitCode::SUCCESS),
        Err(e) => Err(e),
    }
}

/// Waits until a build is over, and prints nothing of it.
pub fn wait(spool: &Spool, id: &BuildId) -> Result<Outcome> {
    let bell = Listener::new(spool.layout().wake_build(id)).ok();
    let build = spool.build(id)?.ok_or_else(|| Error::new(Kind::NoInput, format!("{id} was removed")))?;
    let mut watcher = Watcher { build, bell, console: None, to: Printer::new() };
    loop {
        if let Some(bell) = &watcher.bell {
            bell.drain();
        }
        watcher.build = watcher.build.again()?;
        if let Place::Ended(_) = watcher.build.place {
            return watcher.end().map(|result| result.outcome);
        }
        watcher.sleep()?;
    }
}

/// The build that the words mean; without words the newest that runs.
fn meant<'s>(spool: &'s Spool, args: &WatchArgs) -> Result<Build<'s>> {
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    if let Some(text) = &args.build {
        return spool.resolve_on(text, platform.as_ref());
    }
    let wanted = |build: &Build<'_>| platform.as_ref().is_none_or(|platform| build.id.platform() == platform);
    spool.active_builds()?.into_iter().rfind(wanted).ok_or_else(|| {
        let place = platform.as_ref().map(|platform| format!(" on {platform}")).unwrap_or_default();
        Error::new(Kind::NoInput, format!("no build runs{place}"))
            .hint("name a build or a job; `builder ls` shows them")
    })
}

struct Watcher<'s> {
    build: Build<'s>,
    bell: Option<Listener>,
    console: Option<ConsoleReader>,
    to: Printer,
}

impl Watcher<'_> {
    fn follow(&mut self) -> Result<BuildResult> {
        let mut waits = false;
        loop {
            if let Some(bell) = &self.bell {
                bell.drain();
            }
            // The place is asked for first: what was printed before a build's end is in the log when the end is seen.
            self.build = self.build.again()?;
            self.print_new()?;
            match self.build.place {
                Place::Ended(_) => return self.end(),
                Place::Queued(_) if !waits => {
                    out::hint(&format!("{} waits in its queue", self.build.id));
                    waits = true;
                }
                Place::Queued(_) => {}
                Place::Active => waits = false,
            }
            self.sleep()?;
        }
    }

    /// Prints what has come, and changes over to a new attempt's console when there is one.
    fn print_new(&mut self) -> Result<()> {
        let dir = self.build.dir();
        if let Some(old) = self.console.as_mut().filter(|console| !console.is_of(&dir)) {
            // Perhaps the directory has moved since it was asked for, with this very console in it.
            self.build = self.build.again()?;
            if !old.is_of(&self.build.dir()) {
                self.to.all_of(old)?;
                self.console = None;
                self.to.line_end()?;
                out::hint(&format!("{} has lost its worker and begins again", self.build.id));
            }
        }
        if self.console.is_none() {
            self.console = self.build.console()?;
        }
        if let Some(console) = &mut self.console {
            while let Some(chunk) = console.next_chunk()? {
                self.to.print(chunk)?;
            }
        }
        self.to.flush()
    }

    fn end(&mut self) -> Result<BuildResult> {
        if let Some(console) = &mut self.console {
            self.to.all_of(console)?;
        }
        if io::IsTerminal::is_terminal(&io::stdout()) {
            self.to.line_end()?;
        }
        self.to.flush()?;
        self.build.result()?.ok_or_else(|| {
            Error::new(Kind::Data, format!("{} has no result.toml", self.build.id)).hint("its record is damaged")
        })
    }

    /// Waits for news. Whoever reads this may go away while nothing is printed: ssh that was ended, or a pager.
    fn sleep(&mut self) -> Result<()> {
        let look = if self.bell.is_some() { LOOK } else { LOOK_ALONE };
        let timeout = Timespec { tv_sec: look.as_secs() as i64, tv_nsec: look.subsec_nanos().into() };
        let stdout = io::stdout();
        let mut fds = vec![PollFd::new(&stdout, PollFlags::empty())];
        fds.extend(self.bell.iter().map(|bell| PollFd::new(bell, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                self.to.noted(Err(io::ErrorKind::BrokenPipe.into()))
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).at("wait for", self.build.id.as_str()),
        }
    }
}

/// Standard output, and whether somebody still reads it.
struct Printer {
    to: BufWriter<StdoutLock<'static>>,
    lines: TimedLines,
    closed: bool,
}

impl Printer {
    fn new() -> Printer {
        let to = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        Printer { to, lines: TimedLines::default(), closed: false }
    }

    fn print(&mut self, chunk: Chunk<'_>) -> Result<()> {
        let written = self.lines.print(&mut self.to, chunk.ms, chunk.bytes);
        self.noted(written)
    }

    /// All that a console holds of which no more is written.
    fn all_of(&mut self, console: &mut ConsoleReader) -> Result<()> {
        while let Some(chunk) = console.next_chunk()? {
            self.print(chunk)?;
        }
        while let Some(chunk) = console.next_untimed()? {
            self.print(chunk)?;
        }
        Ok(())
    }

    fn line_end(&mut self) -> Result<()> {
        match self.lines.within {
            true => self.print(Chunk { ms: 0, bytes: b"\n" }),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.to.flush();
        self.noted(flushed)
    }

    fn noted(&mut self, result: io::Result<()>) -> Result<()> {
        self.closed |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result.at("write to", "standard output")
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
