//! What sshd would do for a worker: asked of sshd itself, by `sshd -T` (sshd(8)).

use super::server::owner;
use super::{Finding, admission};
use crate::{program, text};
use spool::Spool;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where it is, in this order.
const PROGRAMS: [&str; 2] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];

/// The settings that are in effect for the owner of a spool.
pub struct Sshd {
    settings: Vec<(String, String)>,
}

impl Sshd {
    /// Asks for the settings for the owner of this spool; `file` is their file, when it is not the system's.
    ///
    /// # Errors
    /// When there is no sshd, or its configuration is wrong, or this user may not read it.
    pub fn ask(root: &Path, file: Option<&Path>) -> Result<Sshd> {
        let program = PROGRAMS.iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
            Error::new(Kind::NoInput, "there is no sshd on this machine")
                .hint("install OpenSSH's server: workers come in by it")
        })?;
        let mut sshd = Command::new(program);
        sshd.arg("-T");
        if let Some(file) = file {
            sshd.arg("-f").arg(std::path::absolute(file).unwrap_or(file.to_owned()));
        }
        if let Some(user) = user_of(root) {
            sshd.args(["-C", &format!("user={user},host=localhost,addr=127.0.0.1")]);
        }
        let done = program::run(&mut sshd, "")?;
        if !done.status.success() {
            let wrong = Error::new(Kind::Config, format!("sshd does not say its settings: {}", done.complaint));
            return Err(wrong.hint(match rustix::process::geteuid().is_root() {
                true => "`sshd -t` says what is wrong",
                false => "only the superuser can ask",
            }));
        }
        let setting =
            |line: &str| line.split_once(' ').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Ok(Sshd { settings: done.output.lines().filter_map(setting).collect() })
    }

    /// The first value of a setting.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// All values of a setting that may be given more than once.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.settings.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

fn user_of(root: &Path) -> Option<String> {
    let meta = root.metadata().ok()?;
    nix::unistd::User::from_uid(meta.uid().into()).ok().flatten().map(|user| user.name)
}

/// Whether a worker would get in, as far as sshd's settings go.
pub fn findings(spool: &Spool, config: &Config, sshd: &Result<Sshd>) -> Result<Vec<Finding>> {
    let sshd = match sshd {
        Ok(sshd) => sshd,
        Err(e) if rustix::process::geteuid().is_root() => return Ok(vec![Finding::failed(e)]),
        Err(e) => return Ok(vec![Finding::unknown("what sshd does for workers", e.to_string())]),
    };
    let mut findings = vec![keys(spool, config, sshd)?, subsystem(sshd)];
    if sshd.first("pubkeyauthentication") != Some("yes") {
        findings.push(Finding::mend("sshd takes no keys", "its settings need `PubkeyAuthentication yes`"));
    }
    if sshd
        .first("authenticationmethods")
        .is_some_and(|all| !all.split(' ').any(|one| ["any", "publickey"].contains(&one)))
    {
        findings.push(Finding::mend("sshd wants more than a key", "workers need `AuthenticationMethods publickey`"));
    }
    findings.extend(admission::keeps_out(sshd, &owner(spool)?));
    Ok(findings)
}

/// sshd must read the keys that `builder worker add` writes, or ask for them.
fn keys(spool: &Spool, config: &Config, sshd: &Sshd) -> Result<Finding> {
    let owner = owner(spool)?;
    let command = sshd.first("authorizedkeyscommand").unwrap_or("none");
    if command.contains("authorized-keys") {
        let (program, user) = (command.split(' ').next().unwrap_or_default(), sshd.first("authorizedkeyscommanduser"));
        return Ok(match user == Some(owner.name.as_str()) {
            true => asked_for_keys(spool, program)?,
            false => Finding::mend(
                format!("sshd asks for keys as {}", user.unwrap_or("nobody")),
                format!("its settings need `AuthorizedKeysCommandUser {}`", owner.name),
            ),
        });
    }
    let here = spool.layout().authorized_keys();
    let files = sshd.first("authorizedkeysfile").unwrap_or_default();
    let resolved = |file: &str| {
        let file = file.replace("%h", &owner.dir.display().to_string()).replace("%u", &owner.name);
        if file.starts_with('/') { PathBuf::from(file) } else { owner.dir.join(file) }
    };
    let reads = files.split(' ').map(resolved).any(|file| file == here);
    Ok(match reads {
        true => read_from(spool, &here)?,
        false => Finding::mend(
            "sshd does not know the workers' keys",
            format!(
                "its settings need `AuthorizedKeysCommand {} authorized-keys %t %k` and `AuthorizedKeysCommandUser {}`",
                config.builder_run_program().display(),
                owner.name
            ),
        ),
    })
}

/// Each worker's key must stand there, with its forced command.
fn read_from(spool: &Spool, file: &Path) -> Result<Finding> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let has = |key: &str| text.lines().any(|line| line.starts_with("restrict,command=") && line.contains(key));
    let workers = spool.workers()?;
    let keys = workers.iter().filter_map(|(name, worker)| Some((name, worker.as_ref().ok()?.key.as_ref()?)));
    let missing: Vec<&str> = keys.filter(|(_, key)| !has(&key.to_string())).map(|(name, _)| name.as_str()).collect();
    Ok(match missing.as_slice() {
        [] => Finding::ok(format!("sshd reads the workers' keys from {}", file.display())),
        some => Finding::mend(
            format!("{} lacks the keys of {}", file.display(), some.join(", ")),
            "let them in anew, by `builder worker rm` and `builder worker add`",
        ),
    })
}

/// sshd runs no command that somebody else could have changed, on the whole way to it (sshd_config(5)).
fn asked_for_keys(spool: &Spool, program: &str) -> Result<Finding> {
    for path in Path::new(program).ancestors() {
        let Ok(meta) = path.metadata() else {
            return Ok(Finding::mend(
                format!("{} is not there", path.display()),
                "sshd asks it for the workers' keys: install it",
            ));
        };
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Ok(Finding::mend(
                format!("sshd will not run {program}: others can change {}", path.display()),
                format!("say `chown root {0}` and `chmod go-w {0}`", path.display()),
            ));
        }
    }
    let workers = spool.workers()?;
    let mut unknown = Vec::new();
    for (name, worker) in workers.iter().filter_map(|(name, worker)| Some((name, worker.as_ref().ok()?))) {
        let Some(key) = &worker.key else { continue };
        let (root, key) = (spool.layout().root(), key.to_string());
        let mut command = Command::new(program);
        command.args(["authorized-keys", "--spool"]).arg(root).args(key.split(' ').take(2));
        let done = program::run(&mut command, "")?;
        if !done.status.success() || !done.output.contains("command=") {
            unknown.push(name.as_str());
        }
    }
    Ok(match unknown.as_slice() {
        [] => Finding::ok(format!(
            "sshd asks {program} for keys, and is told those of {}",
            text::count(workers.len(), "worker")
        )),
        some => Finding::mend(
            format!("{program} does not know the keys of {}", some.join(", ")),
            format!("see what `{program} authorized-keys` says"),
        ),
    })
}

fn subsystem(sshd: &Sshd) -> Finding {
    match sshd.all("subsystem").any(|one| one.split(' ').next() == Some("sftp")) {
        true => Finding::ok("sshd takes artifacts by sftp"),
        false => Finding::mend("sshd takes no artifacts", "its settings need `Subsystem sftp internal-sftp`"),
    }
}
