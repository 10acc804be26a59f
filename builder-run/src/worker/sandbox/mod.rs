//! In what scripts run, when the worker itself stays outside.
//!
//! Whatever it is, it executes one program of the build's directory, [`start`], and finds that directory at the same
//! path as the worker does. What the script sees, its variables, its umask(2) and where it is, comes from there.

pub mod fresh_root;
pub mod inside;
pub mod limits;
mod start;
mod trial;

pub use trial::Inside;

use super::place::{Place, Room};
use super::process::{self, Start};
use crate::args::SandboxArgs;
use limits::{Cell, Limits};
use spool::error::{At, Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a sandbox calls itself.
const HOST: &str = "builder";

/// The user of a build in bwrap, who has nothing to do with that of the same number outside.
const USER: &str = "1000";

/// A sandbox that can be made, as far as its words tell.
#[derive(Debug)]
pub struct Sandbox {
    kind: Wrapping,
    /// How many processes a build may have, when the sandbox is to see to it.
    tasks: Option<u32>,
}

#[derive(Debug)]
enum Wrapping {
    Bwrap(Root),
    Nspawn(Root),
    /// Words of a command.
    Other(Vec<String>),
}

/// The system that scripts find.
#[derive(Debug)]
struct Root {
    directory: PathBuf,
    /// How much of it a build may change, in bytes.
    changes: u64,
}

impl Sandbox {
    /// The one that was asked for. What can't work for the user that the worker is, is refused.
    pub fn of(args: &SandboxArgs, place: &Place, identity: Option<&Path>) -> Result<Option<Sandbox>> {
        let Some(named) = args.sandbox.as_deref() else { return Ok(None) };
        let root = || root(args, place, identity);
        let superuser = rustix::process::geteuid().is_root();
        let kind = match named {
            "bwrap" if superuser => {
                return Err(Error::new(
                    Kind::Usage,
                    "--sandbox bwrap is not for the superuser, whom it would not hold",
                )
                .hint("run the worker as a user of its own, or take --sandbox nspawn"));
            }
            "bwrap" => Wrapping::Bwrap(root()?),
            "nspawn" if !superuser => {
                return Err(Error::new(Kind::Usage, "--sandbox nspawn needs the superuser")
                    .hint("an ordinary user takes --sandbox bwrap"));
            }
            "nspawn" => Wrapping::Nspawn(root()?),
            command => Wrapping::Other(other(command, args.root.is_some())?),
        };
        Ok(Some(Sandbox { kind, tasks: None }))
    }

    /// Has the sandbox limit the number of processes itself, if it can.
    pub fn limit_tasks(&mut self, tasks: u32) -> bool {
        let can = matches!(self.kind, Wrapping::Bwrap(_));
        self.tasks = can.then_some(tasks);
        can
    }

    /// What it is, for the record.
    pub fn describe(&self) -> String {
        match &self.kind {
            Wrapping::Bwrap(_) => version("bwrap").unwrap_or_else(|| "bwrap".into()),
            Wrapping::Nspawn(_) => version("systemd-nspawn").unwrap_or_else(|| "systemd-nspawn".into()),
            Wrapping::Other(words) => words.join(" ").chars().filter(|c| !c.is_control()).take(200).collect(),
        }
    }

    /// Puts the script of a room into the sandbox. It gets these variables, and no others.
    pub fn start(
        &self,
        room: &Room,
        environment: &BTreeMap<String, String>,
        umask: u32,
        network: bool,
        limits: &Limits,
    ) -> Result<Start> {
        room.add_start(&start::text(&process::words(room)?, &room.output(), environment, umask)?)?;
        let mut command = match &self.kind {
            Wrapping::Bwrap(root) => self.fresh(room, root, network, bwrap(room, network))?,
            Wrapping::Nspawn(root) => {
                let mut command = self.fresh(room, root, network, nspawn(room, network))?;
                // What is written to /tmp counts as a change of the root.
                command.env("SYSTEMD_NSPAWN_TMPFS_TMP", "0");
                command
            }
            Wrapping::Other(words) => filled(words, room),
        };
        command.current_dir("/").env("BUILDER_NETWORK", if network { "yes" } else { "no" });
        Ok(Start { command, umask, cell: limits.cell()?, has_inside: !matches!(self.kind, Wrapping::Other(_)) })
    }

    /// A command of ours that makes a fresh root and then becomes this one.
    fn fresh(&self, room: &Room, root: &Root, network: bool, words: Vec<PathBuf>) -> Result<Command> {
        room.add_mounts()?;
        let mut command = Command::new(process::own_program()?);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.arg("fresh-root").arg("--root").arg(&root.directory).arg("--mounts").arg(room.mounts());
        command.arg("--changes").arg(root.changes.to_string()).arg("--dir").arg(room.root());
        command.args(self.tasks.iter().flat_map(|tasks| ["--tasks".to_owned(), tasks.to_string()]));
        command.args(network.then_some("--network")).arg("--").args(words);
        Ok(command)
    }
}

/// bubblewrap(1): namespaces of all kinds, no capability, nothing of this machine but the build's directories.
fn bwrap(room: &Room, network: bool) -> Vec<PathBuf> {
    let mounts = room.mounts();
    let mut words = vec![PathBuf::from("bwrap")];
    words.extend(["--unshare-user", "--unshare-all"].map(PathBuf::from));
    words.extend(network.then(|| "--share-net".into()));
    words.extend(
        [
            "--disable-userns",
            "--die-with-parent",
            "--cap-drop",
            "ALL",
            "--hostname",
            HOST,
            "--uid",
            USER,
            "--gid",
            USER,
        ]
        .map(PathBuf::from),
    );
    let mut mount = |how: &str, from: &Path, to: &Path| words.extend([how.into(), from.to_owned(), to.to_owned()]);
    mount("--bind", &mounts.join(fresh_root::FRESH), Path::new("/"));
    for (shown, writable) in shown(room) {
        mount(if writable { "--bind" } else { "--ro-bind" }, &shown, &shown);
    }
    words.extend(["--proc", "/proc", "--dev", "/dev", "--bind"].map(PathBuf::from));
    words.extend([mounts.join(fresh_root::SHARED_MEMORY), "/dev/shm".into()]);
    words.extend(["--remount-ro", "/dev", "--"].map(PathBuf::from));
    words.push(room.start());
    words
}

/// systemd-nspawn(1): a user namespace in which the superuser can install packages, and is nobody to this machine.
fn nspawn(room: &Room, network: bool) -> Vec<PathBuf> {
    let mut words = vec![PathBuf::from("systemd-nspawn")];
    words.extend(["--quiet", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe"].map(PathBuf::from));
    words.extend(["--private-users=identity", "--link-journal=no", "--timezone=off"].map(PathBuf::from));
    // Two workers may be at work, and what it keeps in /run goes by this name.
    let machine = format!("--machine={HOST}-{}", std::process::id());
    words.extend([machine, format!("--hostname={HOST}"), "--resolv-conf=off".to_owned()].map(PathBuf::from));
    words.extend((!network).then(|| "--private-network".into()));
    let mut option = |name: &str, value: &Path| {
        let mut word = std::ffi::OsString::from(name);
        word.push(value);
        words.push(word.into());
    };
    option("--directory=", &room.mounts().join(fresh_root::FRESH));
    for (shown, writable) in shown(room) {
        option(if writable { "--bind=" } else { "--bind-ro=" }, &shown);
    }
    let mut memory = room.mounts().join(fresh_root::SHARED_MEMORY).into_os_string();
    memory.push(":/dev/shm");
    option("--bind=", Path::new(&memory));
    words.extend(["--".into(), room.start()]);
    words
}

/// What a script finds of the worker's files, and whether it may change that. The console is not for it.
fn shown(room: &Room) -> Vec<(PathBuf, bool)> {
    let mut shown = vec![(room.start(), false), (room.script(), false)];
    shown.extend([room.output(), room.home(), room.temporary()].map(|path| (path, true)));
    shown.extend(room.secrets().is_dir().then(|| (room.secrets(), false)));
    shown
}

/// A command for a build: each word stays one, whatever is filled in.
fn filled(words: &[String], room: &Room) -> Command {
    let (dir, script) = (room.root().display().to_string(), room.start().display().to_string());
    let mut filled = words.iter().map(|word| word.replace("{dir}", &dir).replace("{script}", &script));
    let mut command = Command::new(filled.next().unwrap_or_default());
    command.args(filled);
    command
}

fn other(command: &str, has_root: bool) -> Result<Vec<String>> {
    let wrong = |why: &str| {
        let shown: String = command.chars().take(200).flat_map(char::escape_default).collect();
        Error::new(Kind::Usage, format!("--sandbox `{shown}` {why}"))
            .hint("give bwrap, nspawn, or a command such as 'chroot /jail {script}'")
    };
    let words = shell_words::split(command).map_err(|_| wrong("has a quote without its other half"))?;
    if !words.iter().any(|word| word.contains("{script}")) {
        return Err(wrong("does not say what it is to run: {script}"));
    }
    if has_root {
        return Err(wrong("knows its root itself, and --root is for bwrap and nspawn"));
    }
    Ok(words)
}

/// The root must be a system of its own: what the worker may read, and a build may not, lies elsewhere.
fn root(args: &SandboxArgs, place: &Place, identity: Option<&Path>) -> Result<Root> {
    let named = args.root.as_deref().ok_or_else(|| {
        Error::new(Kind::Usage, "--sandbox needs a root").hint("--root DIR names one; debian/worker-root makes it")
    })?;
    let directory = named.canonicalize().at("find", named)?;
    let wrong = |why: String| Error::new(Kind::Usage, format!("--root {} {why}", named.display()));
    if !directory.is_dir() {
        return Err(wrong("is no directory".into()));
    }
    if place.is_below(&directory) {
        return Err(wrong("has the worker's own files in it".into()).hint("name a directory with a system of its own"));
    }
    if place.others()? != 0 {
        let work = place.root().display();
        return Err(Error::new(Kind::Usage, format!("--work {work} lets other users in, and files of builds out"))
            .hint(format!("`chmod go-rwx {work}`")));
    }
    if let Some(key) = identity.filter(|key| key.canonicalize().is_ok_and(|key| key.starts_with(&directory))) {
        return Err(wrong(format!("has the worker's key in it, {}", key.display())).hint("keep the key elsewhere"));
    }
    let misread = |odd: char| format!("has {odd:?} in its path, which mount(8) and systemd-nspawn(1) would misread");
    if let Some(odd) = odd(&directory) {
        return Err(wrong(misread(odd)));
    }
    if let Some(odd) = odd(place.root()) {
        let work = place.root().display();
        return Err(Error::new(Kind::Usage, format!("--work {work} {}", misread(odd)))
            .hint("name another directory with --work"));
    }
    Ok(Root { directory, changes: args.changes.bytes() })
}

/// What has a meaning between the options of a mount.
fn odd(path: &Path) -> Option<char> {
    path.to_string_lossy().chars().find(|c| matches!(c, ':' | ',' | '\\') || c.is_control())
}

/// The first line in which a program says which it is.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let first = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
    let number = first.split_ascii_whitespace().nth(1)?;
    Some(format!("{program} {number}"))
}

/// Makes a limit that nothing keeps an error.
pub fn limits(args: &SandboxArgs, sandbox: Option<&mut Sandbox>) -> Result<Limits> {
    let wanted = limits::Wanted::of(args)?;
    Limits::open(&wanted).or_else(|e| {
        // In a user namespace, RLIMIT_NPROC counts no processes but the build's own (user_namespaces(7)).
        let by_sandbox = sandbox.zip(wanted.only_tasks()).is_some_and(|(sandbox, tasks)| sandbox.limit_tasks(tasks));
        if by_sandbox { Ok(Limits::default()) } else { Err(e) }
    })
}

/// A plain start, beside the worker.
pub fn beside(room: &Room, environment: &BTreeMap<String, String>, umask: u32, cell: Option<Cell>) -> Result<Start> {
    Ok(Start { command: process::command(room, environment)?, umask, cell, has_inside: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_what_it_runs_and_words_stay_whole() {
        let words = other("docker run -v {dir}:{dir} 'an image' {script}", false).unwrap();
        assert_eq!(words, ["docker", "run", "-v", "{dir}:{dir}", "an image", "{script}"]);
        for (command, says) in [("docker run", "{script}"), ("a 'b {script}", "a quote"), ("", "{script}")] {
            assert!(other(command, false).unwrap_err().to_string().contains(says), "{command}");
        }
        assert!(other("x {script}", true).unwrap_err().to_string().contains("knows its root itself"));
    }
}
