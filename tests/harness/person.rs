//! People who work on the lab's spool from somewhere else, each with a key.

use crate::{Lab, Sshd, binary};
use std::path::{Path, PathBuf};
use std::process::Command;

impl Lab {
    /// Starts an sshd that lets people in; each has a key, and what stands before it in authorized_keys. What it
    /// executes finds `builder` and this spool.
    pub fn people_sshd(&self, people: &[(&Path, String)]) -> Sshd {
        let line = |(key, options): &(&Path, String)| {
            let public = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
            format!("{options} {public}").trim_start().to_owned()
        };
        let keys = self.script("people", &people.iter().map(line).collect::<String>());
        let programs = binary("builder").parent().expect("a directory").to_owned();
        let environment = format!(
            "PATH={}:/usr/bin:/bin BUILDER_SPOOL={} BUILDER_CONFIG={}",
            programs.display(),
            self.root().display(),
            self.config().display()
        );
        self.start_sshd("people-sshd", &keys, &environment, "PermitRootLogin prohibit-password\n")
    }

    /// What confines a key to a role, as the README has it.
    pub fn gate(&self, role: &str, name: &str) -> String {
        format!("restrict,command=\"{} gate --role {role} --name {name}\"", binary("builder").display())
    }

    /// Where a person works: a directory that has nothing to do with the spool.
    pub fn desk(&self, key: &Path) -> PathBuf {
        key.with_extension("desk")
    }

    /// `builder --host` at a person's desk, whose own ssh knows the key and the host.
    pub fn elsewhere(&self, sshd: &Sshd, key: &Path) -> Command {
        let desk = self.desk(key);
        let programs = key.with_extension("bin");
        std::fs::create_dir_all(&desk).expect("a directory");
        std::fs::create_dir_all(&programs).expect("a directory");
        let mut ssh = Command::new("/usr/bin/ssh");
        sshd.options(&mut ssh, self, key);
        let words: Vec<String> = ssh.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let program = programs.join("ssh");
        std::fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/ssh {} \"$@\"\n", words.join(" "))).expect("ssh");
        crate::make_executable(&program);
        let mut command = Command::new(binary("builder"));
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
        command.env("PATH", path).env_remove("BUILDER_SPOOL").env_remove("BUILDER_CONFIG");
        command.arg("--host").arg(sshd.url()).current_dir(desk);
        command
    }
}
