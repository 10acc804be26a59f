//! What the worker says of itself, and what goes into every build from its system.

use spool::digest::Sha256;
use spool::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::job::Job;
use super::place::Room;
use super::sandbox::{Inside, Sandbox};
use super::vary::Circumstances;

/// Operating system, kernel, architecture, cores, memory and versions. Of a sandbox, the operating system is that of its
/// root.
pub fn describe(sandbox: Option<&Sandbox>, inputs: &Inputs) -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let mut system = BTreeMap::from([
        ("kernel".to_owned(), format!("{} {}", text(uname.sysname()), text(uname.release()))),
        ("arch".to_owned(), text(uname.machine())),
        ("builder".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("os".to_owned(), inputs.os().unwrap_or_else(|| text(uname.sysname()))),
    ]);
    system.extend(sandbox.map(|sandbox| ("sandbox".to_owned(), sandbox.describe())));
    if let Ok(cores) = std::thread::available_parallelism() {
        system.insert("cores".into(), cores.to_string());
    }
    if let Some(memory) = memory() {
        system.insert("memory_bytes".into(), memory.to_string());
    }
    system
}

/// The system's name, from the text of os-release(5).
pub fn os_name_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

#[cfg(target_os = "linux")]
fn memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    Some(info.totalram as u64 * u64::from(info.mem_unit))
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Option<u64> {
    None
}

/// Refuses variables that a script could not have, or that are the worker's own to set.
pub fn check_environment(given: &[String]) -> Result<()> {
    for pair in given {
        let name = pair.split_once('=').map(|(name, _)| name);
        let valid = name.is_some_and(|name| {
            !name.is_empty()
                && !name.starts_with("BUILDER_")
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        if !valid || pair.contains(['\n', '\0']) {
            return Err(Error::new(Kind::Usage, format!("--env {} is not NAME=VALUE", pair.escape_default()))
                .hint("names have letters, digits and '_', and do not start with BUILDER_"));
        }
    }
    Ok(())
}

/// The variables that a script gets.
pub struct Environment {
    /// All of them.
    pub all: BTreeMap<String, String>,
    /// Those that do not differ from build to build, as the file `environment` has them.
    pub recorded: Vec<u8>,
}

/// PATH, unless the worker was given another one.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The PATH that the worker was given for scripts.
pub fn given_path(given: &[String]) -> Option<&str> {
    given.iter().rev().find_map(|pair| pair.strip_prefix("PATH="))
}

/// What is different for a rebuild; nothing for any other build.
pub fn circumstances(job: &Job, given: &[String], inputs: &Inputs) -> Circumstances {
    let path = given_path(given).unwrap_or(PATH);
    match &inputs.inside {
        Some(inside) => Circumstances::on(&inside.system, &job.vary, job.rebuild, path),
        None => Circumstances::here(&job.vary, job.rebuild, path),
    }
}

/// A clean environment: nothing of the worker's own but what was asked for. What is varied is not on the record.
pub fn environment(job: &Job, room: Option<&Room>, given: &[String], varied: &Circumstances) -> Environment {
    let id = &job.id;
    let mut steady = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("BUILDER_JOB".to_owned(), id.job().to_string()),
        ("BUILDER_PLATFORM".to_owned(), id.platform().to_string()),
    ]);
    steady.extend(job.source_date.map(|seconds| ("SOURCE_DATE_EPOCH".to_owned(), seconds.to_string())));
    steady.extend(
        given.iter().filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let recorded: String = steady.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let mut all = steady;
    if let Some(room) = room {
        all.insert("HOME".into(), room.home().display().to_string());
        all.insert("TMPDIR".into(), room.temporary().display().to_string());
        if !job.secrets.is_empty() {
            all.insert("BUILDER_SECRETS".into(), room.secrets().display().to_string());
        }
    }
    all.insert("BUILDER_BUILD".into(), id.to_string());
    all.extend(varied.variables.clone());
    Environment { all, recorded: recorded.into_bytes() }
}

/// What goes into every build from the system in which it runs. Of this machine, the list of packages is asked for again only
/// when the package database has changed; into a sandbox, somebody looks for each build.
#[derive(Default)]
pub struct Inputs {
    packages: Option<(Vec<u8>, Sha256)>,
    as_of: Option<SystemTime>,
    inside: Option<Inside>,
}

/// A package database, and the command that lists it, sorted, a package a line.
pub const DATABASES: [(&str, &[&str]); 4] = [
    ("/var/lib/dpkg/status", &["dpkg-query", "-W", "-f=${Package} ${Version} ${Architecture}\\n"]),
    ("/var/db/pkg/local.sqlite", &["pkg", "query", "%n %v %q"]),
    ("/lib/apk/db/installed", &["apk", "list", "--installed", "--quiet"]),
    ("/var/lib/rpm", &["rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\\n"]),
];

impl Inputs {
    /// Takes what was found in a sandbox.
    pub fn set_inside(&mut self, found: Inside) {
        self.inside = Some(found);
    }

    /// Looks at the system again.
    pub fn refresh(&mut self) {
        let Some((database, command)) = DATABASES.iter().find(|(database, _)| Path::new(database).exists()) else {
            return;
        };
        let changed = std::fs::metadata(database).and_then(|meta| meta.modified()).ok();
        if self.packages.is_some() && changed == self.as_of {
            return;
        }
        let listed = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        self.packages = listed.ok().filter(|output| output.status.success()).map(|output| {
            let mut lines: Vec<&[u8]> = output.stdout.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort();
            let list = lines.concat();
            let digest = Sha256::of(&list);
            (list, digest)
        });
        self.as_of = changed;
    }

    /// The list and its digest, where the system has one.
    pub fn packages(&self) -> Option<(&[u8], Sha256)> {
        let packages = match &self.inside {
            Some(inside) => &inside.packages,
            None => &self.packages,
        };
        packages.as_ref().map(|(list, digest)| (list.as_slice(), *digest))
    }

    /// The name of the operating system.
    fn os(&self) -> Option<String> {
        match &self.inside {
            Some(inside) => inside.os.clone(),
            None => os_name_in(&std::fs::read_to_string("/etc/os-release").ok()?),
        }
    }
}
