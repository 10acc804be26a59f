//! `builder verify`: a build again, by others and under other circumstances. Exit status 0 when the same came out each time, 1
//! when something else did, and 75 when that is not known.

use super::diff::first_difference;
use super::watch::{self, End};
use crate::args::VerifyArgs;
use crate::{out, text, words};
use serde::Serialize;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::find::Build;
use spool::name::WorkerName;
use spool::rebuild::{Rebuilt, Standing, Vary, Verdict, Wish};
use spool::record::{BuildResult, Outcome};
use spool::{Spool, clock, owner};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// What came of all of it.
#[derive(Serialize)]
struct Page {
    build: BuildId,
    output: Option<Sha256>,
    verdict: Verdict,
    rebuilds: Vec<Row>,
    /// Where the first that differs does so.
    first_difference: Option<String>,
}

/// What came of one rebuild.
#[derive(Serialize)]
pub struct Row {
    build: BuildId,
    worker: Option<WorkerName>,
    standing: &'static str,
    same_input: bool,
    outcome: Option<Outcome>,
    output: Option<Sha256>,
    varied: BTreeMap<String, String>,
    /// What was to be different, and could not be made so.
    not_varied: Vec<Vary>,
}

/// Queues the rebuilds, waits for them, and says what they say.
pub fn run(spool: &Spool, args: &VerifyArgs) -> Result<ExitCode> {
    let build = super::get::finished(spool, &args.build)?;
    let original = spool.verifiable(&build)?;
    let wish = Wish {
        count: args.count,
        on: args.on.iter().map(|name| known(spool, name)).collect::<Result<_>>()?,
        vary: args.vary.vary.as_deref().map_or(Ok(Vec::new()), words::vary)?,
    };
    owner::become_owner(spool)?;
    let ids = spool.order_rebuilds(&build, &wish, clock::now())?;
    if args.no_wait {
        out::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    for id in &ids {
        match watch::wait(spool, id)? {
            End::Over(outcome) => out::hint(&format!("{id} {outcome}")),
            End::Left(signal) => return Ok(ExitCode::from(128 + signal)),
        }
    }
    say(&judge(spool, &build, &original, &ids)?, args.json)
}

/// A worker that may never connect is a rebuild that waits for ever.
fn known(spool: &Spool, name: &str) -> Result<WorkerName> {
    let name: WorkerName = name.parse()?;
    if !spool.local_workers()?.contains(&name) {
        spool.worker(&name)?;
    }
    Ok(name)
}

fn judge(spool: &Spool, build: &Build<'_>, original: &BuildResult, ids: &[BuildId]) -> Result<Page> {
    let rebuilds = spool.rebuilds_of(&build.id)?;
    let these: Vec<&Rebuilt<'_>> = rebuilds.iter().filter(|one| ids.contains(&one.build.id)).collect();
    let standings = these.iter().map(|one| one.standing(original));
    let verdict = Verdict::of(standings, ids.len());
    let other = these.iter().find(|one| matches!(one.standing(original), Standing::Different { .. }));
    Ok(Page {
        build: build.id.clone(),
        output: original.output,
        verdict,
        first_difference: other.map(|other| first_difference(build, &other.build)).transpose()?,
        rebuilds: these.into_iter().map(|one| row(one, original)).collect(),
    })
}

/// What a rebuild says of a build.
pub fn row(one: &Rebuilt<'_>, original: &BuildResult) -> Row {
    let standing = one.standing(original);
    let result = one.result.as_ref();
    let varied = result.map(|result| result.varied.clone()).unwrap_or_default();
    Row {
        build: one.build.id.clone(),
        worker: result.and_then(|result| result.worker.clone()),
        same_input: matches!(standing, Standing::Same { same_input: true } | Standing::Different { same_input: true }),
        standing: match standing {
            Standing::Open => "open",
            Standing::Same { .. } => "same output",
            Standing::Different { .. } => "different output",
            Standing::Failed => "failed",
        },
        outcome: result.map(|result| result.outcome.clone()),
        output: result.and_then(|result| result.output),
        not_varied: one.rebuild.vary.iter().copied().filter(|vary| !varied.contains_key(vary.word())).collect(),
        varied,
    }
}

fn say(page: &Page, json: bool) -> Result<ExitCode> {
    let count = text::count(page.rebuilds.len(), "rebuild");
    let difference = page.first_difference.as_deref().unwrap_or_default();
    let (said, code) = match page.verdict {
        Verdict::Reproduced => (format!("Reproduced: {count} gave the same\n"), Ok(ExitCode::SUCCESS)),
        Verdict::NotReproduced => (format!("Not reproduced: {difference}\n"), Ok(ExitCode::from(1))),
        Verdict::Unknown => (String::new(), Err(unknown(page, &count))),
    };
    match json {
        true => out::json(page)?,
        false => out::print(&format!("{}\n{}{said}", page.build, rows(&page.rebuilds)))?,
    }
    code
}

fn unknown(page: &Page, count: &str) -> Error {
    Error::new(Kind::TryAgain, format!("{} is not confirmed: some of {count} did not exit 0", page.build))
        .hint("`builder log` shows what they printed")
}

/// Rebuilds as a table.
pub fn rows(rebuilds: &[Row]) -> String {
    let row = |one: &Row| {
        let failed = one.outcome.as_ref().filter(|outcome| !outcome.succeeded());
        let standing = failed.map_or(one.standing.to_owned(), text::outcome);
        let input = if one.outcome.is_none() || failed.is_some() {
            ""
        } else if one.same_input {
            "same input"
        } else {
            "different input"
        };
        let worker = one.worker.as_ref().map(|worker| format!("worker {worker}")).unwrap_or_default();
        vec![one.build.to_string(), standing, input.to_owned(), worker, varied(one)]
    };
    text::table(&rebuilds.iter().map(row).collect::<Vec<_>>())
}

fn varied(one: &Row) -> String {
    let words: Vec<&str> = one.varied.keys().map(String::as_str).collect();
    let not: Vec<&str> = one.not_varied.iter().map(|vary| vary.word()).collect();
    let not = if not.is_empty() || one.outcome.is_none() { String::new() } else { format!("not {}", not.join(",")) };
    let said = if words.is_empty() { String::new() } else { format!("varied {}", words.join(",")) };
    text::tame([said, not].join(" ").trim())
}
