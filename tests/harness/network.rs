//! A network of two hosts, made of network namespaces (ip-netns(8)), whose cable can be pulled.

use crate::cable::{Cable, Weather};
use crate::process::Finished;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The server's address.
pub const SERVER: &str = "10.77.0.1";
const WORKER: &str = "10.77.0.2";

/// The hosts `server` and `worker` and the cable between them. They go when this is dropped.
pub struct Network {
    server: String,
    worker: String,
    cable: Option<Cable>,
}

impl Network {
    /// Makes one. Where the system can't, it is said past the test runner, and there is none.
    pub fn new() -> Option<Network> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("b{}n{number}{end}", std::process::id());
        let mut network = Network { server: name("s"), worker: name("w"), cable: None };
        match network.lay() {
            Ok(()) => Some(network),
            Err(why) => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                let _ = writeln!(std::io::stderr(), "NOT TESTED: {test} needs network namespaces and TUN: {why}");
                None
            }
        }
    }

    fn lay(&mut self) -> Result<(), String> {
        ip(&["netns", "add", &self.server])?;
        ip(&["netns", "add", &self.worker])?;
        // Both ends are made here and then given to their hosts.
        self.cable = Some(Cable::new(&self.server, &self.worker).map_err(|e| e.to_string())?);
        for (host, address, other) in [(&self.server, SERVER, WORKER), (&self.worker, WORKER, SERVER)] {
            ip(&["link", "set", host, "netns", host])?;
            ip(&["-n", host, "address", "add", address, "peer", other, "dev", host])?;
            ip(&["-n", host, "link", "set", host, "up"])?;
            ip(&["-n", host, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// A program on the server.
    pub fn on_server(&self, program: &Command) -> Command {
        inside(&self.server, program)
    }

    /// A program on the worker.
    pub fn on_worker(&self, program: &Command) -> Command {
        inside(&self.worker, program)
    }

    /// Pulls the cable, or puts it in again. Neither side is told: what is sent is lost.
    pub fn connected(&self, yes: bool) {
        self.weather(Weather { lost: if yes { 0 } else { 100 }, ..Weather::default() });
    }

    /// Takes the server's side of the cable down, or up again: whatever is sent there fails at once.
    pub fn link(&self, up: bool) {
        let done = ip(&["-n", &self.server, "link", "set", &self.server, if up { "up" } else { "down" }]);
        assert_eq!(done, Ok(()));
    }

    /// From now on the cable is like this, in both directions.
    pub fn weather(&self, weather: Weather) {
        self.cable.as_ref().expect("the cable").change(weather);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in [&self.server, &self.worker] {
            let _ = ip(&["netns", "delete", host]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let done = Finished::of(Command::new("ip").args(words));
    if done.code == 0 { Ok(()) } else { Err(done.stderr.trim().to_owned()) }
}

fn inside(host: &str, program: &Command) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    command
}
