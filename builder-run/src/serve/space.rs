//! What becomes of a build that runs when the spool's file system is full: it is ended, or it waits.

use super::building::Context;
use super::link::Link;
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
pub fn append(
    context: &Context<'_>,
    link: &Link,
    held: &HeldBuild<'_>,
    console: &mut Option<ConsoleWriter>,
    (ms, data): (u64, &[u8]),
) -> Option<Outcome> {
    let mut try_it = || -> Result<()> {
        context.spool.make_sure_of_room()?;
        let console = match console {
            Some(console) => console,
            None => console.insert(held.console()?),
        };
        console.append(ms, data)
    };
    match try_it() {
        Ok(()) => None,
        Err(e) if e.kind() != Kind::TryAgain => Some(Outcome::Aborted { reason: e.to_string() }),
        Err(e) if context.config.limits.when_full == WhenFull::Abort => Some(no_space(&e)),
        Err(e) => {
            tracing::warn!(build = %held.id(), "it waits for room: {e}");
            link.while_busy(|| wait(context, link, held, try_it))
        }
    }
}

/// Waits until the end of a build can be written, where others have used up what is kept for that.
pub fn wait_for_an_end(context: &Context<'_>, link: &Link) {
    if context.spool.make_sure_of_room().is_ok() {
        return;
    }
    link.while_busy(|| {
        while !context.spool.has_room_for_an_end() {
            std::thread::sleep(room::LOOK);
        }
    });
}

/// Tries until there is room, or somebody cancels the build. When the worker goes meanwhile, the session finds that out.
fn wait(
    context: &Context<'_>,
    link: &Link,
    held: &HeldBuild<'_>,
    mut try_it: impl FnMut() -> Result<()>,
) -> Option<Outcome> {
    loop {
        std::thread::sleep(room::LOOK);
        if link.is_hung_up() {
            return None;
        }
        if context.spool.cancel_requested(held.id()) {
            return Some(Outcome::Cancelled);
        }
        match try_it() {
            Ok(()) => return None,
            Err(e) if e.kind() != Kind::TryAgain => return Some(Outcome::Aborted { reason: e.to_string() }),
            Err(_) => {}
        }
    }
}
