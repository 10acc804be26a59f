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
    of(name, files).unwrap_or_else(|e| vec![Finding::failed(&e)])
}

fn of(name: &WorkerName, files: &Files) -> Result<Vec<Finding>> {
    rc::check(name)?;
    let worker = rc::Sysrc::default().worker(name)?;
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
