//! The forced command: all that a worker's key can do.

mod allowance;
mod building;
mod confine;
mod link;
pub mod session;
mod signed;
mod space;
mod streams;
mod throttle;
mod upload;
mod words;

pub use streams::Streams;

use crate::args::ServeArgs;
use confine::Needed;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::{Spool, disk, owner};
use std::os::fd::AsFd;
use std::path::Path;

/// What sshd was asked for, told by SSH_ORIGINAL_COMMAND (sshd(8), "ForceCommand").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The builds of a worker.
    Session,
    /// Its uploads.
    Sftp,
}

/// What the variable asks for. For a subsystem it has sshd's own setting of it: a path or `internal-sftp`, and options.
///
/// # Errors
/// [`Kind::NoPermission`] for anything else.
pub fn asked(original: Option<&str>) -> Result<Asked> {
    let Some(original) = original else { return Ok(Asked::Session) };
    let first = original.split_ascii_whitespace().next().unwrap_or("serve");
    match Path::new(first).file_name().and_then(|name| name.to_str()) {
        Some("internal-sftp" | "sftp-server") => Ok(Asked::Sftp),
        _ if original.trim() == "serve" || original.trim().is_empty() => Ok(Asked::Session),
        _ => {
            let shown: String = original.chars().take(60).flat_map(char::escape_default).collect();
            Err(Error::new(Kind::NoPermission, format!("this key can't run `{shown}`"))
                .hint("it is a builder worker's key, which runs builds with `builder-run worker` and nothing else"))
        }
    }
}

/// Serves one session, or the uploads that belong to it.
pub fn run(args: &ServeArgs, config: &Config) -> Result<()> {
    let original = std::env::var_os("SSH_ORIGINAL_COMMAND").map(|text| text.to_string_lossy().into_owned());
    let asked = asked(original.as_deref())?;
    let spool = config.open(&args.spool.spool(config)?)?;
    owner::become_owner(&spool)?;
    confine::bound(&config.limits);
    let streams = Streams::standard()?;
    match asked {
        Asked::Session => {
            confine_to(&spool, config)?;
            session::run(&spool, config, &args.worker, args.local, streams)
        }
        Asked::Sftp => upload::run(&spool, config, &args.worker, streams),
    }
}

/// A session needs the spool, and the secrets that it hands out. Their directory may be made while a worker is connected.
fn confine_to(spool: &Spool, config: &Config) -> Result<()> {
    let root = spool.layout().root();
    let root = disk::open_dir(root).at("open", root)?;
    let secrets = disk::open_dir(&config.secrets);
    let secrets = secrets.or_else(|_| disk::open_dir(config.secrets.parent().unwrap_or(Path::new("/"))));
    let mut needed = vec![Needed { directory: root.as_fd(), writes: true }];
    needed.extend(secrets.iter().map(|secrets| Needed { directory: secrets.as_fd(), writes: false }));
    confine::confine(&needed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_and_sftp_can_be_asked_for() {
        assert_eq!(asked(None).unwrap(), Asked::Session);
        assert_eq!(asked(Some("serve")).unwrap(), Asked::Session);
        assert_eq!(asked(Some("internal-sftp -f AUTH -l INFO")).unwrap(), Asked::Sftp);
        assert_eq!(asked(Some("/usr/lib/openssh/sftp-server")).unwrap(), Asked::Sftp);
        for other in ["sh", "serve --worker other", "scp -t /", "rm -rf /", "serve;sh"] {
            assert_eq!(asked(Some(other)).unwrap_err().kind(), Kind::NoPermission, "{other}");
        }
    }
}
