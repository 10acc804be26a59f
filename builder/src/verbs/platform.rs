//! `builder platform`: platforms under an operator's hand.

use crate::args::{LsArgs, PlatformArgs, PlatformVerb};
use crate::{out, text};
use serde::Serialize;
use spool::error::{Error, Kind, Result};
use spool::name::Platform;
use spool::place::Place;
use spool::platform::State;
use spool::{Spool, clock, owner, suggest};

/// Does what the verb says.
pub fn run(spool: &Spool, verb: &PlatformVerb) -> Result<()> {
    match verb {
        PlatformVerb::Ls(args) => ls(spool, args),
        PlatformVerb::Pause(args) => set(spool, args, State::Open, State::Paused),
        PlatformVerb::Resume(args) => set(spool, args, State::Paused, State::Open),
        PlatformVerb::Drop(args) => drop(spool, args),
        PlatformVerb::Restore(args) => set(spool, args, State::Dropped, State::Open),
    }
}

#[derive(Serialize)]
struct Listed {
    platform: Platform,
    state: State,
    queued: usize,
    running: usize,
    workers: usize,
}

fn ls(spool: &Spool, args: &LsArgs) -> Result<()> {
    let listed = all(spool)?;
    if args.json {
        return out::json(&listed);
    }
    let row = |one: &Listed| {
        let counts = [(one.queued, "queued"), (one.running, "running")].map(|(n, word)| format!("{n} {word}"));
        let workers = text::count(one.workers, "worker");
        [&[one.platform.to_string(), one.state.word().to_owned()][..], &counts[..], &[workers][..]].concat()
    };
    if spool.drains() {
        out::hint("the spool drains: nothing is handed out until `builder drain --off`");
    }
    out::print(&text::table(&listed.iter().map(row).collect::<Vec<_>>()))
}

fn all(spool: &Spool) -> Result<Vec<Listed>> {
    let open = spool.open_builds()?;
    let workers: Vec<_> = spool.workers()?.into_values().filter_map(Result::ok).collect();
    let count = |platform: &Platform, active: bool| {
        open.iter().filter(|one| one.id.platform() == platform && (one.place == Place::Active) == active).count()
    };
    let listed = spool.platform_states()?.into_iter().map(|(platform, state)| Listed {
        queued: count(&platform, false),
        running: count(&platform, true),
        workers: workers.iter().filter(|worker| worker.platforms.contains(&platform)).count(),
        state,
        platform,
    });
    Ok(listed.collect())
}

/// The platform that is meant, and its state. A slip of the fingers must not pause another one.
fn known(spool: &Spool, args: &PlatformArgs) -> Result<(Platform, State)> {
    let platform: Platform = args.platform.parse()?;
    let states = spool.platform_states()?;
    match states.get(&platform) {
        Some(state) => Ok((platform, *state)),
        None => {
            let known = states.keys().map(Platform::as_str);
            let near = suggest::hint(platform.as_str(), known, "`builder platform ls` shows them");
            Err(Error::new(Kind::NoInput, format!("there is no platform {platform}")).hint(near))
        }
    }
}

fn set(spool: &Spool, args: &PlatformArgs, from: State, to: State) -> Result<()> {
    let (platform, state) = known(spool, args)?;
    if state != from {
        return Err(Error::new(Kind::Data, format!("platform {platform} is {}", state.word()))
            .hint("`builder platform ls` shows the states"));
    }
    owner::become_owner(spool)?;
    spool.set_platform(&platform, to, clock::now())?;
    out::print(&format!("platform {platform} is {}\n", to.word()))
}

fn drop(spool: &Spool, args: &PlatformArgs) -> Result<()> {
    let (platform, state) = known(spool, args)?;
    // A crash may have come between the drop and the end of what was queued.
    if state == State::Dropped && spool.queue(&platform)?.is_empty() {
        return Err(Error::new(Kind::Data, format!("platform {platform} is dropped"))
            .hint(format!("`builder platform restore {platform}` takes that back")));
    }
    owner::become_owner(spool)?;
    let taken = spool.set_platform(&platform, State::Dropped, clock::now())?;
    let taken = text::list(&taken, "queued build");
    out::print(&format!("platform {platform} is dropped{taken}\n"))
}
