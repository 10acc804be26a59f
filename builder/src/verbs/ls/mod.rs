//! `builder ls`: the schedule, the queues, what runs, the workers.

mod follow;
mod listing;
mod page;

use crate::args::ListArgs;
use crate::out;
use crate::terminal::Look;
use listing::Listing;
use spool::config::Config;
use spool::error::Result;
use spool::mend::Patience;
use spool::name::JobName;
use spool::{Spool, clock};
use std::process::ExitCode;

/// Lists all, or some jobs; once, or again and again.
pub fn run(spool: &Spool, config: &Config, args: &ListArgs) -> Result<ExitCode> {
    let only = args.names.iter().map(|name| name.parse()).collect::<Result<Vec<JobName>>>()?;
    let patience = Patience::of(config);
    let read = |now| listing::read(spool, &only, patience, now);
    if args.watch {
        return follow::run(args.json, read);
    }
    let now = clock::now();
    let listing = read(now)?;
    if args.json {
        return out::json(&listing).map(|()| ExitCode::SUCCESS);
    }
    complain(&listing);
    let text = page::text(&page::sections(&listing, Look::of_stdout(), now));
    if listing.jobs.is_empty() && listing.broken.is_empty() {
        out::hint("there are no jobs; `builder add` adds one");
    }
    out::print(&text).map(|()| ExitCode::SUCCESS)
}

/// A file that can't be read is told of past the listing, a line each.
fn complain(listing: &Listing) {
    listing.broken.iter().for_each(|complaint| out::hint(complaint));
}
