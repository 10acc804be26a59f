//! `builder setup worker`: a key, the server's host key, the settings, and the line that the server needs.
#![allow(clippy::disallowed_methods)]

use super::host_key::{self, KNOWN_HOSTS};
use super::{Address, host_name};
use crate::args::SetupWorkerArgs;
use crate::words::platforms;
use crate::{out, program, rc};
use nix::unistd::User;
use spool::error::{At, Error, Kind, Result};
use spool::name::{Platform, WorkerName};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the system has them.
#[cfg(target_os = "freebsd")]
const WORKERS: &str = "/usr/local/etc/builder/workers";
/// Where the system has them.
#[cfg(not(target_os = "freebsd"))]
const WORKERS: &str = "/etc/builder/workers";

/// A worker's files.
pub struct Files {
    /// Where all of them are.
    pub directory: PathBuf,
    /// Its private key; the public one is beside it.
    pub key: PathBuf,
    /// The host keys of servers.
    pub known_hosts: PathBuf,
    /// What `builder-worker@.service` reads: the server and the options.
    pub settings: PathBuf,
}

impl Files {
    /// Where they are, or are to be.
    pub fn of(name: &WorkerName, directory: Option<&Path>) -> Result<Files> {
        let directory = Files::directory(directory)?;
        // rc.d/builder_worker has a directory for each.
        let (key, known_hosts) = match cfg!(target_os = "freebsd") {
            true => (directory.join(name.as_str()).join("key"), directory.join(name.as_str()).join(KNOWN_HOSTS)),
            false => (directory.join(format!("{name}.key")), directory.join(KNOWN_HOSTS)),
        };
        Ok(Files { settings: directory.join(format!("{name}.env")), key, known_hosts, directory })
    }

    /// The directory that was named, else the system's for the superuser, and one of the user's own for anybody else.
    pub fn directory(named: Option<&Path>) -> Result<PathBuf> {
        if let Some(named) = named {
            return std::path::absolute(named).at("find", named);
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from(WORKERS));
        }
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
        let missing =
            || Error::new(Kind::Config, "there is no home directory").hint("give a directory with --directory");
        Ok(config.ok_or_else(missing)?.join("builder/workers"))
    }

    /// Whether they are the system's, which its services read.
    pub fn are_systems(&self) -> bool {
        self.directory == Path::new(WORKERS)
    }

    /// Whether rc.conf has a worker's settings, which else are in a file.
    pub fn are_rcs(&self) -> bool {
        Files::are_rcs_in(&self.directory)
    }

    /// Whether it has those of the workers whose files are in this directory.
    pub fn are_rcs_in(directory: &Path) -> bool {
        cfg!(target_os = "freebsd") && directory == Path::new(WORKERS)
    }

    /// The public key, as one line.
    fn public(&self) -> PathBuf {
        let mut name = self.key.clone().into_os_string();
        name.push(".pub");
        name.into()
    }
}

/// Sets up a worker, or says again what the server needs of one that is.
pub fn run(args: &SetupWorkerArgs) -> Result<()> {
    let server: Address = args.server.parse()?;
    let platforms = platforms(&args.platforms)?;
    let name = name(args)?;
    let files = Files::of(&name, args.directory.as_deref())?;
    let user = match files.are_rcs() {
        true => Some(rc::check(&name).and_then(|()| user_of(&name))?),
        false => None,
    };
    for dir in [Some(files.directory.as_path()), files.key.parent()].into_iter().flatten() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).at("make", dir)?;
    }
    host_key::pin(&server, args.host_key.as_deref(), &files.known_hosts)?;
    make_key(&name, &files)?;
    match (user, files.key.parent()) {
        (Some(Some(user)), Some(keys)) => rc::give(keys, user.uid.as_raw(), user.gid.as_raw())?,
        (Some(_), _) => out::hint(&format!(
            "rc.conf has a jail for each build of {name}, which needs an address: `sysrc builder_worker_{name}_jail_flags='-a ADDRESS'`"
        )),
        (None, _) => write_settings(&server, &platforms, &files)?,
    }
    out::print(&next_steps(&server, &platforms, &name, &files)?)
}

/// Who is to read a worker's key, of those whom rc.conf knows; nobody but the superuser where it has a jail for each build.
fn user_of(name: &WorkerName) -> Result<Option<User>> {
    let user = match rc::Sysrc::default().worker(name) {
        Ok(rc::Worker { on_system: None, .. }) => return Ok(None),
        Ok(rc::Worker { on_system: Some((user, _)), .. }) => user,
        Err(_) => rc::USER.to_owned(),
    };
    let missing = || {
        Error::new(Kind::Config, format!("there is no user {user} to run its builds"))
            .hint("the package makes one: install it, or give a directory of yours with --directory")
    };
    User::from_name(&user).ok().flatten().map(Some).ok_or_else(missing)
}

/// The first label of this machine's name, unless another name was given.
fn name(args: &SetupWorkerArgs) -> Result<WorkerName> {
    if let Some(name) = &args.name {
        return name.parse();
    }
    let host = host_name()?;
    let label = host.split('.').next().unwrap_or_default();
    label.parse().map_err(|_| {
        Error::new(Kind::Usage, format!("`{}` can't be a worker's name", label.escape_default()))
            .hint("give one with --name")
    })
}

/// A key that is there is kept: somebody may have let it in already.
fn make_key(name: &WorkerName, files: &Files) -> Result<()> {
    if files.key.exists() {
        return Ok(());
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name.as_str(), "-f"]).arg(&files.key);
    program::output(&mut keygen, "").map(drop)
}

fn write_settings(server: &Address, platforms: &[Platform], files: &Files) -> Result<()> {
    let options: Vec<String> = platforms.iter().map(|platform| format!("--platform {platform}")).collect();
    let text = format!("SERVER={server}\nOPTIONS={}\n", options.join(" "));
    match std::fs::read_to_string(&files.settings) {
        Ok(there) if there == text => return Ok(()),
        Ok(_) => {
            let path = files.settings.display();
            return Err(Error::new(Kind::CantCreate, format!("{path} has other settings"))
                .hint("edit that file, remove it, or give the worker another name with --name"));
        }
        Err(_) => {}
    }
    let draft = tempfile::NamedTempFile::new_in(&files.directory).at("make a file in", &files.directory)?;
    draft
        .as_file()
        .write_all(text.as_bytes())
        .and_then(|()| draft.as_file().sync_all())
        .at("write", &files.settings)?;
    draft.persist_noclobber(&files.settings).map_err(|e| e.error).at("write", &files.settings).map(drop)
}

/// What is to be typed on the server, and then here.
fn next_steps(server: &Address, platforms: &[Platform], name: &WorkerName, files: &Files) -> Result<String> {
    let public = std::fs::read_to_string(files.public()).at("read", files.public())?;
    let options: Vec<String> = platforms.iter().map(|platform| format!("--platform {platform}")).collect();
    let options = options.join(" ");
    let word = |path: &Path| shell_words::quote(&path.display().to_string()).into_owned();
    let is_systems = files.are_systems();
    let (settings, start) = match (is_systems, files.are_rcs()) {
        (_, true) => (format!("{}\n  ", rc::settings(name, &server.to_string(), platforms)), rc::start(name)),
        (true, false) => (String::new(), format!("systemctl enable --now builder-worker@{name}")),
        (false, false) => {
            let (key, known) = (word(&files.key), word(&files.known_hosts));
            let line = format!("builder-run worker {server} --identity {key} --known-hosts {known} {options} --keep");
            (String::new(), line)
        }
    };
    let directory = if is_systems { String::new() } else { format!(" --directory {}", word(&files.directory)) };
    let public = shell_words::quote(public.trim()).into_owned();
    Ok(format!(
        "On the server:\n  echo {public} | builder worker add {name} {options}\n\
         Then here:\n  {settings}builder doctor {name}{directory}\n  {start}\n"
    ))
}
