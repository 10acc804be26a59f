//! What becomes of a build that runs when the spool's file system is full: it is ended, or it waits.

use super::building::Context;
use super::link::Link;
use super::session::told_to_leave;
use spool::config::WhenFull;
use spool::console::ConsoleWriter;
use spool::error::{Error, Kind, Result};
use spool::held::HeldBuild;
use spool::record::Outcome;
use spool::room;

const NO_SPACE: &str = "no space: ";

/// How a build ends for which there is no room.
fn no_space(why: &Error) -> Outcome {
    Outcome::Aborted { reason: format!("{NO_SPACE}{why}") }
}

/// Whether a build ended so.
pub fn is_no_space(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Aborted { reason } if reason.starts_with(NO_SPACE))
}

/// Whether a build that waits for the upload of its artifacts must end, as that waits for room, too.
pub fn is_starved(context: &Context<'_>) -> Option<Outcome> {
    let full = context.spool.make_sure_of_room().err().filter(|e| e.kind() == Kind::TryAgain)?;
    (context.config.limits.when_full == WhenFull::Abort).then(|| no_space(&full))
}

/// Appends what a script has printed. Returns how the build is to end, when it can't go on.
///
/// # Errors
/// The worker is gone, or another process serves it, while this waits for room. What was not appended will be sent again,
/// and nothing that comes behind it may be.
pub fn append(
    context: &Context<'_>,
    link: &Link,
    held: &HeldBuild<'_>,
    console: &mut Option<ConsoleWriter>,
    (ms, data): (u64, &[u8]),
) -> Result<Option<Outcome>> {
    let mut try_it = || -> Result<()> {
        context.spool.make_sure_of_room()?;
        let console = match console {
            Some(console) => console,
            None => console.insert(held.console()?),
        };
        console.append(ms, data)
    };
    match try_it() {
        Ok(()) => Ok(None),
        Err(e) if e.kind() != Kind::TryAgain => Ok(Some(Outcome::Aborted { reason: e.to_string() })),
        Err(e) if context.config.limits.when_full == WhenFull::Abort => Ok(Some(no_space(&e))),
        Err(e) => {
            tracing::warn!(build = %held.id(), "it waits for room: {e}");
            link.while_busy(|| wait(context, link, held, try_it))
        }
    }
}

/// Waits until the end of a build can be written, where others have used up what is kept for that.
///
/// # Errors
/// Another process serves the worker from now on.
pub fn wait_for_an_end(context: &Context<'_>, link: &Link, held: &HeldBuild<'_>) -> Result<()> {
    if context.spool.make_sure_of_room().is_ok() {
        return Ok(());
    }
    link.while_busy(|| {
        while !context.spool.has_room_for_an_end() {
            std::thread::sleep(room::LOOK);
            stay(context, held)?;
        }
        Ok(())
    })
}

/// Tries until there is room, or somebody cancels the build.
fn wait(
    context: &Context<'_>,
    link: &Link,
    held: &HeldBuild<'_>,
    mut try_it: impl FnMut() -> Result<()>,
) -> Result<Option<Outcome>> {
    loop {
        std::thread::sleep(room::LOOK);
        if link.is_hung_up() {
            return Err(Error::new(Kind::TryAgain, "the worker is gone"));
        }
        stay(context, held)?;
        if context.spool.cancel_requested(held.id()) {
            return Ok(Some(Outcome::Cancelled));
        }
        match try_it() {
            Ok(()) => return Ok(None),
            Err(e) if e.kind() != Kind::TryAgain => return Ok(Some(Outcome::Aborted { reason: e.to_string() })),
            Err(_) => {}
        }
    }
}

/// Keeps the build for its worker, unless another process is to do that: nobody reads meanwhile what the worker says, and
/// it has its grace time still when the wait is over.
fn stay(context: &Context<'_>, held: &HeldBuild<'_>) -> Result<()> {
    match told_to_leave(context.listeners) {
        true => Err(Error::new(Kind::TryAgain, "another process serves the worker")),
        false => held.touch(),
    }
}
