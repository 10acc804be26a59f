//! A worker of FreeBSD's rc(8): what rc.conf has of it, and whether the user who runs its builds can read its key.

use super::Finding;
use super::worker::{Settings, look};
use crate::rc;
use crate::verbs::setup::{Address, Files};
use nix::unistd::User;
use spool::error::Result;
use spool::name::WorkerName;
use std::path::Path;

/// What is found.
pub fn findings(name: &WorkerName, files: &Files) -> Vec<Finding> {
    of(name, files, &rc::Sysrc::default()).unwrap_or_else(|e| vec![Finding::failed(&e)])
}

fn of(name: &WorkerName, files: &Files, sysrc: &rc::Sysrc) -> Result<Vec<Finding>> {
    rc::check(name)?;
    let worker = sysrc.worker(name)?;
    let keys = worker.keys.clone().or_else(|| files.key.parent().map(Path::to_owned)).unwrap_or_default();
    let files = Files {
        key: keys.join("key"),
        known_hosts: keys.join("known_hosts"),
        settings: files.settings.clone(),
        directory: files.directory.clone(),
    };
    // Of jails nothing is there as long as nothing is built, but the pool in which they are made; of the directory for other
    // builds, what it will be made in.
    let place = worker.on_system.as_ref().map_or(Path::new("/"), |(_, directory)| directory);
    let place = place.ancestors().find(|place| place.exists()).unwrap_or(place);
    let server: Address = worker.server.parse()?;
    let work = ["--work".to_owned(), place.display().to_string()];
    let settings = Settings { server, options: [&worker.options[..], &work].concat() };
    let mut findings = look(&files, &settings);
    findings.extend(worker.on_system.iter().filter_map(|(user, _)| reader(user, &files.key)));
    if !worker.is_started {
        findings.push(Finding::mend(
            format!("rc.conf does not have {name} started"),
            format!("say `sysrc builder_worker_enable=YES builder_worker_profiles+={name}`"),
        ));
    }
    Ok(findings)
}

/// Without a jail, who runs the builds needs the key, and that is not the superuser.
fn reader(user: &str, key: &Path) -> Option<Finding> {
    let Ok(Some(found)) = User::from_name(user) else {
        return Some(Finding::mend(format!("there is no user {user} to run its builds"), "make one, or name another"));
    };
    let barrier = rc::barrier(key, found.uid.as_raw())?;
    let keys = key.parent().unwrap_or(key).display();
    Some(Finding::mend(
        format!("{user}, who runs its builds, is kept from the key by {}", barrier.display()),
        format!("say `chown -R {user} {keys}` and `chmod a+x {keys}/..`, or give it jails"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::setup::Files;
    use std::path::PathBuf;

    /// A sysrc(8) that knows these variables.
    fn sysrc(dir: &Path, variables: &str) -> rc::Sysrc {
        let path = dir.join("sysrc");
        let text = format!("#!/bin/sh\n{variables}\neval \"[ -n \\\"\\${{$2+set}}\\\" ] && echo \\\"\\$$2\\\"\"\n");
        let done = std::process::Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .args([path.as_os_str(), text.as_ref()])
            .status();
        assert!(done.unwrap().success());
        rc::Sysrc::at(path)
    }

    fn said(name: &str, dir: &Path, variables: &str) -> String {
        let directory = dir.to_owned();
        let files = Files { key: dir.join("a/key"), known_hosts: PathBuf::new(), settings: PathBuf::new(), directory };
        match of(&name.parse().unwrap(), &files, &sysrc(dir, variables)) {
            Ok(findings) => findings.iter().map(|one| format!("{one}\n")).collect(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn what_keeps_a_profile_from_its_builds_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let all = format!("builder_worker_server=ssh://b@farm builder_worker_keys={}/elsewhere", dir.path().display());
        let said = |name: &str, more: &str| said(name, dir.path(), &format!("{all} {more}"));
        assert!(said("a-b", "").contains("no profile"), "{}", said("a-b", ""));
        assert!(said("a", "builder_worker_server=").contains("no server for the worker a"));
        let found = said("a", "builder_worker_user=nobody");
        for words in
            ["elsewhere/key", "nobody, who runs its builds, is kept from the key by", "rc.conf does not have a"]
        {
            assert!(found.contains(words), "{words}: {found}");
        }
        assert!(said("a", "builder_worker_user=no.such.user").contains("there is no user no.such.user"));
        let found = said("a", "builder_worker_snapshot=p/q@r builder_worker_enable=YES builder_worker_profiles='b a'");
        assert!(!found.contains("who runs") && !found.contains("rc.conf does not"), "{found}");
    }
}
