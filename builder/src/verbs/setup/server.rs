//! `builder setup server`: a spool, and the line with which a worker is set up.

use super::{Address, host_name};
use crate::args::SetupServerArgs;
use crate::verbs::doctor::{self, Sshd};
use crate::verbs::init;
use crate::{out, program};
use spool::error::{At, Error, Kind, Result};
use spool::worker::PublicKey;
use spool::{Spool, config::Config};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose spool it is when the superuser makes it.
const USER: &str = "builder";

/// Makes a spool where there is none, says what sshd lacks, and prints the line for a worker.
pub fn run(root: &Path, config: &Config, args: &SetupServerArgs) -> Result<()> {
    let sshd = Sshd::ask(root, args.sshd_config.as_deref());
    if Spool::open(root).is_err() {
        make(root)?;
    }
    let spool = config.open(root)?;
    let user = doctor::owner(&spool)?.name;
    let host = args.name.clone().map_or_else(host_name, Ok)?;
    let port = sshd.as_ref().ok().and_then(|sshd| sshd.first("port")?.parse().ok()).filter(|port| *port != 22);
    let server: Address = format!("ssh://{user}@{host}").parse()?;
    let server = Address { port, ..server };
    let key = host_key(sshd.as_ref().ok())?;
    for finding in doctor::sshd(&spool, config, &sshd)?.iter().filter(|finding| !finding.is_well()) {
        out::hint(&finding.to_string());
    }
    out::print(&format!(
        "On a worker's machine, for each platform that it builds:\n  \
         builder setup worker {server} --host-key '{key}' --platform PLATFORM\n"
    ))
}

/// As the user whose spool it is to be; init does the rest.
fn make(root: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return init::run(root);
    }
    let missing = || {
        Error::new(Kind::Config, format!("there is no user {USER} to own the spool"))
            .hint("make one, for example with `systemd-sysusers`, or run this as the user who is to own it")
    };
    let user = nix::unistd::User::from_name(USER).ok().flatten().ok_or_else(missing)?;
    let program = std::env::current_exe().at("find", "this program")?;
    let mut init = Command::new(program);
    init.arg("--spool").arg(root).arg("init");
    use std::os::unix::process::CommandExt;
    init.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    out::print(&program::output(&mut init, "")?)
}

/// The public half of the key by which sshd is known: an ed25519 one, if it has one.
fn host_key(sshd: Option<&Sshd>) -> Result<PublicKey> {
    let named: Vec<PathBuf> = sshd.iter().flat_map(|sshd| sshd.all("hostkey")).map(PathBuf::from).collect();
    let usual = || vec![PathBuf::from("/etc/ssh/ssh_host_ed25519_key"), PathBuf::from("/etc/ssh/ssh_host_ecdsa_key")];
    let files = if named.is_empty() { usual() } else { named };
    let read = |file: &PathBuf| {
        let mut public = file.clone().into_os_string();
        public.push(".pub");
        std::fs::read_to_string(public).ok()?.parse::<PublicKey>().ok()
    };
    let mut keys: Vec<PublicKey> = files.iter().filter_map(read).collect();
    keys.sort_by_key(|key| !key.to_string().starts_with("ssh-ed25519 "));
    keys.into_iter().next().ok_or_else(|| {
        Error::new(Kind::NoInput, "sshd has no host key here")
            .hint("install OpenSSH's server; `ssh-keygen -A` makes keys")
    })
}
