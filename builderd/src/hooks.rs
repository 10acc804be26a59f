//! Hooks: what a sysadmin wants to happen after each build, as programs in a directory.
//!
//! As run-parts(8) has it: in the order of their names, which have letters, digits, `_` and `-` only; executable
//! regular files only. They run one at a time in a thread of their own, so that none holds up the schedule; a
//! failure or a time-out is logged, and changes nothing.
//!
//! SECURITY. A hook runs as the daemon's user; one that others could have written is left out.

use crate::deadline;
use rustix::process::{Pid, Signal, kill_process_group};
use spool::build_id::BuildId;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::job::Ended;
use spool::place::End;
use spool::{Spool, hook, wake};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// A build for the hooks.
struct Task {
    ended: Ended,
    before: Option<End>,
    rules: Rules,
}

/// What builder.toml says of hooks.
#[derive(Clone)]
struct Rules {
    directory: PathBuf,
    limit: Duration,
}

impl Rules {
    fn of(config: &Config) -> Rules {
        Rules { directory: config.hooks.clone(), limit: Duration::from_secs(config.hook_seconds.into()) }
    }
}

/// The thread that runs hooks, and what it has done.
pub struct Hooks {
    rules: Rules,
    tasks: Sender<Task>,
    done: Receiver<BuildId>,
    collected: Option<BuildId>,
}

impl Hooks {
    /// Starts the thread.
    pub fn start(spool: &Spool, config: &Config) -> Hooks {
        let (tasks, to_do) = channel::<Task>();
        let (report, done) = channel();
        let (root, bell) = (spool.layout().root().to_owned(), spool.layout().wake_daemon());
        thread::spawn(move || {
            for task in to_do {
                for hook in found(&task.rules.directory).unwrap_or_default() {
                    run(&hook, &environment(&root, &task), &task.ended.dir, task.rules.limit);
                }
                let _ = report.send(task.ended.id);
                wake::ring(&bell);
            }
        });
        Hooks { rules: Rules::of(config), tasks, done, collected: None }
    }

    /// Those who run from now on do so by these settings.
    pub fn change(&mut self, config: &Config) {
        self.rules = Rules::of(config);
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        match found(&self.rules.directory) {
            Ok(hooks) => !hooks.is_empty(),
            Err(e) => {
                warn!("hooks can't be read: {e}");
                false
            }
        }
    }

    /// Has them run for a build, after those before it.
    pub fn run(&self, ended: Ended, before: Option<End>) {
        let _ = self.tasks.send(Task { ended, before, rules: self.rules.clone() });
    }

    /// A build for which they have run.
    pub fn done(&mut self) -> Option<BuildId> {
        self.collected.take().or_else(|| self.done.try_recv().ok())
    }

    /// Waits until they have run for one more build. False when that will never be.
    pub fn wait(&mut self) -> bool {
        self.collected = self.done.recv().ok();
        self.collected.is_some()
    }
}

/// The hooks, in order.
fn found(directory: &Path) -> Result<Vec<PathBuf>> {
    let me = rustix::process::geteuid().as_raw();
    let mut hooks = hook::all(directory)?;
    hooks.retain(|path| {
        let trusted = hook::is_trusted(path, me);
        if !trusted {
            warn!("{} is left out: others than its owner can change it", path.display());
        }
        trusted
    });
    Ok(hooks)
}

/// What a hook is told, beside the build's directory as its only argument.
fn environment(root: &Path, task: &Task) -> BTreeMap<&'static str, String> {
    let ended = &task.ended;
    let word = |end: End| end.directory().to_owned();
    let mut variables = BTreeMap::from([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("BUILDER_SPOOL", root.display().to_string()),
        ("BUILDER_BUILD", ended.id.to_string()),
        ("BUILDER_JOB", ended.id.job().to_string()),
        ("BUILDER_PLATFORM", ended.id.platform().to_string()),
        ("BUILDER_END", word(ended.end)),
        ("BUILDER_OUTCOME", ended.result.outcome.to_string()),
        ("BUILDER_BEFORE", task.before.map_or("none".to_owned(), word)),
        ("BUILDER_SECONDS", (ended.result.duration_ms / 1000).to_string()),
        ("BUILDER_ORIGIN", ended.request.origin.word().to_owned()),
    ]);
    if let Some(worker) = &ended.result.worker {
        variables.insert("BUILDER_WORKER", worker.to_string());
    }
    variables
}

fn run(hook: &Path, environment: &BTreeMap<&'static str, String>, dir: &Path, limit: Duration) {
    let name = hook.display();
    let build = &environment["BUILDER_BUILD"];
    match carry_out(hook, environment, dir, limit) {
        Ok(status) if status.success() => info!(build, "hook {name} ran"),
        Ok(status) => warn!(build, "hook {name} failed: {status}"),
        Err(e) => warn!(build, "hook {name}: {e}"),
    }
}

fn carry_out(
    hook: &Path,
    environment: &BTreeMap<&'static str, String>,
    dir: &Path,
    limit: Duration,
) -> Result<ExitStatus> {
    let mut command = Command::new(hook);
    // What it prints goes where the daemon's own words go.
    command.arg(dir).env_clear().envs(environment).current_dir("/").stdin(Stdio::null()).stdout(std::io::stderr());
    let mut child = command.process_group(0).spawn().at("start", hook)?;
    match deadline::wait(&mut child, limit).at("wait for", hook)? {
        Some(status) => {
            // What it has left running.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            Ok(status)
        }
        None => Err(Error::new(Kind::TryAgain, deadline::end(child, limit))),
    }
}
