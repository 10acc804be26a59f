//! A verb on a spool of this machine that is another user's: builderd does it, within the caller's role.

use crate::args::{Cli, Verb};
use crate::terms::terms;
use crate::travel::{self, Input, Parcel};
use crate::verbs;
use clap::ArgMatches;
use rustix::process::geteuid;
use spool::Spool;
use spool::config::Config;
use spool::door::{self, Answer};
use spool::error::{At, Error, Kind, Result};
use spool::role::Role;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// Whether this user can't do it on the spool itself. The owner and the superuser always can; everybody can read what
/// they may enter. It is told beforehand, since a verb that fails may have read its input already.
pub fn is_needed(root: &Path, verb: &Verb) -> bool {
    let Some(role) = terms(verb).role else { return false };
    let me = geteuid();
    match root.metadata() {
        _ if me.is_root() => false,
        Ok(meta) if meta.uid() == me.as_raw() => false,
        Ok(_) if role > Role::Read => true,
        Ok(_) => Spool::open(root).is_err_and(|e| e.kind() == Kind::NoPermission),
        Err(e) => e.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Asks builderd, and exits as the verb does.
pub fn run(root: &Path, config: &Config, cli: &Cli, typed: &ArgMatches) -> Result<ExitCode> {
    let root = std::path::absolute(root).at("find", root)?;
    let Parcel { command, input, unpack } = travel::pack(cli, typed, false)?;
    let socket = config.socket(&root);
    if let Verb::Status(args) = &cli.verb
        && args.nagios
        && door::is_deserted(&socket)
    {
        return Ok(verbs::status::without_builderd(args));
    }
    let builderd = reach(&root, &socket)?;
    let input: OwnedFd = match input {
        Input::Inherited => io::stdin().as_fd().try_clone_to_owned().at("share", "standard input")?,
        Input::File(file) => file.into(),
        Input::Nothing => File::open("/dev/null").at("open", "/dev/null")?.into(),
    };
    let (output, errors) = (io::stdout(), io::stderr());
    match unpack {
        None => {
            door::ask(&builderd, &command, [input.as_fd(), output.as_fd(), errors.as_fd()])?;
            status(&builderd).map(ExitCode::from)
        }
        Some(unpack) => {
            let (reader, writer) = io::pipe().at("make", "a pipe")?;
            door::ask(&builderd, &command, [input.as_fd(), writer.as_fd(), errors.as_fd()])?;
            drop(writer);
            unpack.receive(reader, || status(&builderd))
        }
    }
}

/// The verb's own exit status; or why it was not done, as if it had been found out here.
fn status(builderd: &UnixStream) -> Result<u8> {
    match door::answered(builderd)? {
        Answer { status, line } if line.is_empty() => Ok(status),
        Answer { status, line } => Err(Error::new(Kind::of_code(status), line)),
    }
}

/// Whoever listens gets this user's streams, so it must be the one whose spool it is.
fn reach(root: &Path, socket: &Path) -> Result<UnixStream> {
    let owner = root.metadata().ok().map(|meta| meta.uid());
    let whose = owner.map_or("another user".to_owned(), |uid| format!("user {uid}"));
    let refused = |why: &str| {
        let sudo = owner.map_or("sudo -u OWNER".to_owned(), |uid| format!("sudo -u '#{uid}'"));
        let what = format!("the spool at {} belongs to {whose}, and {why}", root.display());
        Error::new(Kind::NoPermission, what).hint(format!(
            "start builderd, run this as that user with `{sudo} builder …`, go through a server with --host, or use a \
             spool of your own with --spool"
        ))
    };
    let builderd =
        door::connect(socket).map_err(|_| refused(&format!("no builderd answers you at {}", socket.display())))?;
    let (listener, _) = door::peer(&builderd)?;
    match owner {
        Some(uid) if uid != listener && listener != 0 => {
            Err(refused(&format!("what answers at {} is user {listener}'s", socket.display())))
        }
        _ => Ok(builderd),
    }
}
