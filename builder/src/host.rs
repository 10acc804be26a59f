//! `--host`: a verb on another machine, by way of the caller's own ssh(1) with its configuration, agent and known hosts.
//!
//! A verb that draws on the caller's terminal gets one there, where the key allows it (`pty`). For all others there is none
//! (-T): bytes stay as they are, and Ctrl-C ends ssh here, upon which the verb there finds that nobody reads it.

use crate::args::Cli;
use crate::terms::terms;
use crate::travel::{self, Input, Parcel};
use clap::ArgMatches;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spool::error::{At, Error, Kind, Result};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What ssh(1) exits with when it has failed itself.
const SSH_FAILED: u8 = 255;

/// What ssh(1) says when the key allows no terminal; then it gives up.
const NO_TERMINAL: &str = "PTY allocation request failed";

/// Does a verb there, and exits as it does.
pub fn run(host: &str, cli: &Cli, typed: &ArgMatches) -> Result<ExitCode> {
    check(host)?;
    let Parcel { command, input, unpack } = travel::pack(cli, typed, true)?;
    if terms(&cli.verb).draws
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && let Some(status) = on_a_terminal(host, &command)?
    {
        return Ok(ExitCode::from(status));
    }
    let mut ssh = Command::new("ssh");
    ssh.args(["-T", "--", host]).arg(command);
    ssh.stdin(match input {
        Input::Inherited => Stdio::inherit(),
        Input::File(file) => file.into(),
        Input::Nothing => Stdio::null(),
    });
    if unpack.is_some() {
        ssh.stdout(Stdio::piped());
    }
    let mut child = start(&mut ssh)?;
    let caught = pass_signals_on(&child)?;
    let output = child.stdout.take();
    let status = || ended(&child, &caught, host);
    match (unpack, output) {
        (Some(unpack), Some(output)) => unpack.receive(output, status),
        _ => status().map(ExitCode::from),
    }
}

fn start(ssh: &mut Command) -> Result<Child> {
    ssh.spawn().map_err(|e| {
        let why = Error::new(Kind::TryAgain, format!("ssh can't be started: {e}"));
        why.hint("install OpenSSH's client, or put it into PATH")
    })
}

/// Does a verb that only shows something, with a terminal there. Nothing when the key does not allow one.
fn on_a_terminal(host: &str, command: &str) -> Result<Option<u8>> {
    let mut ssh = Command::new("ssh");
    // That a connection with a terminal is closed is worth a line to ssh, and to nobody else.
    ssh.args(["-t", "-o", "LogLevel=ERROR", "--", host]).arg(command).stderr(Stdio::piped());
    let mut child = start(&mut ssh)?;
    let caught = pass_signals_on(&child)?;
    // On this side are only ssh's own words; the verb's come by the terminal.
    let refused = child.stderr.take().is_some_and(pass_words_on);
    match ended(&child, &caught, host) {
        Err(_) if refused => Ok(None),
        status => status.map(Some),
    }
}

/// Passes on what ssh says, but for its refusal of a terminal. Returns whether there was one.
fn pass_words_on(from: impl Read) -> bool {
    let mut refused = false;
    for line in BufReader::new(from).split(b'\n').map_while(std::result::Result::ok) {
        match line.starts_with(NO_TERMINAL.as_bytes()) {
            true => refused = true,
            false => drop(io::stderr().write_all(&[&line[..], b"\n"].concat())),
        }
    }
    refused
}

/// A destination that ssh could take for anything else never reaches it.
fn check(host: &str) -> Result<()> {
    let rest = host.strip_prefix("ssh://").unwrap_or(host);
    let name = rest.rsplit_once('@').map_or(rest, |(_, name)| name);
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if rest.is_empty() || name.is_empty() || rest.starts_with('-') || name.starts_with('-') || host.contains(odd) {
        let shown: String = host.chars().take(60).flat_map(char::escape_default).collect();
        return Err(Error::new(Kind::Usage, format!("`{shown}` is no host"))
            .hint("write USER@HOST or ssh://USER@HOST:PORT, or a Host of ~/.ssh/config"));
    }
    Ok(())
}

/// Whoever ends this process means the verb: ssh is ended with it. Returns where the signal is noted, by the handler
/// itself: Ctrl-C hits both at once, and ssh may be gone before a thread has heard of it.
fn pass_signals_on(child: &Child) -> Result<Arc<AtomicUsize>> {
    const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];
    let caught = Arc::new(AtomicUsize::new(0));
    for signal in SIGNALS {
        signal_hook::flag::register_usize(signal, caught.clone(), signal as usize).at("catch", "signals")?;
    }
    let mut signals = Signals::new(SIGNALS).at("catch", "signals")?;
    let pid = Pid::from_child(child);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = kill_process(pid, Signal::TERM);
        }
    });
    Ok(caught)
}

/// Waits for ssh, without reaping it: its number stays its own, so that a signal that is passed on hits nobody else.
fn ended(child: &Child, caught: &AtomicUsize, host: &str) -> Result<u8> {
    let status = loop {
        match waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).at("wait for", "ssh"),
        }
    };
    match caught.load(Ordering::SeqCst) {
        0 => {}
        signal => {
            let _ = signal_hook::low_level::emulate_default_handler(signal as i32);
        }
    }
    match status.exit_status() {
        Some(code) if code as u8 != SSH_FAILED => Ok(code as u8),
        _ => Err(Error::new(Kind::TryAgain, format!("ssh to {host} has failed, or the verb was killed there"))
            .hint(format!("`ssh {host}` shows whether you get there"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_no_option() {
        for good in ["server", "builder@server", "ssh://builder@[::1]:2222", "a@b@c", "builder@10.0.0.1"] {
            check(good).unwrap();
        }
        for bad in ["", "-oProxyCommand=id", "ssh://", "ssh://-x", "user@-x", "ssh://user@-x:22", "a b", "a\nb", "x@"] {
            assert_eq!(check(bad).unwrap_err().kind(), Kind::Usage, "{bad:?}");
        }
    }
}
