//! `builder status`: how the whole is, for people, and for programs that watch it.

mod judge;
mod nagios;

use crate::args::StatusArgs;
use crate::{out, text};
use jiff::Timestamp;
use judge::{Level, Limits, judge};
use spool::error::{Error, Result};
use spool::platform::State;
use spool::status::{OfPlatform, Status};
use spool::{Spool, clock};
use std::process::ExitCode;

/// Says it. As a plugin it always does, in one line.
pub fn run(spool: &Spool, args: &StatusArgs) -> Result<ExitCode> {
    say(spool, args).or_else(|e| if args.nagios { Ok(unknown(&e)) } else { Err(e) })
}

fn say(spool: &Spool, args: &StatusArgs) -> Result<ExitCode> {
    let (limits, now) = (Limits::of(args)?, clock::now());
    let status = spool.status(now)?;
    if args.json {
        out::json(&status)?;
    } else {
        let wrong = judge(&status, &limits, now);
        if args.nagios {
            return nagios::say(&status, &limits, &wrong, now);
        }
        out::print(&page(&status, &wrong, now))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What Nagios and its like are told when nobody knows how it is.
pub fn unknown(error: &Error) -> ExitCode {
    nagios::unknown(error)
}

/// What they are told when builderd would have to say it, and nobody is there.
pub fn without_builderd(args: &StatusArgs) -> ExitCode {
    match Limits::of(args) {
        Ok(_) => nagios::dead(),
        Err(e) => unknown(&e),
    }
}

fn page(status: &Status, wrong: &[(Level, String)], now: Timestamp) -> String {
    let mut page = String::new();
    let platforms = status.platforms.iter().map(|(name, of)| platform(name.as_str(), of, now)).collect::<Vec<_>>();
    if !platforms.is_empty() {
        page += &format!("Platforms\n{}", text::table(&platforms));
    }
    page += &format!("The whole\n{}", text::table(&whole(status)));
    if !wrong.is_empty() {
        let lines: String = wrong.iter().map(|(_, text)| format!("  {}\n", text::tame(text))).collect();
        page += &format!("Wrong\n{lines}");
    }
    page
}

fn platform(name: &str, of: &OfPlatform, now: Timestamp) -> Vec<String> {
    let waiting = if of.waiting == 0 { "nothing waits".to_owned() } else { judge::waiting(of, now) };
    let silent = if of.silent == 0 { String::new() } else { format!(", {} without their workers", of.silent) };
    let runs = if of.running == 1 { "runs" } else { "run" };
    let launched = if of.launched == 0 { String::new() } else { format!(", {} on the way", of.launched) };
    let state = if of.state == State::Open { String::new() } else { format!("{}: ", of.state.word()) };
    vec![
        name.to_owned(),
        format!("{state}{waiting}"),
        format!("{} {runs}{silent}", of.running),
        format!("{} of {} free{launched}", of.free, text::count(of.workers, "worker")),
    ]
}

fn whole(status: &Status) -> Vec<Vec<String>> {
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    let workers = &status.workers;
    let sick =
        if workers.quarantined == 0 { String::new() } else { format!(", {} in quarantine", workers.quarantined) };
    let free = text::size(status.disk.free_bytes);
    let mut rows = vec![
        row("builderd", if status.builderd { "runs" } else { "does not run" }.to_owned()),
        row("jobs", status.jobs.to_string()),
        row("workers", format!("{} free, {} busy, {} away{sick}", workers.free, workers.busy, workers.away)),
        row("disk", format!("{free} of {} free", text::size(status.disk.bytes))),
    ];
    if status.drains {
        rows.insert(1, row("drain", "nothing is handed out until `builder drain --off`".to_owned()));
    }
    rows
}
