//! People with roles, who work on a spool from elsewhere.

use crate::{Finished, Lab, Sshd};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A lab that people work on from elsewhere: `boss` without a gate, the others with the role of their name, and `screen`,
/// who reads and may have a terminal.
pub struct Office {
    /// The lab.
    pub lab: Lab,
    /// Through which they come.
    pub sshd: Sshd,
}

/// A new one.
pub fn office() -> Office {
    let lab = Lab::new();
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates");
    lab.script("builder.toml", &format!("grace_seconds = 2\ntemplates = \"{templates}\"\n"));
    let boss = lab.key("boss");
    let mut people = vec![(boss, String::new())];
    people.extend(["read", "submit", "admin"].map(|role| (lab.key(role), lab.gate(role, &format!("a-{role}")))));
    people.push((lab.key("screen"), lab.gate("read", "a-screen").replace("restrict,", "restrict,pty,")));
    let people: Vec<_> = people.iter().map(|(key, options)| (key.as_path(), options.clone())).collect();
    let sshd = lab.people_sshd(&people);
    Office { lab, sshd }
}

impl Office {
    /// `builder --host` at a desk.
    pub fn command(&self, who: &str) -> Command {
        self.lab.elsewhere(&self.sshd, &self.lab.path(who))
    }

    /// `builder --host` with these words.
    pub fn says(&self, who: &str, words: &[&str]) -> Finished {
        Finished::of(self.command(who).args(words))
    }

    /// As [`Office::says`], which must exit 0: what it printed.
    pub fn ok(&self, who: &str, words: &[&str]) -> String {
        let said = self.says(who, words);
        assert_eq!(said.code, 0, "{words:?} {said:?}");
        said.stdout
    }

    /// A file on somebody's desk.
    pub fn file(&self, who: &str, name: &str, text: &str) -> PathBuf {
        self.command(who);
        let path = self.lab.desk(&self.lab.path(who)).join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// OpenSSH's own client with somebody's key; options before the host, words after it.
    pub fn ssh(&self, who: &str, options: &[&str], words: &[&str]) -> Finished {
        let mut ssh = self.sshd.ssh(&self.lab, &self.lab.path(who));
        Finished::of(ssh.args(options).arg(self.sshd.destination()).args(words))
    }

    /// As [`Office::ssh`], with something on standard input.
    pub fn sends(&self, who: &str, words: &[&str], input: &str) -> Finished {
        let mut ssh = self.sshd.ssh(&self.lab, &self.lab.path(who));
        ssh.arg(self.sshd.destination())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = ssh.spawn().expect("ssh");
        // It may be refused before it was read.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("its end");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The files of jobs.
    pub fn jobs(&self) -> Vec<String> {
        let mut names = spool::disk::names(&self.lab.spool.layout().jobs()).expect("the jobs");
        names.retain(|name| name != ".lock");
        names
    }
}
