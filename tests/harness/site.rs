//! A server and the machine of a worker, as `builder setup` and `builder doctor` see them.

use crate::{Finished, Lab, PLATFORM, Sshd};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A worker's machine beside a server: a directory for what is set up there.
pub struct Site {
    /// The server.
    pub lab: Lab,
    /// By which workers come in.
    pub sshd: Sshd,
}

impl Default for Site {
    fn default() -> Site {
        let lab = Lab::new();
        let sshd = lab.sshd();
        Site { lab, sshd }
    }
}

impl Site {
    /// One where nothing is set up.
    pub fn new() -> Site {
        Site::default()
    }

    /// Where what is set up for workers is.
    pub fn directory(&self) -> PathBuf {
        self.lab.path("workers")
    }

    /// Types a line into sh, with the programs at hand; on the server or on the worker's machine, which differ by the spool.
    pub fn types(&self, line: &str) -> Finished {
        let programs = crate::binary("builder").parent().expect("a directory").to_owned();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("PATH"));
        let mut sh = self.lab.program("builder");
        let set: Vec<_> = sh.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        sh = Command::new("sh");
        for (name, value) in set {
            value.map(|value| sh.env(name, value));
        }
        Finished::of(sh.arg("-c").arg(line).env("PATH", path))
    }

    /// Sets up the server.
    pub fn set_up_server(&self) -> Finished {
        let config = self.sshd.config().display().to_string();
        self.lab.builder(&["setup", "server", "--name", "127.0.0.1", "--sshd-config", &config])
    }

    /// Sets up a worker, with these words about the host key.
    pub fn set_up_worker(&self, name: &str, host_key: &[&str]) -> Finished {
        let (url, directory) = (self.sshd.url(), self.directory().display().to_string());
        let words = ["setup", "worker", &url, "--platform", PLATFORM, "--name", name, "--directory", &directory];
        self.lab.builder(&[&words, host_key].concat())
    }

    /// The server's host key, and its fingerprint.
    pub fn host_key(&self) -> (String, String) {
        let file = self.lab.path("sshd.host.pub");
        let key = std::fs::read_to_string(&file).expect("the host key");
        let said = Finished::of(Command::new("ssh-keygen").arg("-lf").arg(&file)).stdout;
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        (key.join(" "), said.split_whitespace().nth(1).expect("a fingerprint").to_owned())
    }

    /// A worker that was set up and let in.
    pub fn with_worker() -> Site {
        let site = Site::new();
        let (key, _) = site.host_key();
        let said = site.set_up_worker("jail1", &["--host-key", &key]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(site.types(line(&said, 1)).code, 0);
        site
    }

    /// What the doctor finds, as state and words, and its exit code.
    pub fn doctor(&self, words: &[&str]) -> (Vec<(String, String)>, u8) {
        let (directory, config) = (self.directory().display().to_string(), self.sshd.config().display().to_string());
        let all = [&["doctor", "--json", "--directory", &directory, "--sshd-config", &config], words].concat();
        let done = self.lab.builder(&all);
        let parts: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        let findings =
            parts.as_array().expect("parts").iter().flat_map(|part| part["findings"].as_array().expect("findings"));
        let word = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        let said = |one: &Value| (word(&one["state"]), format!("{}; {}", word(&one["what"]), word(&one["mend"])));
        (findings.map(said).collect(), done.code as u8)
    }

    /// The one thing that is to be mended.
    pub fn is_to_mend(&self, words: &[&str], what: &str) {
        let (findings, code) = self.doctor(words);
        let bad: Vec<_> = findings.iter().filter(|(state, _)| state == "mend").collect();
        assert!(bad.iter().any(|(_, said)| said.contains(what)), "{what}: {findings:#?}");
        assert_eq!((bad.len(), code), (1, 1), "{what}: {findings:#?}");
    }

    /// Nothing is to be mended.
    pub fn is_well(&self, words: &[&str]) {
        let (findings, code) = self.doctor(words);
        assert!(code == 0 && findings.iter().all(|(state, _)| state != "mend"), "{findings:#?}");
    }
}

/// A line of what was printed, without its indent.
pub fn line(done: &Finished, number: usize) -> &str {
    done.stdout.lines().nth(number).unwrap_or_else(|| panic!("{done:?}")).trim()
}

/// What in the lab is not as on a server: its file system has no journal, perhaps, and builderd is started by hand.
pub fn known_weakness(said: &str) -> bool {
    said.contains("journal") || said.contains("tmpfs")
}
