//! The server's side: its settings, its spool, its programs and its daemon.

use super::{Finding, Sshd, sshd, trust};
use crate::program;
use nix::unistd::User;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::{Spool, durability};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// What is found, the first thing that everything else needs first.
pub fn findings(root: &Path, config: Result<Config>, sshd_config: Option<&Path>) -> Vec<Finding> {
    let config = match config {
        Ok(config) => config,
        Err(e) => return vec![Finding::failed(&e)],
    };
    let spool = match config.open(root) {
        Ok(spool) => spool,
        Err(e) => return vec![Finding::failed(&e)],
    };
    let mut findings = vec![modes(&spool), disk(&spool), room(&spool), daemon(&spool)];
    findings.extend(programs(&config));
    findings.push(shell(&spool));
    findings.extend(trust::findings(&spool, &config).unwrap_or_else(|e| vec![Finding::failed(&e)]));
    let asked = Sshd::ask(root, sshd_config);
    findings.extend(sshd(&spool, &config, &asked).unwrap_or_else(|e| vec![Finding::failed(&e)]));
    findings
}

/// Whether a spool is there by the way only, as the package makes one on a worker's machine: it has no jobs and no workers, and
/// nobody serves it.
pub fn is_idle(root: &Path, config: &Result<Config>) -> bool {
    let Ok(config) = config else { return false };
    let is_unused = |spool: Spool| {
        Ok::<_, Error>(!spool.has_builderd() && spool.job_names()?.is_empty() && spool.workers()?.is_empty())
    };
    config.open(root).and_then(is_unused).unwrap_or(false)
}

/// The user who owns a spool.
///
/// # Errors
/// When the system knows none with that number.
pub fn owner(spool: &Spool) -> Result<User> {
    let (uid, _) = spool.owner()?;
    User::from_uid(uid.into()).ok().flatten().ok_or_else(|| {
        Error::new(Kind::Config, format!("the spool belongs to user {uid}, whom nobody knows"))
            .hint("make the user, or give the spool to another one with `chown -R`")
    })
}

/// sshd trusts no key in a directory that others can write (StrictModes, sshd_config(5)), and builder no spool.
fn modes(spool: &Spool) -> Finding {
    let layout = spool.layout();
    let keys = layout.authorized_keys();
    for path in [Some(layout.root()), keys.parent(), Some(keys.as_path())].into_iter().flatten() {
        let Ok(meta) = path.metadata() else { continue };
        if meta.mode() & 0o022 != 0 {
            let path = path.display();
            return Finding::mend(
                format!("others than its owner can write {path}"),
                format!("say `chmod go-w {path}`"),
            );
        }
    }
    Finding::ok("nobody but its owner can write it")
}

fn disk(spool: &Spool) -> Finding {
    match durability::weakness(spool.layout().root()) {
        None => Finding::ok("its file system keeps what is synced"),
        Some(weakness) => Finding::mend(weakness, "put the spool on another file system"),
    }
}

fn room(spool: &Spool) -> Finding {
    match spool.make_sure_of_room() {
        Ok(()) => Finding::ok("there is room on its disk"),
        Err(e) => Finding::failed(&e),
    }
}

fn daemon(spool: &Spool) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    match (spool.has_builderd(), spool.builderd_release()) {
        (false, _) => {
            Finding::mend("builderd does not run", "start it: nothing is due and nothing is mended without it")
        }
        (true, Some(release)) if release == ours => Finding::ok(format!("builderd runs, of release {ours}")),
        (true, release) => Finding::mend(
            format!("the builderd that runs is of release {}, and this of {ours}", release.as_deref().unwrap_or("?")),
            "restart it",
        ),
    }
}

/// All of one release.
fn programs(config: &Config) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let programs = [config.builder_program(), config.builder_run_program()];
    let release = |path: &Path| {
        let said = program::output(Command::new(path).arg("--version"), "");
        said.map(|said| said.split_whitespace().last().unwrap_or_default().to_owned())
    };
    let finding = |path: &std::path::PathBuf| {
        let is_ready = path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        match is_ready.then(|| release(path)) {
            None => Finding::mend(
                format!("{} is no program", path.display()),
                "install it, or name another in builder.toml",
            ),
            Some(Err(e)) => Finding::failed(&e),
            Some(Ok(version)) if version == ours => Finding::ok(format!("{} is of release {ours}", path.display())),
            Some(Ok(version)) => Finding::mend(
                format!("{} is of release {version}, and this of {ours}", path.display()),
                "install the same release of all programs",
            ),
        }
    };
    programs.iter().map(finding).collect()
}

/// sshd runs forced commands by the owner's shell.
fn shell(spool: &Spool) -> Finding {
    let owner = match owner(spool) {
        Ok(owner) => owner,
        Err(e) => return Finding::failed(&e),
    };
    let shell = owner.shell.display().to_string();
    match shell.ends_with("nologin") || shell.ends_with("/false") {
        false => Finding::ok(format!("{} owns it, with the shell {shell}", owner.name)),
        true => Finding::mend(
            format!("{} has the shell {shell}, by which sshd can run nothing", owner.name),
            format!("say `chsh -s /bin/sh {}`: no key of the spool gives anybody a shell", owner.name),
        ),
    }
}
