//! `builder latest`: of each platform the newest build of a job that exited 0.

use crate::args::LatestArgs;
use crate::{out, text};
use jiff::Timestamp;
use serde::Serialize;
use spool::Spool;
use spool::build_id::BuildId;
use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use spool::find::Build;
use spool::inputs::Main;
use spool::name::{JobName, Platform};
use std::path::PathBuf;

#[derive(Serialize)]
struct Latest {
    platform: Platform,
    build: BuildId,
    directory: PathBuf,
    finished: Option<Timestamp>,
    artifacts: u64,
    output: Option<Sha256>,
    main: Option<Main>,
}

/// Lists them, by platform.
pub fn run(spool: &Spool, args: &LatestArgs) -> Result<()> {
    let name: JobName = args.name.parse()?;
    let platform = args.platform.as_deref().map(str::parse::<Platform>).transpose()?;
    let wanted = |(at, _): &(Platform, Build<'_>)| platform.as_ref().is_none_or(|platform| platform == at);
    let latest: Vec<Latest> = spool.latest_of(&name)?.into_iter().filter(wanted).map(latest).collect();
    if latest.is_empty() {
        if spool.newest_of(&name, None)?.is_none() {
            spool.job(&name)?;
        }
        let place = platform.map(|platform| format!(" on {platform}")).unwrap_or_default();
        return Err(Error::new(Kind::NoInput, format!("no build of {name} has exited 0 yet{place}"))
            .hint(format!("`builder history {name}` tells how they went")));
    }
    match args.json {
        true => out::json(&latest),
        false => out::print(&text::table(&latest.iter().map(row).collect::<Vec<_>>())),
    }
}

/// One whose record is damaged is the latest all the same.
fn latest((platform, build): (Platform, Build<'_>)) -> Latest {
    let result = build.result().ok().flatten();
    Latest {
        platform,
        directory: build.dir(),
        finished: result.as_ref().map(|result| result.finished),
        artifacts: result.as_ref().map_or(0, |result| result.artifacts),
        output: result.as_ref().and_then(|result| result.output),
        main: result.and_then(|result| result.main),
        build: build.id,
    }
}

fn row(one: &Latest) -> Vec<String> {
    let artifacts = text::count(one.artifacts as usize, "artifact");
    let main = one.main.as_ref().map(|main| format!("{} SHA256:{}", main.path, main.sha256)).unwrap_or_default();
    vec![one.platform.to_string(), one.build.to_string(), artifacts, main]
}
