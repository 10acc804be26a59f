//! `builder pin` and `unpin`: builds that nothing removes.

use crate::args::{PinArgs, UnpinArgs};
use crate::{out, words};
use spool::error::{Error, Kind, Result};
use spool::keep::Pin;
use spool::{Spool, clock, owner};

/// Longer reasons belong elsewhere, in characters.
const LONGEST_REASON: usize = 1000;

/// Keeps a build for good.
pub fn pin(spool: &Spool, args: &PinArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    let reason = args.reason.as_deref().map(reason).transpose()?;
    owner::become_owner(spool)?;
    let id = &build.id;
    out::print(&match spool.set_pin(&build, &Pin { since: clock::now(), reason })? {
        true => format!("pinned {id}\n"),
        false => format!("{id} was pinned already\n"),
    })
}

fn reason(text: &str) -> Result<String> {
    match text.chars().count() <= LONGEST_REASON && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Error::new(Kind::Usage, format!("--reason `{}` is not one short line", words::shown(text)))
            .hint(format!("give at most {LONGEST_REASON} characters without line ends"))),
    }
}

/// Lets a build go when its time comes.
pub fn unpin(spool: &Spool, args: &UnpinArgs) -> Result<()> {
    let build = spool.resolve(&args.build)?;
    owner::become_owner(spool)?;
    let id = &build.id;
    out::print(&match spool.unpin(&build)? {
        true => format!("unpinned {id}\n"),
        false => format!("{id} was not pinned\n"),
    })
}
