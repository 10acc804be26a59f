//! A worker's side: its files, and what the server says when it comes.

use super::{Finding, profile};
use crate::verbs::setup::{Address, Files, is_known};
use crate::{program, rc, text};
use serde::Deserialize;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::name::WorkerName;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Clocks that are further apart make the times in records useless, in seconds.
const CLOSE: f64 = 5.0;

/// A build needs some room, in bytes.
const ROOM: u64 = 1 << 30;

/// The workers that were set up here.
pub fn all(directory: &Path) -> Vec<WorkerName> {
    if Files::are_rcs_in(directory) {
        return rc::profiles(directory);
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".env")?.parse().ok();
    let mut names: Vec<WorkerName> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// What is found.
pub fn findings(name: &WorkerName, files: &Files) -> Vec<Finding> {
    if files.are_rcs() {
        return profile::findings(name, files);
    }
    match Settings::read(name, files) {
        Ok(settings) => look(files, &settings),
        Err(e) => vec![Finding::failed(&e)],
    }
}

/// What is found of a worker with these settings.
pub fn look(files: &Files, settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![key(files)];
    match is_known(&settings.server, &files.known_hosts) {
        Ok(true) => findings.push(Finding::ok(format!("the host key of {} is pinned", settings.server.host))),
        Ok(false) => findings.push(Finding::mend(
            format!("the host key of {} is not known", settings.server.host),
            format!("say `builder setup worker {} --host-key …` again", settings.server),
        )),
        Err(e) => findings.push(Finding::failed(&e)),
    }
    // What is wrong with the files would only be said again.
    let can_ask = findings.iter().all(|one| one.is_well());
    findings.push(room(&settings.builds_in(files)));
    if can_ask {
        findings.extend(server(files, settings));
    }
    findings
}

/// What `builder-worker@.service` reads.
pub struct Settings {
    /// The server.
    pub server: Address,
    /// The worker's options.
    pub options: Vec<String>,
}

impl Settings {
    fn read(name: &WorkerName, files: &Files) -> Result<Settings> {
        let path = &files.settings;
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(
                    Kind::NoInput,
                    format!("there is no worker {name} in {}", files.directory.display()),
                )
                .hint("`builder setup worker` makes one"));
            }
            read => read.at("read", path)?,
        };
        let setting =
            |name: &str| text.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        let wrong = |why: String| Error::new(Kind::Config, format!("{}: {why}", path.display()));
        let server = setting("SERVER").ok_or_else(|| wrong("there is no line SERVER=ssh://USER@HOST".into()))?;
        let words = |text: &str| shell_words::split(text).map_err(|e| wrong(format!("OPTIONS: {e}")));
        let server: String = words(server)?.concat();
        // systemd takes what stands in quotes as one word, and then splits it.
        let options = words(&words(setting("OPTIONS").unwrap_or_default())?.join(" "))?;
        Ok(Settings { server: server.parse().map_err(|e: Error| wrong(e.to_string()))?, options })
    }
}

impl Settings {
    /// Where builds have their directories: where the options say, else where the units or this user's programs have them.
    fn builds_in(&self, files: &Files) -> PathBuf {
        let named = self.options.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--work=") {
            Some(named) => Some(named),
            None => (word == "--work").then(|| self.options.get(at + 1).map(String::as_str))?,
        });
        match (named, files.are_systems()) {
            (Some(named), _) => PathBuf::from(named),
            (None, true) => PathBuf::from("/var/tmp"),
            (None, false) => std::env::temp_dir(),
        }
    }
}

/// ssh takes no private key that others can read (ssh(1)).
fn key(files: &Files) -> Finding {
    let path = files.key.display();
    match files.key.metadata() {
        Err(_) => Finding::mend(format!("there is no key {path}"), "say `builder setup worker` again"),
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            Finding::mend(format!("others than its owner can read the key {path}"), format!("say `chmod 600 {path}`"))
        }
        Ok(_) => Finding::ok(format!("{path} is its key")),
    }
}

/// Builds need some of it.
fn room(dir: &Path) -> Finding {
    let free = rustix::fs::statvfs(dir).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let say = |free| format!("{} are free in {} for builds", text::size(free), dir.display());
    match free {
        Ok(free) if free < ROOM => Finding::mend(say(free), "make room there, or give another directory with --work"),
        Ok(free) => Finding::ok(say(free)),
        Err(e) => Finding::mend(format!("can't look at {}: {e}", dir.display()), "make that directory"),
    }
}

/// What `builder-run worker --check` says.
#[derive(Deserialize)]
struct Found {
    version: String,
    ahead_seconds: Option<f64>,
}

fn server(files: &Files, settings: &Settings) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let mut worker = Command::new(Config::default().builder_run_program());
    worker.args(["worker", "--check", &settings.server.to_string(), "--identity"]).arg(&files.key);
    worker.arg("--known-hosts").arg(&files.known_hosts).args(&settings.options);
    let done = match program::run(&mut worker, "") {
        Ok(done) => done,
        Err(e) => return vec![Finding::failed(&e)],
    };
    let said = done.complaint.strip_prefix("builder-run: ").unwrap_or(&done.complaint).to_owned();
    // The only thing that refuses a worker because all is well.
    if said.contains("is connected already") {
        return vec![Finding::ok(format!("it is connected to {} now", settings.server))];
    }
    let Ok(found) = serde_json::from_str::<Found>(&done.output) else {
        return vec![Finding { state: super::State::Mend, what: said, mend: None }];
    };
    let mut findings = vec![Finding::ok(format!("{} lets it in, and takes what it makes", settings.server))];
    findings.push(match found.version == ours {
        true => Finding::ok(format!("both sides are of release {ours}")),
        false => Finding::mend(
            format!("the server is of release {}, and this of {ours}", found.version),
            "install the same release on both sides",
        ),
    });
    findings.extend(found.ahead_seconds.map(clock));
    findings
}

fn clock(ahead: f64) -> Finding {
    let (apart, way) = (ahead.abs(), if ahead < 0.0 { "behind" } else { "ahead of" });
    match apart < CLOSE {
        true => Finding::ok(format!("the clocks are {apart:.1} s apart")),
        false => Finding::mend(
            format!("the server's clock is {apart:.0} s {way} this one"),
            "have both set by the network, for example by systemd-timesyncd(8) or ntpd(8)",
        ),
    }
}
