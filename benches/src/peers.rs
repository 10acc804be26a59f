//! The others: OpenSSH's own clients over a connection that is open already, `nq`, GNU `parallel`.

use harness::{Finished, Lab, Running, Sshd, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A connection of OpenSSH's that its clients share (ControlMaster), as a worker shares its own.
pub struct Connection<'l> {
    lab: &'l Lab,
    sshd: &'l Sshd,
    key: PathBuf,
    socket: PathBuf,
    _master: Running,
}

impl<'l> Connection<'l> {
    /// Connects.
    pub fn open(lab: &'l Lab, sshd: &'l Sshd, key: &Path) -> Connection<'l> {
        let socket = key.with_extension("mux");
        let mut command = sshd.ssh(lab, key);
        command.arg("-S").arg(&socket).args(["-M", "-N"]).arg(sshd.destination());
        let master = Running::start("ssh", &mut command, &lab.path("ssh.log"));
        wait_for("ssh is connected", || socket.exists());
        Connection { lab, sshd, key: key.to_owned(), socket, _master: master }
    }

    fn client(&self) -> Command {
        let mut command = self.sshd.ssh(self.lab, &self.key);
        command.arg("-S").arg(&self.socket);
        command
    }

    /// `ssh` with a command.
    pub fn ssh(&self, words: &str) -> Command {
        let mut command = self.client();
        command.arg(self.sshd.destination()).arg(words).stdin(Stdio::null());
        command
    }

    /// `sftp` with these commands.
    pub fn sftp(&self, batch: &str) {
        let file = self.lab.script("batch", batch);
        let mut command = Command::new("sftp");
        command.args(["-q", "-F", "none", "-o", &format!("ControlPath={}", self.socket.display()), "-b"]);
        let done = Finished::of(command.arg(file).arg(self.sshd.destination()));
        assert_eq!(done.code, 0, "sftp: {}", done.stderr);
    }

    /// GNU parallel, running `true` so often in so many slots.
    pub fn parallel(&self, slots: usize, count: usize) {
        let client = self.client();
        let words: Vec<_> = client.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let login = format!("{slots}/ssh {} {}", words.join(" "), self.sshd.destination());
        let mut command = Command::new("parallel");
        command.env("PARALLEL_HOME", self.lab.path("parallel")).args(["--will-cite", "-n0", "-j"]);
        command.arg(slots.to_string()).args(["--sshlogin", &login, "true", ":::"]);
        command.args((0..count).map(|n| n.to_string()));
        let done = Finished::of(&mut command);
        assert_eq!(done.code, 0, "parallel (apt-get install parallel): {}", done.stderr);
    }
}

/// `nq`: puts `count` commands into each of these queues at once, and waits until all have run.
pub fn nq(lab: &Lab, queues: usize, count: usize, words: &[&str]) {
    std::thread::scope(|scope| {
        for queue in 0..queues {
            let dir = lab.path(&format!("nq.{queue}"));
            scope.spawn(move || {
                for _ in 0..count {
                    let done = Finished::of(Command::new("nq").arg("-q").args(words).env("NQDIR", &dir));
                    assert_eq!(done.code, 0, "nq (apt-get install nq): {}", done.stderr);
                }
                let waited = Finished::of(Command::new("nq").arg("-w").env("NQDIR", &dir));
                assert_eq!(waited.code, 0, "nq -w: {}", waited.stderr);
                std::fs::remove_dir_all(&dir).expect("its queue");
            });
        }
    });
}
