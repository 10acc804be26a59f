//! What there is in a sandbox, as a script of the worker's own finds it. That it can be found is the proof that the sandbox can be
//! made.

use super::limits::Limits;
use super::{Sandbox, inside};
use crate::worker::place::{Place, Room};
use crate::worker::process::{self, Start};
use crate::worker::system::{DATABASES, PATH, os_name_in};
use crate::worker::vary::System;
use rustix::process::Pid;
use spool::digest::Sha256;
use spool::error::{At, Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a sandbox may take to be made.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest list of packages, in bytes.
const LONGEST: u64 = 16 << 20;

/// What was found.
#[derive(Default)]
pub struct Inside {
    /// os-release(5).
    pub os: Option<String>,
    /// The packages, sorted, a line each.
    pub packages: Option<(Vec<u8>, Sha256)>,
    /// What rebuilds can have different.
    pub system: System,
}

impl Sandbox {
    /// Makes one, looks round in it, and removes it.
    ///
    /// # Errors
    /// It can't be made, or builds would not find their directory in it. What the sandbox says of it is in the error.
    pub fn examine(&self, place: &Place, limits: &Limits, path: Option<&str>) -> Result<Inside> {
        let room = place.trial(script().as_bytes())?;
        let environment = BTreeMap::from([
            ("PATH".to_owned(), path.unwrap_or(PATH).to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), room.home().display().to_string()),
        ]);
        let start = self.start(&room, &environment, 0o022, false, limits)?;
        let ended = run(start, &room)?;
        if !ended || !room.output().join("whole").is_file() {
            return Err(failed(&room, ended));
        }
        let read = |name: &str| {
            let mut text = Vec::new();
            let file = File::open(room.output().join(name)).ok()?;
            file.take(LONGEST).read_to_end(&mut text).ok().map(|_| text)
        };
        let text = |name: &str| read(name).map(|text| String::from_utf8_lossy(&text).into_owned());
        let packages = read("packages").map(|list| {
            let mut lines: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort();
            let list = lines.concat();
            let digest = Sha256::of(&list);
            (list, digest)
        });
        let faketime = text("faketime").and_then(|text| text.lines().next().map(Into::into));
        let system = System { locales: text("locales").unwrap_or_default(), faketime };
        Ok(Inside { os: text("os-release").and_then(|text| os_name_in(&text)), packages, system })
    }
}

/// Each thing goes into a file of its own, in the directory where a build would leave it.
fn script() -> String {
    let mut script = "#!/bin/sh\n\
        for file in /etc/os-release /usr/lib/os-release; do\n\
        \x20   [ -r \"$file\" ] && { cat \"$file\" >os-release; break; }\n\
        done\n\
        for file in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 \
        /usr/lib64/faketime/libfaketimeMT.so.1; do\n\
        \x20   [ -f \"$file\" ] && { echo \"$file\" >faketime; break; }\n\
        done\n\
        locale -a >locales\n"
        .to_owned();
    for (database, command) in DATABASES {
        let words = shell_words::join(command);
        script += &format!("[ ! -e packages ] && [ -e {database} ] && {{ {words} >packages || rm packages; }}\n");
    }
    script + "echo >whole\n"
}

/// Runs a start to its end. False when it had to be ended.
fn run(start: Start, room: &Room) -> Result<bool> {
    let said = File::create_new(room.said()).at("create", room.said())?;
    let Start { mut command, umask, cell, .. } = start;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    process::new_session(&mut command, umask, cell.as_ref())?;
    let mut child = process::spawn(&mut command).map_err(|e| {
        Error::new(Kind::Config, format!("the sandbox can't be started: {}: {e}", command.get_program().display()))
    })?;
    let ended = wait(&mut child, Instant::now() + PATIENCE);
    inside::kill(Pid::from_child(&child));
    let _ = child.wait();
    Ok(ended)
}

fn wait(child: &mut Child, until: Instant) -> bool {
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    false
}

/// The last line that the sandbox said is the one with its reason.
fn failed(room: &Room, ended: bool) -> Error {
    let mut said = Vec::new();
    let _ = File::open(room.said()).and_then(|file| file.take(64 << 10).read_to_end(&mut said));
    let said = String::from_utf8_lossy(&said);
    let reason = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let reason = match ended {
        true => reason.unwrap_or("it said nothing, and a script did not find its directory in it"),
        false => "it was not there after 60 seconds",
    };
    Error::new(Kind::Config, format!("the sandbox can't be made: {reason}"))
        .hint("builder-run(8) says what each kind of sandbox needs")
}
