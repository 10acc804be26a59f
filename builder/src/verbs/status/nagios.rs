//! One line for Nagios and its like, as the Monitoring Plugins' guidelines have it: a word, why, and figures.

use super::judge::{Bounds, Level, Limits, NO_BUILDERD, age, free_percent};
use crate::out;
use jiff::Timestamp;
use spool::error::{Error, Result};
use spool::status::Status;
use std::process::ExitCode;

/// So many characters of what is wrong are shown: who reads it reads it on a telephone.
const LONGEST: usize = 400;

/// Nobody knows how it is.
const UNKNOWN: u8 = 3;

/// Prints the line. Returns what to exit with.
pub fn say(status: &Status, limits: &Limits, wrong: &[(Level, String)], now: Timestamp) -> Result<ExitCode> {
    let level = wrong.iter().map(|(level, _)| *level).max().unwrap_or(Level::Ok);
    let word = match level {
        Level::Ok => "OK",
        Level::Warning => "WARNING",
        Level::Critical => "CRITICAL",
    };
    let said: Vec<&str> = wrong.iter().map(|(_, text)| text.as_str()).collect();
    let said = if said.is_empty() { well(status) } else { said.join("; ") };
    out::print(&format!("BUILDER {word} - {}|{}\n", plain(&said), figures(status, limits, now)))?;
    Ok(ExitCode::from(level as u8))
}

/// The line when there is nothing to tell from.
pub fn unknown(error: &Error) -> ExitCode {
    let _ = out::print(&format!("BUILDER UNKNOWN - {}\n", plain(&error.to_string())));
    ExitCode::from(UNKNOWN)
}

/// The line when there is nobody who could tell.
pub fn dead() -> ExitCode {
    let _ = out::print(&format!("BUILDER CRITICAL - {NO_BUILDERD}\n"));
    ExitCode::from(Level::Critical as u8)
}

fn well(status: &Status) -> String {
    let sum = |value: fn(&spool::status::OfPlatform) -> usize| status.platforms.values().map(value).sum::<usize>();
    let (waiting, running) = (sum(|of| of.waiting), sum(|of| of.running));
    format!("{waiting} waiting, {running} running, {} workers", status.workers.connected())
}

fn figures(status: &Status, limits: &Limits, now: Timestamp) -> String {
    let sum = |value: fn(&spool::status::OfPlatform) -> usize| status.platforms.values().map(value).sum::<usize>();
    let oldest = status.platforms.values().map(|of| age(of, now)).max().unwrap_or(0);
    let up = |bounds: Option<Bounds>| bounds.map_or(";".to_owned(), |one| format!("{};{}", one.warning, one.critical));
    let free = limits.free;
    [
        format!("waiting={};{};0", sum(|of| of.waiting), up(limits.queue)),
        format!("oldest={oldest}s;{};0", up(Some(limits.age))),
        format!("running={};;;0", sum(|of| of.running)),
        format!("workers={};;;0", status.workers.connected()),
        format!("free_workers={};;;0", status.workers.free),
        format!("quarantined={};0;;0", status.workers.quarantined),
        format!("free={}%;{}:;{}:;0;100", free_percent(status), free.warning, free.critical),
    ]
    .join(" ")
}

/// In which neither a bar nor a line's end can be taken for something else.
fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() || c == '|' { ' ' } else { c }).collect()
}
