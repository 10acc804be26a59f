//! `builder history`: how the builds of a job went, the newest first.

use crate::args::HistoryArgs;
use crate::{out, text};
use serde::Serialize;
use spool::Spool;
use spool::build_id::BuildId;
use spool::error::{Error, Kind, Result};
use spool::name::{JobName, Platform};
use spool::record::BuildResult;

#[derive(Serialize)]
struct Listed {
    build: BuildId,
    #[serde(flatten)]
    result: Option<BuildResult>,
}

/// Lists the finished builds of a job.
pub fn run(spool: &Spool, args: &HistoryArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let builds = spool.ended_of(&name, platform.as_ref(), args.most)?;
    if builds.is_empty() && spool.newest_of(&name, None)?.is_none() {
        spool.job(&name)?;
    }
    let listed = builds.into_iter().map(|build| Listed { result: build.result().ok().flatten(), build: build.id });
    let listed: Vec<Listed> = listed.collect();
    if args.json {
        return out::json(&listed);
    }
    if listed.is_empty() {
        return Err(Error::new(Kind::NoInput, format!("no build of {name} is over yet"))
            .hint(format!("`builder run {name}` queues one")));
    }
    out::print(&text::table(&listed.iter().map(row).collect::<Vec<_>>()))
}

/// The end of an id is short, and enough for `builder show`.
fn row(one: &Listed) -> Vec<String> {
    let id = one.build.as_str();
    let mut row = vec![id[id.len() - 6..].to_owned(), text::minute(one.build.time()), one.build.platform().to_string()];
    match &one.result {
        None => row.push("its record is damaged".to_owned()),
        Some(result) => row.extend([
            text::outcome(&result.outcome),
            text::duration(result.duration_ms),
            result.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            result.output.map(|output| output.to_string()[..8].to_owned()).unwrap_or_default(),
        ]),
    }
    row
}
