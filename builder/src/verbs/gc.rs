//! `builder gc`: finished builds that are not to be kept any more go, and what nothing links to then.

use crate::args::GcArgs;
use crate::{out, text};
use serde::Serialize;
use spool::build_id::BuildId;
use spool::config::Config;
use spool::error::Result;
use spool::keep::Going;
use spool::{Spool, clock, owner};

#[derive(Serialize)]
struct Gone<'g> {
    build: &'g BuildId,
    why: String,
}

/// Says which builds go and why, a line each, and lets them go.
pub fn run(spool: &Spool, config: &Config, args: &GcArgs) -> Result<()> {
    let going = spool.going(&config.keep, clock::now())?;
    if args.dry_run {
        if going.is_empty() && !args.json {
            out::hint("nothing would go");
        }
        return match args.json {
            true => out::json(&going.iter().map(gone).collect::<Vec<_>>()),
            false => out::print(&going.iter().map(|one| line("would remove", one)).collect::<String>()),
        };
    }
    owner::become_owner(spool)?;
    let mut went = Vec::new();
    spool.let_go(&going, |one| {
        went.push(one);
        // That nobody reads it is no reason to keep the rest.
        if args.json { Ok(()) } else { out::print(&line("removed", one)) }
    })?;
    let (objects, bytes) = spool.store().collect_garbage()?.gone;
    match args.json {
        true => out::json(&went.into_iter().map(gone).collect::<Vec<_>>()),
        false if went.is_empty() && objects == 0 => out::print("nothing went\n"),
        false => {
            let (builds, contents) = (text::count(went.len(), "build"), text::count(objects as usize, "content"));
            out::print(&format!("{builds} and {contents} of {} went\n", text::size(bytes)))
        }
    }
}

fn gone(one: &Going) -> Gone<'_> {
    Gone { build: &one.id, why: one.reason.to_string() }
}

fn line(what: &str, one: &Going) -> String {
    format!("{what} {}: {}\n", one.id, one.reason)
}
