//! `builder.toml`, and which spool is meant.

use crate::artifact_path::ArtifactPath;
use crate::disk;
use crate::error::{At, Error, Kind, Result};
use crate::keep::Keep;
use crate::launch::{self, Launch};
use crate::layout::Layout;
use crate::name::Platform;
use crate::role::Roles;
use crate::room::Reserve;
use crate::spool::resolved;
use crate::worker::ForcedCommand;
use crate::{Spool, record, spool};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[cfg(target_os = "freebsd")]
mod place {
    pub const SPOOL: &str = "/var/db/builder";
    pub const CONFIG: &str = "/usr/local/etc/builder/builder.toml";
    pub const BUILDER: &str = "/usr/local/bin/builder";
    pub const BUILDER_RUN: &str = "/usr/local/libexec/builder/builder-run";
    pub const TEMPLATES: &str = "/usr/local/share/builder/templates";
    pub const HOOKS: &str = "/usr/local/etc/builder/hooks.d";
    pub const SECRETS: &str = "/usr/local/etc/builder/secrets";
}
#[cfg(not(target_os = "freebsd"))]
mod place {
    pub const SPOOL: &str = "/var/lib/builder";
    pub const CONFIG: &str = "/etc/builder/builder.toml";
    pub const BUILDER: &str = "/usr/bin/builder";
    pub const BUILDER_RUN: &str = "/usr/libexec/builder/builder-run";
    pub const TEMPLATES: &str = "/usr/share/builder/templates";
    pub const HOOKS: &str = "/etc/builder/hooks.d";
    pub const SECRETS: &str = "/etc/builder/secrets";
}

/// Everything that a sysadmin can set; each has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file that was named and read; none when it is the system's.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The spool's directory.
    pub spool: PathBuf,
    /// Seconds that a worker may stay away before its build is given to another one.
    pub grace_seconds: u32,
    /// Seconds that a retry waits; four times as long each time, an hour at the most.
    pub retry_seconds: u32,
    /// Seconds for which a worker that fails build after build gets none; twice as long each time, an hour at the most.
    pub quarantine_seconds: u32,
    /// Where builderd finds builder.
    pub builder: PathBuf,
    /// Where sshd finds builder-run.
    pub builder_run: PathBuf,
    /// Where `--template NAME` is looked up.
    pub templates: PathBuf,
    /// The directory of the programs that builderd runs after each build.
    pub hooks: PathBuf,
    /// Seconds that a hook may run.
    pub hook_seconds: u32,
    /// The directory of the jobs' secrets, `JOB/NAME`.
    pub secrets: PathBuf,
    /// Whether builderd seals builds that are over.
    pub seal: bool,
    /// The private key with which it does, or the public half of one that an agent holds; see
    /// [`Spool::server_key`].
    pub signing_key: Option<PathBuf>,
    /// Where builderd listens for those who don't own the spool; see [`Config::socket`].
    pub socket: Option<PathBuf>,
    /// The file that builderd writes for Prometheus, in the directory of node_exporter's textfile collector; none, when
    /// nothing is said.
    pub metrics: Option<PathBuf>,
    /// What a build may send, and how many may wait.
    pub limits: Limits,
    /// How long finished builds are kept, of jobs that say nothing of their own; `disk` is for all together.
    pub keep: Keep,
    /// What local users may do through builderd.
    pub roles: Roles,
    /// The workers that builderd starts when builds of these platforms wait.
    pub launch: BTreeMap<Platform, Launch>,
}

/// What one build may send, beyond which it is refused, and what the disk must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of artifacts.
    pub artifact_bytes: u64,
    /// Number of artifacts.
    pub artifacts: u64,
    /// Bytes of console.
    pub console_bytes: u64,
    /// Bytes of an artifact's path; never more than [`ArtifactPath::LONGEST`](crate::artifact_path::ArtifactPath::LONGEST).
    pub path_bytes: usize,
    /// Seconds that a script may run, whatever its job says.
    pub build_seconds: u64,
    /// Seconds that a worker may take to hand over what a script has left.
    pub handover_seconds: u64,
    /// Bytes a second that a worker may send over one channel; 0 when that does not matter.
    pub bytes_per_second: u64,
    /// Builds that may wait on one platform.
    pub queue: usize,
    /// Bytes that are kept free on the spool's file system for builds to end.
    pub reserve_bytes: u64,
    /// Inodes that are kept free likewise.
    pub reserve_inodes: u64,
    /// What becomes of a build that runs when nothing but these is free.
    pub when_full: WhenFull,
}

/// What becomes of a build for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// It ends as aborted.
    Abort,
    /// It waits until there is room, or its time is over.
    Wait,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            spool: place::SPOOL.into(),
            grace_seconds: 60,
            retry_seconds: 60,
            quarantine_seconds: 60,
            builder: place::BUILDER.into(),
            builder_run: place::BUILDER_RUN.into(),
            templates: place::TEMPLATES.into(),
            hooks: place::HOOKS.into(),
            hook_seconds: 60,
            secrets: place::SECRETS.into(),
            seal: true,
            signing_key: None,
            socket: None,
            metrics: None,
            limits: Limits::default(),
            keep: Keep::default(),
            roles: Roles::default(),
            launch: BTreeMap::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let reserve = Reserve::default();
        Limits {
            artifact_bytes: 64 << 30,
            artifacts: 100_000,
            console_bytes: 16 << 30,
            path_bytes: ArtifactPath::LONGEST,
            build_seconds: 30 * 24 * 3600,
            handover_seconds: 6 * 3600,
            bytes_per_second: 0,
            queue: spool::LONGEST_QUEUE,
            reserve_bytes: reserve.bytes,
            reserve_inodes: reserve.inodes,
            when_full: WhenFull::Abort,
        }
    }
}

impl Config {
    /// Reads the configuration: the file that was named, which must exist, or the system's, which need not.
    pub fn read(named: Option<&Path>) -> Result<Config> {
        let path = named.unwrap_or(Path::new(place::CONFIG));
        let Some(bytes) = disk::read_if_there(path, 1 << 20)? else {
            return match named {
                Some(path) => {
                    Err(Error::new(Kind::NoInput, format!("there is no configuration file {}", path.display())))
                }
                None => Ok(Config::default()),
            };
        };
        let mut config: Config = record::parse_written(path, &bytes, Kind::Config)?;
        let wrong = |e: Error| Error::new(Kind::Config, format!("{}: {e}", path.display()));
        config.keep.check().map_err(wrong)?;
        launch::check(&config.launch).map_err(wrong)?;
        if config
            .metrics
            .as_ref()
            .is_some_and(|file| !file.is_absolute() || file.extension().is_none_or(|end| end != "prom"))
        {
            return Err(wrong(Error::new(Kind::Config, "`metrics` must be an absolute path that ends in .prom")));
        }
        config.file = named.map(|named| std::path::absolute(named).at("find", named)).transpose()?;
        Ok(config)
    }

    /// Opens a spool with the limits that are set here.
    pub fn open(&self, root: &Path) -> Result<Spool> {
        Ok(self.limited(&Spool::open(root)?))
    }

    /// The same spool with the limits that are set here.
    pub fn limited(&self, spool: &Spool) -> Spool {
        spool.clone().with_longest_queue(self.limits.queue).with_reserve(self.reserve())
    }

    /// What is kept free on the spool's file system.
    pub fn reserve(&self) -> Reserve {
        Reserve { bytes: self.limits.reserve_bytes, inodes: self.limits.reserve_inodes }
    }

    /// An installed template's file, when there is one of this name.
    pub fn template(&self, name: &str) -> Option<PathBuf> {
        Some(self.templates.join(name)).filter(|path| path.is_file())
    }

    /// What sshd is to run for workers.
    pub fn forced_command(&self) -> ForcedCommand {
        let config = self.file.as_ref().map(|file| file.display().to_string());
        ForcedCommand { program: self.builder_run_program().display().to_string(), config }
    }

    /// Where builderd of this spool listens. A configured place is that of the configured spool: for another spool it
    /// would be somebody else's builderd, and what is asked there would be done to the wrong spool.
    pub fn socket(&self, root: &Path) -> PathBuf {
        let is_ours = || matches!((resolved(root), resolved(&self.spool)), (Ok(one), Ok(other)) if one == other);
        match &self.socket {
            Some(socket) if is_ours() => socket.clone(),
            _ => Layout::new(root).socket(),
        }
    }

    /// What sshd is to run for workers: the installed program, else the one that sits beside this one.
    pub fn builder_run_program(&self) -> PathBuf {
        installed_or_beside(&self.builder_run, "builder-run")
    }

    /// What builderd is to run for those who don't own the spool, found likewise.
    pub fn builder_program(&self) -> PathBuf {
        installed_or_beside(&self.builder, "builder")
    }
}

fn installed_or_beside(installed: &Path, name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name(name));
    match beside {
        Some(beside) if !installed.is_file() && beside.is_file() => beside,
        _ => installed.to_owned(),
    }
}
