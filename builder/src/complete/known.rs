//! What there is: of a spool that has 100,000 builds, only the newest are looked at, by their names.

use super::takes::Takes;
use crate::args::Cli;
use crate::words;
use clap::{ArgMatches, CommandFactory};
use spool::Spool;
use spool::build_id::BuildId;
use spool::clock;
use spool::config::Config;
use spool::error::Result;
use spool::place::{End, Place};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// So many builds that are over are looked at, and so many of each queue are named.
const NEWEST: usize = 200;

/// Where those builds are that are over, either way.
const OVER: Place = Place::Ended(End::Done);

/// What a word can become, and what that is.
type Candidates = Vec<(String, Option<String>)>;

/// The spool that is meant, and what was typed so far.
pub struct Known {
    typed: ArgMatches,
}

impl Known {
    /// Reads a line that is not complete yet.
    pub fn of(words: &[String]) -> Known {
        Known { typed: Cli::command().ignore_errors(true).get_matches_from(words) }
    }

    /// What the word at the cursor can become.
    pub fn completes(&self, what: Takes, word: &str) -> Result<Candidates> {
        let found = match what {
            Takes::Words(words) => plain(words.iter().map(ToString::to_string)),
            Takes::Zone => plain(jiff::tz::db().available().map(|name| name.to_string())),
            Takes::Template => plain(templates(&self.config()?)?),
            _ if self.typed.contains_id("host") => Vec::new(),
            _ => self.of_spool(what, word)?,
        };
        Ok(found.into_iter().filter(|(value, _)| value.starts_with(word)).collect())
    }

    fn of_spool(&self, what: Takes, word: &str) -> Result<Candidates> {
        let spool = &self.spool()?;
        Ok(match what {
            Takes::Job => plain(jobs(spool)?),
            Takes::JobOrNone => plain(jobs(spool)?.into_iter().chain(["none".to_owned()])),
            Takes::Build(wanted) => builds(spool, word, wanted)?,
            Takes::Artifact => self.artifacts(spool, word)?,
            Takes::Platform(wanted) => {
                let states = spool.platform_states()?.into_iter().filter(|(_, state)| wanted(*state));
                states.map(|(platform, state)| (platform.to_string(), Some(state.word().to_owned()))).collect()
            }
            Takes::PlatformOrAll => {
                let known = spool.platforms()?.into_iter().map(|platform| platform.to_string());
                plain(known.chain(["all".to_owned()]))
            }
            Takes::Worker(quarantined) => {
                let names = spool.workers()?.into_keys();
                let wanted = |name: &_| !quarantined || spool.quarantined(name, clock::now()).is_some();
                plain(names.filter(wanted).map(|name| name.to_string()))
            }
            _ => Vec::new(),
        })
    }

    fn config(&self) -> Result<Config> {
        Config::read(self.path("config").as_deref())
    }

    fn spool(&self) -> Result<Spool> {
        let config = self.config()?;
        config.open(&self.path("spool").unwrap_or(config.spool.clone()))
    }

    /// A path that was typed, or stands in the environment. No shell has expanded it yet.
    fn path(&self, option: &str) -> Option<PathBuf> {
        let path = self.typed.try_get_one::<PathBuf>(option).ok()??;
        let home = path.strip_prefix("~").ok().and_then(|rest| Some(std::env::home_dir()?.join(rest)));
        Some(home.unwrap_or(path.clone()))
    }

    /// The artifacts of the build that was named, as far as the next slash.
    fn artifacts(&self, spool: &Spool, word: &str) -> Result<Candidates> {
        let get = self.typed.subcommand_matches("get");
        let Some(build) = get.and_then(|get| get.try_get_one::<String>("build").ok()?) else { return Ok(Vec::new()) };
        let newest = build.parse().ok().and_then(|job| spool.newest_done_of(&job).ok()?);
        let build = newest.map_or_else(|| spool.resolve(build), Ok)?;
        let (manifest, mut found) = (build.manifest()?, BTreeSet::new());
        for path in manifest.iter().map(|(path, _)| path.as_str()).filter(|path| path.starts_with(word)) {
            let end = path[word.len()..].find('/').map_or(path.len(), |slash| word.len() + slash + 1);
            found.insert(path[..end].to_owned());
        }
        Ok(plain(found))
    }
}

fn plain(values: impl IntoIterator<Item = String>) -> Candidates {
    values.into_iter().map(|value| (value, None)).collect()
}

fn jobs(spool: &Spool) -> Result<BTreeSet<String>> {
    Ok(spool.job_names()?.iter().map(ToString::to_string).collect())
}

/// Jobs, and builds, the newest first: by their ids; by the ends of these where the word begins nothing else.
fn builds(spool: &Spool, word: &str, wanted: fn(&Place) -> bool) -> Result<Candidates> {
    let builds = newest(spool, word, wanted)?;
    let mut found: Candidates =
        jobs(spool)?.into_iter().map(|job| (job, Some("its newest build".to_owned()))).collect();
    if !wanted(&OVER) {
        found.retain(|(job, _)| builds.iter().any(|(id, _)| id.job().as_str() == job));
    }
    found.extend(builds.iter().map(|(id, place)| (id.to_string(), Some(place.word().to_owned()))));
    if found.iter().any(|(value, _)| value.starts_with(word)) {
        return Ok(found);
    }
    let about = |id: &BuildId, place: &Place| format!("{} of {} on {}", place.word(), id.job(), id.platform());
    Ok(builds.iter().map(|(id, place)| (id.tail().to_owned(), Some(about(id, place)))).collect())
}

/// Builds whose ids, or the ends of these, begin with a word: all that run, the newest of each queue, and those of the
/// newest that are over.
fn newest(spool: &Spool, word: &str, wanted: fn(&Place) -> bool) -> Result<Vec<(BuildId, Place)>> {
    let fits = |id: &str| id.starts_with(word) || id.rsplit('-').next().is_some_and(|end| end.starts_with(word));
    let mut builds: Vec<(BuildId, Place)> =
        spool.active_builds()?.into_iter().map(|build| (build.id, build.place)).collect();
    for platform in spool.platforms()? {
        let queued = spool.newest_queued(&platform, NEWEST, fits)?;
        builds.extend(queued.into_iter().map(|ticket| (ticket.id.clone(), Place::Queued(ticket))));
    }
    if wanted(&OVER) {
        builds.extend(spool.ended_builds(NEWEST, |_| true)?.into_iter().map(|build| (build.id, build.place)));
    }
    builds.retain(|(id, place)| wanted(place) && fits(id.as_str()));
    builds.sort_by(|a, b| b.0.cmp(&a.0));
    Ok(builds)
}

/// The installed templates, and the names that stand for some of them.
fn templates(config: &Config) -> Result<BTreeSet<String>> {
    let names = words::installed_templates(config)?;
    let groups: Vec<String> = names.iter().filter_map(|name| Some(name.split_once('.')?.0.to_owned())).collect();
    Ok(names.into_iter().chain(groups).filter(|name| !name.is_empty()).collect())
}
