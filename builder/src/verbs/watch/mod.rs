//! `builder watch`: a build's console from its first byte to its end, every byte once.
//!
//! A build that loses its worker is queued again and starts anew; a watcher says so and goes on with the new
//! console. Being woken is a convenience: the watcher also looks by itself. On a terminal a line at the bottom says
//! how far it is. Ctrl-C ends the watching, not the build.

mod cursor;
mod printer;
mod status;

pub use printer::TimedLines;

use crate::args::WatchArgs;
use crate::terminal::Signals;
use crate::{out, text};
use printer::Printer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::build_id::BuildId;
use spool::console::ConsoleReader;
use spool::error::{At, Error, Kind, Result};
use spool::find::Build;
use spool::name::Platform;
use spool::place::{Place, Ticket};
use spool::platform::Withheld;
use spool::record::{BuildResult, Outcome};
use spool::wake::Listener;
use spool::{Spool, clock, owner};
use status::Status;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How often a watcher looks when nobody wakes it, and when nobody can, because the spool is another user's.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_ALONE: Duration = Duration::from_millis(200);

/// Why a watcher stops watching.
pub enum End<T> {
    /// The build is over.
    Over(T),
    /// Somebody has sent this signal to the watcher; the build goes on.
    Left(u8),
}

/// Follows a build and exits as it does.
pub fn run(spool: &Spool, args: &WatchArgs) -> Result<ExitCode> {
    let build = meant(spool, args)?;
    // The superuser's socket would stand in the owner's way.
    let bell = owner::become_owner(spool).and_then(|()| Listener::new(spool.layout().wake_build(&build.id))).ok();
    let mut watcher = Watcher::new(spool, build, bell)?;
    match watcher.follow() {
        Ok(End::Over(result)) => {
            let took = text::duration(result.duration_ms);
            out::hint(&format!("{} {} after {took}", watcher.build.id, result.outcome));
            Ok(ExitCode::from(result.outcome.exit_code()))
        }
        Ok(End::Left(signal)) => Ok(ExitCode::from(128 + signal)),
        Err(_) if watcher.to.closed => Ok(ExitCode::SUCCESS),
        Err(e) => Err(e),
    }
}

/// Waits until a build is over, and prints nothing of it.
pub fn wait(spool: &Spool, id: &BuildId) -> Result<End<Outcome>> {
    let bell = Listener::new(spool.layout().wake_build(id)).ok();
    let build = spool.build(id)?.ok_or_else(|| Error::new(Kind::NoInput, format!("{id} was removed")))?;
    let mut watcher = Watcher::new(spool, build, bell)?;
    loop {
        watcher.drain();
        if let Some(signal) = watcher.left()? {
            return Ok(End::Left(signal));
        }
        watcher.build = watcher.build.again()?;
        if let Place::Ended(_) = watcher.build.place {
            return watcher.end().map(|result| End::Over(result.outcome));
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
    spool: &'s Spool,
    build: Build<'s>,
    bell: Option<Listener>,
    signals: Signals,
    console: Option<ConsoleReader>,
    to: Printer,
    /// Why it waits, when that was said, so that it is not said again.
    told: Option<Option<Withheld>>,
    /// How many milliseconds a build of the job takes; looked for when it is shown first.
    usual: Option<Option<u64>>,
}

impl<'s> Watcher<'s> {
    fn new(spool: &'s Spool, build: Build<'s>, bell: Option<Listener>) -> Result<Watcher<'s>> {
        let signals = Signals::take()?;
        Ok(Watcher { spool, build, bell, signals, console: None, to: Printer::new(), told: None, usual: None })
    }

    fn follow(&mut self) -> Result<End<BuildResult>> {
        loop {
            self.drain();
            // The place is asked for first: what was printed before a build's end is in the log when the end is seen.
            self.build = self.build.again()?;
            self.print_new()?;
            if let Some(signal) = self.left()? {
                return Ok(End::Left(signal));
            }
            match self.build.place.clone() {
                Place::Ended(_) => return self.end().map(End::Over),
                Place::Queued(ticket) => self.say_why_it_waits(&ticket)?,
                Place::Active => self.told = None,
            }
            self.show_status()?;
            self.sleep()?;
        }
    }

    fn drain(&self) {
        self.signals.drain();
        if let Some(bell) = &self.bell {
            bell.drain();
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
                self.say("has lost its worker and begins again")?;
            }
        }
        if self.console.is_none() {
            self.console = self.build.console()?;
        }
        if let Some(console) = &mut self.console {
            while self.signals.ended().is_none()
                && let Some(chunk) = console.next_chunk()?
            {
                self.to.print(chunk)?;
            }
        }
        self.to.flush()
    }

    fn end(&mut self) -> Result<BuildResult> {
        self.to.erase()?;
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

    /// The signal that has ended the watching, after saying that it has not ended the build.
    fn left(&mut self) -> Result<Option<u8>> {
        let Some(signal) = self.signals.ended() else { return Ok(None) };
        if self.to.has_status() {
            self.to.erase()?;
            self.to.line_end()?;
        }
        let tail = self.build.id.tail().to_owned();
        self.say(&format!("goes on; `builder watch {tail}` follows it again, `builder cancel {tail}` ends it"))?;
        Ok(Some(signal))
    }

    /// Says something of the build on standard error, where no status line is in its way.
    fn say(&mut self, text: &str) -> Result<()> {
        self.to.erase()?;
        self.to.flush()?;
        out::hint(&format!("{} {text}", self.build.id));
        Ok(())
    }

    /// Once, and again when the reason changes. A status line says it, too, but not what to do.
    fn say_why_it_waits(&mut self, ticket: &Ticket) -> Result<()> {
        let platform = ticket.id.platform();
        let withheld = self.spool.withheld(platform);
        if self.told == Some(withheld) || (self.told.is_none() && withheld.is_none() && self.to.has_status()) {
            return Ok(());
        }
        self.told = Some(withheld);
        self.say(&format!("waits in its queue{}", status::reason(withheld, platform)))
    }

    fn show_status(&mut self) -> Result<()> {
        if !self.to.has_status() {
            return Ok(());
        }
        let (job, platform) = (self.build.id.job().clone(), self.build.id.platform().clone());
        let status = match &self.build.place {
            Place::Queued(ticket) => {
                Status::Queued { position: self.spool.position(ticket)?, withheld: self.spool.withheld(&platform) }
            }
            _ => {
                let since = self.build.lease()?.map(|lease| clock::now().duration_since(lease.since));
                let usual = || self.spool.usual_duration(&job, &platform).ok().flatten();
                Status::Running {
                    elapsed: since.map_or(0, |since| since.as_millis().max(0) as u64),
                    usual: *self.usual.get_or_insert_with(usual),
                }
            }
        };
        self.to.draw(|width| status::line(&status, &job, &platform, width))?;
        self.to.flush()
    }

    /// Waits for news. Whoever reads this may go away while nothing is printed: ssh that was ended, or a pager.
    fn sleep(&mut self) -> Result<()> {
        let look = if self.bell.is_some() { LOOK } else { LOOK_ALONE };
        let timeout = Timespec { tv_sec: look.as_secs() as i64, tv_nsec: look.subsec_nanos().into() };
        let stdout = io::stdout();
        let mut fds = vec![PollFd::new(&stdout, PollFlags::empty()), PollFd::new(&self.signals, PollFlags::IN)];
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
