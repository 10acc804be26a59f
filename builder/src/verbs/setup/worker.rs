//! `builder setup worker`: a key, the server's host key, the settings, and the line that the server needs.
#![allow(clippy::disallowed_methods)]

use super::host_key::{self, KNOWN_HOSTS};
use super::{Address, host_name};
use crate::args::SetupWorkerArgs;
use crate::words::platforms;
use crate::{out, program};
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
    if cfg!(target_os = "freebsd") && name.as_str().contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        return Err(Error::new(Kind::Usage, format!("rc(8) can have no profile `{name}`"))
            .hint("give a name of letters, digits and '_' with --name"));
    }
    for dir in [Some(files.directory.as_path()), files.key.parent()].into_iter().flatten() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).at("make", dir)?;
    }
    host_key::pin(&server, args.host_key.as_deref(), &files.known_hosts)?;
    make_key(&name, &files)?;
    write_settings(&server, &platforms, &files)?;
    out::print(&next_steps(&server, &platforms, &name, &files)?)
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
    let platforms: Vec<String> = platforms.iter().map(|platform| format!("--platform {platform}")).collect();
    let platforms = platforms.join(" ");
    let word = |path: &Path| shell_words::quote(&path.display().to_string()).into_owned();
    let is_systems = files.are_systems();
    let start = match (is_systems, cfg!(target_os = "freebsd")) {
        (true, true) => {
            format!(
                "sysrc builder_worker_profiles+={name} builder_worker_{name}_server={server} && service builder_worker start {name}"
            )
        }
        (true, false) => format!("systemctl enable --now builder-worker@{name}"),
        (false, _) => {
            let (key, known) = (word(&files.key), word(&files.known_hosts));
            format!("builder-run worker {server} --identity {key} --known-hosts {known} {platforms} --keep")
        }
    };
    let directory = if is_systems { String::new() } else { format!(" --directory {}", word(&files.directory)) };
    let public = shell_words::quote(public.trim()).into_owned();
    Ok(format!(
        "On the server:\n  echo {public} | builder worker add {name} {platforms}\n\
         Then here:\n  builder doctor {name}{directory}\n  {start}\n"
    ))
}
