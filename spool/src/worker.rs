//! Workers: who may connect, with which key, for which platforms.

use crate::disk;
use crate::error::{Error, Kind, Result};
use crate::name::{Platform, WorkerName};
use crate::record;
use crate::spool::Spool;
use crate::suggest;
use crate::tmp::{self, Draft};
use crate::wake;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// `workers/NAME.toml`: what the sysadmin says of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// When it was added.
    pub added: Timestamp,
    /// What it may build.
    pub platforms: Vec<Platform>,
    /// Its public key; missing for one that only connects locally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

/// A line of authorized_keys(5) without options: type, base64, no comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

impl FromStr for PublicKey {
    type Err = Error;

    /// Takes the content of a `.pub` file: one key, with or without a comment.
    fn from_str(text: &str) -> Result<PublicKey> {
        let wrong = |why: &str| {
            Error::new(Kind::Data, format!("this is not a public key: {why}"))
                .hint("give one line as in ~/.ssh/id_ed25519.pub; `ssh-keygen -t ed25519` makes it")
        };
        if text.contains("PRIVATE KEY") {
            return Err(wrong("it is a private key, which must not leave its machine"));
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or_else(|| wrong("it is empty"))?;
        if lines.next().is_some() {
            return Err(wrong("it has more than one line"));
        }
        let mut words = line.split_ascii_whitespace();
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let kind_ok = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start))
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"-@.".contains(&b));
        if !kind_ok {
            return Err(wrong("it does not start with a key type"));
        }
        if data.len() < 40 || !data.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) {
            return Err(wrong("its second word is not base64"));
        }
        Ok(PublicKey(format!("{kind} {data}")))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Error;
    fn try_from(text: String) -> Result<PublicKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Spool {
    /// All workers by name; a file that can't be read comes as its error.
    pub fn workers(&self) -> Result<BTreeMap<WorkerName, Result<Worker>>> {
        let mut workers = BTreeMap::new();
        for name in disk::names(&self.layout().workers())? {
            if let Some(Ok(name)) = name.strip_suffix(".toml").map(str::parse::<WorkerName>)
                && let Some(worker) = record::read(&self.layout().worker(&name)).transpose()
            {
                workers.insert(name, worker);
            }
        }
        Ok(workers)
    }

    /// The workers that have connected without being added: local ones.
    pub fn local_workers(&self) -> Result<Vec<WorkerName>> {
        let names = disk::names(&self.layout().workers())?;
        let seen = names.iter().filter_map(|name| name.strip_suffix(".seen")?.parse::<WorkerName>().ok());
        let mut local: Vec<WorkerName> = seen.filter(|name| !self.layout().worker(name).exists()).collect();
        local.sort();
        Ok(local)
    }

    /// One worker.
    pub fn worker(&self, name: &WorkerName) -> Result<Worker> {
        if let Some(worker) = record::read(&self.layout().worker(name))? {
            return Ok(worker);
        }
        let known = self.workers()?;
        let known = known.keys().map(WorkerName::as_str);
        Err(Error::new(Kind::NoInput, format!("there is no worker {name}")).hint(suggest::hint(
            name.as_str(),
            known,
            "`builder worker ls` shows the workers",
        )))
    }

    /// Adds a worker. Durable on return. A key can belong to one worker only.
    pub fn add_worker(&self, name: &WorkerName, worker: &Worker) -> Result<()> {
        let _lock = self.lock_workers()?;
        for (other, known) in self.workers()? {
            if worker.key.is_some() && other != *name && known.is_ok_and(|known| known.key == worker.key) {
                return Err(Error::new(Kind::CantCreate, format!("worker {other} has this key already"))
                    .hint("make a key of its own for each worker"));
            }
        }
        let draft = Draft::file(self.layout(), &record::to_bytes(worker)?, 0o644)?;
        match disk::rename_new(draft.path(), &self.layout().worker(name))? {
            disk::Moved::Yes => {}
            disk::Moved::TargetExists => {
                return Err(Error::new(Kind::CantCreate, format!("there is a worker {name} already"))
                    .hint(format!("choose another name, or remove that one first with `builder worker rm {name}`")));
            }
            disk::Moved::SourceGone => return Err(draft.vanished()),
        }
        draft.published();
        disk::sync_dir(&self.layout().workers())
    }

    /// Removes a worker. Its key opens nothing from now on; a session in which it waits ends at once.
    pub fn remove_worker(&self, name: &WorkerName) -> Result<()> {
        let _lock = self.lock_workers()?;
        if !self.layout().worker(name).exists() && !self.layout().worker_seen(name).exists() {
            self.worker(name)?;
        }
        disk::remove_file(&self.layout().worker(name))?;
        disk::remove_file(&self.layout().worker_seen(name))?;
        self.forget_health(name)?;
        disk::sync_dir(&self.layout().workers())?;
        wake::ring(&self.layout().wake_worker(name));
        Ok(())
    }
}

const BEGIN: &str = "# BEGIN builder workers: generated, changes between here and END are lost";
const END: &str = "# END builder workers";

/// What sshd is to run for workers.
#[derive(Clone, Debug)]
pub struct ForcedCommand {
    /// The program builder-run.
    pub program: String,
    /// The configuration file, when it is not the system's: sshd passes on no environment.
    pub config: Option<String>,
}

/// A line of authorized_keys(5) that lets a worker's key do one thing: run `builder-run serve` for it.
pub fn authorized_key(name: &WorkerName, key: &PublicKey, run: &ForcedCommand, root: &str) -> Result<String> {
    let config = run.config.as_deref().map(|file| quoted(file).map(|file| format!(" --config {file}")));
    let config = config.transpose()?.unwrap_or_default();
    let program = quoted(&run.program)?;
    let command = format!("exec {program} serve --spool {} --worker {name}{config}", quoted(root)?);
    Ok(format!("restrict,command=\"{}\" {key} {name}", command.replace('"', "\\\"")))
}

/// A word for sh(1) within the quotes of authorized_keys(5).
fn quoted(word: &str) -> Result<String> {
    if word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+-@,:=".contains(&b)) {
        return Ok(word.to_owned());
    }
    if word.contains(['\'', '"', '\\']) || word.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Config,
            format!("the path {} can't stand in authorized_keys", word.escape_default()),
        )
        .hint("use a path without quotes, backslashes and control characters"));
    }
    Ok(format!("'{word}'"))
}

impl Spool {
    /// Writes the workers' lines into `.ssh/authorized_keys`; all other lines of the file stay. Durable on return.
    ///
    /// The line of a worker that is `leaving` is left out, though it is there still.
    pub fn write_authorized_keys(&self, run: &ForcedCommand, leaving: Option<&WorkerName>) -> Result<()> {
        let _lock = self.lock_workers()?;
        let path = self.layout().authorized_keys();
        let old = disk::read_if_there(&path, 64 << 20)?.unwrap_or_default();
        let old = String::from_utf8_lossy(&old);
        let mut text = String::new();
        let mut ours = false;
        for line in old.lines() {
            match line {
                BEGIN => ours = true,
                END => ours = false,
                _ if !ours => text += &format!("{line}\n"),
                _ => {}
            }
        }
        text += &format!("{BEGIN}\n");
        let root = self.layout().named().display().to_string();
        for (name, worker) in self.workers()?.into_iter().filter(|(name, _)| Some(name) != leaving) {
            if let Ok(Worker { key: Some(key), .. }) = worker {
                text += &format!("{}\n", authorized_key(&name, &key, run, &root)?);
            }
        }
        text += &format!("{END}\n");
        if let Some(dir) = path.parent() {
            disk::make_dir_synced(dir)?;
        }
        tmp::replace_file(self.layout(), &path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0Cq3n5Qe7n1t8C1mT0xZq3yBv0Z4y1q8ZbWm2v1x7k someone@host";

    #[test]
    fn a_key_gives_exactly_one_line() {
        let key: PublicKey = KEY.parse().unwrap();
        assert!(!key.to_string().contains("someone"));
        let run = ForcedCommand {
            program: "/usr/libexec/builder/builder-run".into(),
            config: Some("/etc/my builder.toml".into()),
        };
        let line = authorized_key(&"jail1".parse().unwrap(), &key, &run, "/var/lib/my spool").unwrap();
        assert!(!line.contains('\n') && line.starts_with("restrict,command=\"exec /usr/libexec/builder/builder-run serve --spool '/var/lib/my spool' --worker jail1 --config '/etc/my builder.toml'\" ssh-ed25519 "), "{line}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let two = format!("{KEY}\n{KEY}");
        for text in [
            "",
            "hello",
            "ssh-ed25519",
            "ssh-ed25519 short",
            two.as_str(),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "command=\"x\" ssh-ed25519 AAAA",
        ] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }
}
