//! A real sshd on loopback, with keys made for the test.

use crate::network::{Network, SERVER};
use crate::process::{Finished, Running, wait_for};
use crate::{Lab, PLATFORM};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An sshd that knows the lab's workers and nobody else.
pub struct Sshd {
    process: Option<Running>,
    config: PathBuf,
    address: &'static str,
    port: u16,
}

/// Where the tests' servers listen.
const LOOPBACK: &str = "127.0.0.1";

impl Lab {
    /// Starts an sshd that reads the spool's own authorized_keys.
    pub fn sshd(&self) -> Sshd {
        self.sshd_with("")
    }

    /// As [`Lab::sshd`], with some more lines in its configuration.
    pub fn sshd_with(&self, more: &str) -> Sshd {
        let rest = format!("PermitRootLogin forced-commands-only\n{more}");
        self.start_sshd("sshd", &self.spool.layout().authorized_keys(), "", &rest)
    }

    /// As [`Lab::sshd`], on the server of a network; workers come in from elsewhere in it.
    pub fn sshd_in(&self, network: &Network) -> Sshd {
        let rest = "PermitRootLogin forced-commands-only\n";
        let mut sshd = self.configure_sshd("sshd", SERVER, &self.spool.layout().authorized_keys(), "", rest);
        let log = self.path("sshd.log");
        sshd.process = Some(Running::start("sshd", &mut network.on_server(&sshd.program()), &log));
        wait_for("sshd listens", || std::fs::read_to_string(&log).is_ok_and(|said| said.contains("listening")));
        sshd
    }

    /// Starts a second sshd, with which the owner of this key may do anything: to compare ours with.
    pub fn open_sshd(&self, key: &Path) -> Sshd {
        self.start_sshd("open-sshd", &key.with_extension("pub"), "", "PermitRootLogin prohibit-password\n")
    }

    /// Starts an sshd; `environment` has variables for what it executes, `rest` more lines of its configuration.
    pub(crate) fn start_sshd(&self, name: &str, keys: &Path, environment: &str, rest: &str) -> Sshd {
        let mut sshd = self.configure_sshd(name, LOOPBACK, keys, environment, rest);
        sshd.start(self);
        sshd
    }

    fn configure_sshd(&self, name: &str, address: &'static str, keys: &Path, environment: &str, rest: &str) -> Sshd {
        let port = free_port();
        let host = format!("{name}.host");
        self.key(&host);
        // A bash that is not the first keeps out of ~/.bashrc, which may hold anything and take long.
        let config = format!(
            "ListenAddress {address}\nPort {port}\nHostKey {host}\nPidFile none\nAuthorizedKeysFile {keys}\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\n\
             MaxStartups 100\nSetEnv SHLVL=2 {environment}\nSubsystem sftp internal-sftp\nLogLevel VERBOSE\n{rest}",
            host = self.path(&host).display(),
            keys = keys.display(),
        );
        let file = self.path(&format!("{name}_config"));
        std::fs::write(&file, config).expect("sshd's configuration");
        let host_key = std::fs::read_to_string(self.path(&format!("{host}.pub"))).expect("the host key");
        let mut known = std::fs::read_to_string(self.path("known_hosts")).unwrap_or_default();
        known += &format!("[{address}]:{port} {host_key}");
        std::fs::write(self.path("known_hosts"), known).expect("known hosts");
        Sshd { process: None, config: file, address, port }
    }

    /// Makes a key pair in the lab's directory. Returns the private one.
    pub fn key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = Finished::of(
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path),
        );
        assert_eq!(made.code, 0, "{}", made.stderr);
        path
    }

    /// Adds a worker with a key of its own, as a sysadmin does.
    pub fn add_worker(&self, name: &str) -> PathBuf {
        let key = self.key(name);
        let public = key.with_extension("pub");
        self.ok(&["worker", "add", name, public.to_str().expect("UTF-8"), "--platform", PLATFORM]);
        key
    }
}

impl Sshd {
    /// Starts it again after [`Sshd::stop`].
    pub fn start(&mut self, lab: &Lab) {
        self.process = Some(Running::start("sshd", &mut self.program(), &lab.path("sshd.log")));
        let port = self.port;
        wait_for("sshd listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    }

    fn program(&self) -> Command {
        // sshd wants this directory when it runs as root.
        let _ = std::fs::create_dir_all("/run/sshd");
        let program = Path::new("/usr/sbin/sshd");
        assert!(program.exists(), "sshd is missing: install the package openssh-server");
        let mut command = Command::new(program);
        command.arg("-D").arg("-e").arg("-f").arg(&self.config);
        command
    }

    /// Kills the listening sshd; open connections live on in processes of their own.
    pub fn stop(&mut self) {
        self.process.take();
    }

    /// The file of its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The address as a worker takes it.
    pub fn url(&self) -> String {
        format!("ssh://{}@{}:{}", user(), self.address, self.port)
    }

    /// OpenSSH's own client with a worker's key; more options and the command follow.
    pub fn ssh(&self, lab: &Lab, key: &Path) -> Command {
        let mut command = Command::new("ssh");
        self.options(&mut command, lab, key);
        command.arg("-p").arg(self.port.to_string());
        command
    }

    /// The destination for [`Sshd::ssh`].
    pub fn destination(&self) -> String {
        format!("{}@{}", user(), self.address)
    }

    /// OpenSSH's own `sftp` with a worker's key, reading commands from a batch file.
    pub fn sftp(&self, lab: &Lab, key: &Path, batch: &str) -> Finished {
        let file = lab.path("batch");
        std::fs::write(&file, batch).expect("a batch file");
        let mut command = Command::new("sftp");
        self.options(&mut command, lab, key);
        command.arg("-P").arg(self.port.to_string()).arg("-b").arg(file).arg(self.destination());
        command.current_dir(lab.path(""));
        Finished::of(&mut command)
    }

    pub(crate) fn options(&self, command: &mut Command, lab: &Lab, key: &Path) {
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", lab.path("known_hosts").display()));
    }

    /// Starts a worker that comes in over SSH with its own key.
    pub fn worker(&self, lab: &Lab, name: &str, key: &Path, words: &[&str]) -> Running {
        Running::start(name, &mut self.worker_program(lab, name, key, words), &lab.path(&format!("{name}.log")))
    }

    /// As [`Sshd::worker`], on the worker of a network.
    pub fn worker_in(&self, network: &Network, lab: &Lab, name: &str, key: &Path, words: &[&str]) -> Running {
        let mut command = network.on_worker(&self.worker_program(lab, name, key, words));
        Running::start(name, &mut command, &lab.path(&format!("{name}.log")))
    }

    /// A worker that comes in over SSH with its own key, to be started.
    pub fn worker_program(&self, lab: &Lab, name: &str, key: &Path, words: &[&str]) -> Command {
        let mut command = lab.program("builder-run");
        command.arg("worker").arg(self.url()).arg("--identity").arg(key);
        command.arg("--known-hosts").arg(lab.path("known_hosts"));
        command.arg("--work").arg(lab.path(&format!("work.{name}"))).args(words);
        command
    }
}

fn user() -> String {
    let named = Finished::of(Command::new("id").arg("-un"));
    named.stdout.trim().to_owned()
}

/// The system gives a port that nobody uses; a server takes it a moment later.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
