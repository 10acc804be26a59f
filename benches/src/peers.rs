//! The others: OpenSSH's own client over one connection, `nq`, GNU `parallel`.

use harness::{Finished, Lab, Running, Sshd, wait_for};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// An sshd that lets us do anything, and one connection to it that is open already.
pub struct Plain<'l> {
    lab: &'l Lab,
    /// The server.
    pub sshd: Sshd,
    /// The key that opens it.
    pub key: PathBuf,
    master: Option<Running>,
}

impl<'l> Plain<'l> {
    /// Connects.
    pub fn connect(lab: &'l Lab) -> Plain<'l> {
        let key = lab.key("open");
        let sshd = lab.open_sshd(&key);
        let mut plain = Plain { lab, sshd, key, master: None };
        let mut command = plain.client();
        command.args(["-M", "-N"]).arg(plain.sshd.destination());
        plain.master = Some(Running::start("ssh", &mut command, &lab.path("ssh.log")));
        let socket = plain.socket();
        wait_for("ssh is connected", || socket.exists());
        plain
    }

    fn socket(&self) -> PathBuf {
        self.lab.path("mux")
    }

    fn client(&self) -> Command {
        let mut command = self.sshd.ssh(self.lab, &self.key);
        command.arg("-S").arg(self.socket());
        command
    }

    /// `ssh` with a command, over the open connection.
    pub fn ssh(&self, words: &str) -> Command {
        let mut command = self.client();
        command.arg(self.sshd.destination()).arg(words).stdin(Stdio::null());
        command
    }

    /// GNU parallel, running `true` so often in so many slots over the open connection.
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
