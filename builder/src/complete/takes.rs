//! What each argument takes of what a spool knows: the only place that says so.

use spool::place::Place;
use spool::platform::State;

/// What an argument takes.
#[derive(Clone, Copy)]
pub enum Takes {
    /// A file of the caller.
    File,
    /// A directory of the caller.
    Directory,
    /// One of some words.
    Words(&'static [&'static str]),
    /// A time zone.
    Zone,
    /// A job.
    Job,
    /// A job, or none.
    JobOrNone,
    /// A build that is at such a place, or a job that stands for its newest.
    Build(fn(&Place) -> bool),
    /// An artifact of the build that was named before.
    Artifact,
    /// A platform in such a state.
    Platform(fn(State) -> bool),
    /// A platform, or all.
    PlatformOrAll,
    /// A worker; only those that are in quarantine.
    Worker(bool),
    /// A template, or its file.
    Template,
}

/// What the argument with this id takes.
pub fn takes(verb: &[&str], argument: &str) -> Option<Takes> {
    use Takes::*;
    Some(match (verb, argument) {
        (["export"], "output") => File,
        (_, "spool" | "output" | "directory") => Directory,
        (_, "files" | "config" | "script" | "from" | "key" | "what" | "signers" | "sshd_config") => File,
        (_, "every") => Words(&["hourly", "daily", "weekly", "never"]),
        (["gate"], "role") => Words(&["read", "submit", "admin"]),
        (_, "tz") => Zone,
        (_, "after") => JobOrNone,
        (["set" | "edit" | "rm" | "run" | "next" | "history" | "latest"], "name") => Job,
        (["cancel"], "build") => Build(|place| !matches!(place, Place::Ended(_))),
        (["get" | "pin" | "unpin" | "verify" | "repro" | "export" | "verify-signature"], "build") => {
            Build(|place| matches!(place, Place::Ended(_)))
        }
        (["diff"], "left" | "right") => Build(|place| matches!(place, Place::Ended(_))),
        (["watch" | "log" | "show"], "build") => Build(|_| true),
        (["get"], "paths") => Artifact,
        (["platform", "pause"], "platform") => Platform(|state| state == State::Open),
        (["platform", "resume"], "platform") => Platform(|state| state == State::Paused),
        (["platform", "drop"], "platform") => Platform(|state| state != State::Dropped),
        (["platform", "restore"], "platform") => Platform(|state| state == State::Dropped),
        (["add" | "set"], "platforms") => PlatformOrAll,
        (_, "platform" | "platforms") => Platform(|_| true),
        (["worker", "rm"], "name") | (["verify"], "on") => Worker(false),
        (["worker", "release"], "name") => Worker(true),
        (["add" | "import"], "template") | (["template", "show"], "name") => Template,
        _ => return None,
    })
}
