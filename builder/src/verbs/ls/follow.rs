//! `builder ls --watch`: on a terminal a listing in its place, elsewhere a new one whenever something has changed.

use super::listing::Listing;
use super::page;
use crate::out;
use crate::terminal::{self, Look, Signals};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGINT;
use spool::clock;
use spool::error::{At, Result};
use std::io;
use std::process::ExitCode;

/// Between two readings of the spool.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The terminal's other screen, without a cursor; the home of what is drawn in place.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Follows what a reader of the spool returns, until somebody asks for the end.
pub fn run(json: bool, read: impl Fn(Timestamp) -> Result<Listing>) -> Result<ExitCode> {
    let signals = Signals::take()?;
    match !json && terminal::is_clever() {
        true => in_place(&signals, read)?,
        false => one_after_the_other(&signals, json, read)?,
    }
    // Ctrl-C is how one leaves, and no failure.
    let failure = signals.ended().filter(|signal| i32::from(*signal) != SIGINT);
    Ok(failure.map_or(ExitCode::SUCCESS, |signal| ExitCode::from(128 + signal)))
}

/// The other screen; it is left however this ends.
struct Screen;

impl Screen {
    fn enter() -> Result<Screen> {
        out::print(ENTER)?;
        Ok(Screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = out::print(LEAVE);
    }
}

fn in_place(signals: &Signals, read: impl Fn(Timestamp) -> Result<Listing>) -> Result<()> {
    signals.take_stop()?;
    let mut screen = Some(Screen::enter()?);
    while signals.ended().is_none() {
        if signals.stopped() {
            screen.take();
            signals.stop()?;
            screen = Some(Screen::enter()?);
        }
        let now = clock::now();
        let listing = read(now)?;
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let look = Look { terminal: Some(columns), ..Look::of_stdout() };
        let mut sections = page::sections(&listing, look, now);
        sections.extend(page::broken(&listing, look));
        out::print(&frame(&page::fitted(&sections, rows)))?;
        sleep(signals)?;
    }
    Ok(())
}

/// Draws over what was there, and erases the rest. The last line has no newline, which would scroll.
fn frame(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\n"))
}

/// Two listings are the same when they read the same at one moment: that time passes is no news.
fn one_after_the_other(signals: &Signals, json: bool, read: impl Fn(Timestamp) -> Result<Listing>) -> Result<()> {
    let mut last: Option<Listing> = None;
    while signals.ended().is_none() {
        let now = clock::now();
        let (listing, look) = (read(now)?, Look::of_stdout());
        let text = page::text(&page::sections(&listing, look, now));
        let before = last.as_ref().map(|last| page::text(&page::sections(last, look, now)));
        let same = last.as_ref().is_some_and(|last| last.broken == listing.broken);
        if !same || before.as_ref() != Some(&text) {
            let apart = if before.is_some() { "\n" } else { "" };
            let text = if json { out::as_json(&listing)? } else { text };
            if out::print_unless_closed(&format!("{apart}{text}"))? {
                return Ok(());
            }
            super::complain(&listing);
        }
        last = Some(listing);
        if sleep(signals)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits a while, or for a signal. Says whether nobody reads standard output any more.
fn sleep(signals: &Signals) -> Result<bool> {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut fds, Some(&LOOK)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(e).at("wait for", "the spool"),
    }
    signals.drain();
    Ok(fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
}
