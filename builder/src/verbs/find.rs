//! `builder find`: every build that has a content.

use crate::args::FindArgs;
use crate::{out, text, words};
use serde::Serialize;
use spool::Spool;
use spool::artifact_path::ArtifactPath;
use spool::build_id::BuildId;
use spool::compare::Having;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use std::io;
use std::path::Path;

#[derive(Serialize)]
struct Found {
    sha256: Sha256,
    size: Option<u64>,
    builds: Vec<Has>,
}

#[derive(Serialize)]
struct Has {
    build: BuildId,
    /// `done` or `failed`.
    state: &'static str,
    paths: Vec<ArtifactPath>,
}

/// Lists the builds, the newest first.
pub fn run(spool: &Spool, args: &FindArgs) -> Result<()> {
    let sha256 = content(spool, args)?;
    let having = spool.having(&sha256)?;
    if having.is_empty() {
        return Err(Error::new(Kind::NoInput, format!("no build has SHA256:{sha256} as an artifact")));
    }
    let has = |one: Having<'_>| Has { state: one.build.place.word(), build: one.build.id, paths: one.paths };
    let found = Found { size: spool.store().size_of(&sha256), sha256, builds: having.into_iter().map(has).collect() };
    match args.json {
        true => out::json(&found),
        false => out::print(&page(&found)),
    }
}

fn content(spool: &Spool, args: &FindArgs) -> Result<Sha256> {
    let Some(path) = args.file() else { return spool.content(&args.what) };
    let hashed = match path == Path::new("-") {
        true => Sha256::of_reader(io::stdin().lock()),
        false => Sha256::of_reader(words::open(path)?),
    };
    hashed.at("read", path).map(|(sha256, _)| sha256)
}

fn page(found: &Found) -> String {
    let size = found.size.map(|size| format!(" ({})", text::size(size))).unwrap_or_default();
    let rows = found.builds.iter().map(|one| {
        let paths: Vec<&str> = one.paths.iter().map(ArtifactPath::as_str).collect();
        vec![one.build.to_string(), one.state.to_owned(), paths.join(" ")]
    });
    format!(
        "SHA256:{}{size}, in {}\n{}",
        found.sha256,
        text::count(found.builds.len(), "build"),
        text::table(&rows.collect::<Vec<_>>())
    )
}
