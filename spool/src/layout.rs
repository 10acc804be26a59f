//! Every path of a spool is made here and nowhere else; `spool-layout.md` says what lies there.

use crate::build_id::BuildId;
use crate::digest::Sha256;
use crate::name::{JobName, Platform, WorkerName};
use crate::place::{End, Ticket};
use std::path::{Path, PathBuf};

/// The directories that every spool has from the beginning, relative to its root.
pub const DIRECTORIES: [&str; 19] = [
    "new",
    "active",
    "done",
    "failed",
    "jobs",
    "good",
    "timers",
    "platforms",
    "workers",
    "store",
    "store/sha256",
    "wake",
    "wake/queue",
    "wake/build",
    "wake/worker",
    "wake/daemon",
    "cancel",
    "owed",
    "tmp",
];

/// The files within a build's directory, and those of the index.
pub mod file {
    /// The index.
    pub const INDEX: &str = "builds.sqlite";
    /// Its journal.
    pub const INDEX_JOURNAL: &str = "builds.sqlite-journal";
    /// What was asked for.
    pub const BUILD: &str = "build.toml";
    /// What is executed.
    pub const SCRIPT: &str = "script";
    /// The bytes as printed.
    pub const CONSOLE: &str = "console.log";
    /// When they were printed.
    pub const TIMES: &str = "console.times";
    /// Who runs it.
    pub const LEASE: &str = "lease.toml";
    /// Earlier attempts that were lost.
    pub const ATTEMPTS: &str = "attempts.toml";
    /// What came of it.
    pub const RESULT: &str = "result.toml";
    /// The artifacts in the format of sha256sum(1).
    pub const MANIFEST: &str = "manifest";
    /// The artifacts by their paths.
    pub const ARTIFACTS: &str = "artifacts";
    /// Content on its way from the worker.
    pub const UPLOAD: &str = "upload";
    /// The variables that the script saw.
    pub const ENVIRONMENT: &str = "environment";
    /// The packages that the worker's system had.
    pub const PACKAGES: &str = "packages";
    /// Why it is never removed.
    pub const PINNED: &str = "pinned";
    /// The files whose content is lost.
    pub const LOST: &str = "lost";
    /// What worker and server say of the build, in brief.
    pub const STATEMENT: &str = "statement";
    /// The worker's signature of that.
    pub const STATEMENT_SIGNATURE: &str = "statement.sig";
    /// The key with which the worker signs, for ssh-keygen(1).
    pub const SIGNERS: &str = "signers";
    /// What was made of what, for others to read, signed by the server.
    pub const PROVENANCE: &str = "provenance.json";
    /// The digests of the build's files.
    pub const SEAL: &str = "seal";
    /// The server's signature of those.
    pub const SEAL_SIGNATURE: &str = "seal.sig";

    /// Whether this is `console.log.N` or `console.times.N`.
    pub fn is_earlier_console(name: &str) -> bool {
        let number = [CONSOLE, TIMES].iter().find_map(|stem| name.strip_prefix(stem)?.strip_prefix('.'));
        number.is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n > 0 && n.to_string() == number))
    }
}

/// The root of a spool, as a maker of paths.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    named: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Layout {
        let root = root.into();
        Layout { named: root.clone(), root }
    }

    /// The layout below `root`, to which the name `named` leads.
    pub(crate) fn behind(root: PathBuf, named: PathBuf) -> Layout {
        Layout { root, named }
    }

    /// The spool's directory itself, never a symlink.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The name by which it was opened, for what is written down and used later: a symlink may lead elsewhere by then.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// A directory of [`DIRECTORIES`].
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The file whose lock is the daemon's.
    pub fn daemon_lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Where builderd listens for those who don't own the spool, unless builder.toml names another place.
    pub fn socket(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// The file that says which version of the layout this is.
    pub fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// What is known of finished builds and can be had again.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The index itself, a database of SQLite.
    pub fn index_file(&self) -> PathBuf {
        self.index().join(file::INDEX)
    }

    /// What SQLite needs to take back a change to it that was cut short.
    pub fn index_journal(&self) -> PathBuf {
        self.index().join(file::INDEX_JOURNAL)
    }

    /// What was counted of builds that have ended.
    pub fn tally(&self) -> PathBuf {
        self.root.join("tally.toml")
    }

    /// What is known of launched workers, by platform.
    pub fn launches(&self) -> PathBuf {
        self.root.join("launches")
    }

    /// What is known of the workers that were launched for a platform.
    pub fn launches_of(&self, platform: &Platform) -> PathBuf {
        self.launches().join(format!("{platform}.toml"))
    }

    /// What a repair did not understand.
    pub fn lost_and_found(&self) -> PathBuf {
        self.root.join("lost+found")
    }

    /// The queue of a platform.
    pub fn queue(&self, platform: &Platform) -> PathBuf {
        self.root.join("new").join(platform.as_str())
    }

    /// What an operator says of a platform.
    pub fn platform(&self, platform: &Platform) -> PathBuf {
        self.root.join("platforms").join(format!("{platform}.toml"))
    }

    /// The file whose being there means that nothing is handed out.
    pub fn drain(&self) -> PathBuf {
        self.root.join("drain")
    }

    /// A queued build.
    pub fn queued(&self, ticket: &Ticket) -> PathBuf {
        self.queue(ticket.id.platform()).join(ticket.to_string())
    }

    /// All running builds.
    pub fn all_active(&self) -> PathBuf {
        self.root.join("active")
    }

    /// A running build.
    pub fn active(&self, id: &BuildId) -> PathBuf {
        self.all_active().join(id.as_str())
    }

    /// `done` or `failed`.
    pub fn ended(&self, end: End) -> PathBuf {
        self.root.join(end.directory())
    }

    /// The month that holds a finished build.
    pub fn month(&self, end: End, id: &BuildId) -> PathBuf {
        self.ended(end).join(id.month())
    }

    /// A finished build.
    pub fn finished(&self, end: End, id: &BuildId) -> PathBuf {
        self.month(end, id).join(id.as_str())
    }

    /// The request to cancel a running build.
    pub fn cancel(&self, id: &BuildId) -> PathBuf {
        self.root.join("cancel").join(id.as_str())
    }

    /// What the ends of builds still owe: hooks, retries, dependents.
    pub fn all_owed(&self) -> PathBuf {
        self.root.join("owed")
    }

    /// What the end of one build owes.
    pub fn owed(&self, id: &BuildId) -> PathBuf {
        self.all_owed().join(id.as_str())
    }

    /// The lock of who takes a build of which only so many may run at once.
    pub fn claim_lock(&self) -> PathBuf {
        self.all_active().join(".lock")
    }

    /// All jobs.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// One job's file.
    pub fn job(&self, name: &JobName) -> PathBuf {
        self.jobs().join(format!("{name}.toml"))
    }

    /// What there is of a job beside its file.
    pub fn job_directory(&self, name: &JobName) -> PathBuf {
        self.jobs().join(name.as_str())
    }

    /// The links to a job's latest builds.
    pub fn all_latest(&self, name: &JobName) -> PathBuf {
        self.job_directory(name).join("latest")
    }

    /// The link to a job's latest build on a platform.
    pub fn latest(&self, name: &JobName, platform: &Platform) -> PathBuf {
        self.all_latest(name).join(platform.as_str())
    }

    /// The last text of a job's file that was good.
    pub fn good_job(&self, name: &JobName) -> PathBuf {
        self.root.join("good").join(format!("{name}.toml"))
    }

    /// The lock of everybody who changes a job or its timer.
    pub fn jobs_lock(&self) -> PathBuf {
        self.jobs().join(".lock")
    }

    /// The last due moment of a job that was fired.
    pub fn timer(&self, name: &JobName) -> PathBuf {
        self.root.join("timers").join(name.as_str())
    }

    /// All workers.
    pub fn workers(&self) -> PathBuf {
        self.root.join("workers")
    }

    /// What the sysadmin says of a worker.
    pub fn worker(&self, name: &WorkerName) -> PathBuf {
        self.workers().join(format!("{name}.toml"))
    }

    /// What a worker last said of itself; its lock is the worker's session.
    pub fn worker_seen(&self, name: &WorkerName) -> PathBuf {
        self.workers().join(format!("{name}.seen"))
    }

    /// What a worker did lately: builds that failed at once, and until when it gets none.
    pub fn worker_health(&self, name: &WorkerName) -> PathBuf {
        self.workers().join(format!("{name}.health"))
    }

    /// The lock of everybody who adds or removes a worker.
    pub fn workers_lock(&self) -> PathBuf {
        self.workers().join(".lock")
    }

    /// The keys that sshd(8) accepts for the spool's owner, whose home is the spool.
    pub fn authorized_keys(&self) -> PathBuf {
        self.root.join(".ssh").join("authorized_keys")
    }

    /// The server's own key, unless builder.toml names another one: that of whom the spool belongs to.
    pub fn server_key(&self) -> PathBuf {
        self.root.join(".ssh").join("builder-server")
    }

    /// The public keys of the server, for ssh-keygen(1).
    pub fn signers(&self) -> PathBuf {
        self.root.join("signers")
    }

    /// A shard of the store: all objects whose digest starts with the same byte.
    pub fn shard(&self, shard: &str) -> PathBuf {
        self.root.join("store/sha256").join(shard)
    }

    /// All shards.
    pub fn shards(&self) -> impl Iterator<Item = PathBuf> {
        (0..=255u8).map(|number| self.shard(&format!("{number:02x}")))
    }

    /// An object of the store.
    pub fn object(&self, digest: &Sha256) -> PathBuf {
        self.shard(&digest.shard()).join(&digest.to_string()[2..])
    }

    /// Where things are made before they are published.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The sockets of those who wait for a build in this queue.
    pub fn wake_queue(&self, platform: &Platform) -> PathBuf {
        self.root.join("wake/queue").join(platform.as_str())
    }

    /// The sockets of those who follow this build.
    pub fn wake_build(&self, id: &BuildId) -> PathBuf {
        self.root.join("wake/build").join(id.as_str())
    }

    /// The socket of the process that serves this worker.
    pub fn wake_worker(&self, name: &WorkerName) -> PathBuf {
        self.root.join("wake/worker").join(name.as_str())
    }

    /// The sockets of the daemon.
    pub fn wake_daemon(&self) -> PathBuf {
        self.root.join("wake/daemon")
    }
}
