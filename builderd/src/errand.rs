//! One local user's verb, from the question to the exit status.

use crate::house::{House, Resident};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use spool::door::{self, Answer, Question};
use spool::error::{At, Result};
use spool::name::Person;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{debug, info};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a command line the log gets.
const SHOWN: usize = 200;

/// Hears what a user wants, has it done by `builder gate`, and answers.
pub fn run(stream: &UnixStream, uid: u32, house: &House) {
    let question = match door::hear(stream, PATIENCE) {
        Ok(question) => question,
        Err(e) => return debug!(uid, "hung up: {e}"),
    };
    let done = house.resident(uid).and_then(|who| carry_out(stream, question, &who, house));
    door::answer(
        stream,
        &match done {
            Ok(status) => Answer { status, line: String::new() },
            Err(e) => Answer { status: e.exit_code(), line: e.to_string() },
        },
    );
}

fn carry_out(stream: &UnixStream, question: Question, who: &Resident, house: &House) -> Result<u8> {
    let shown: String = question.command.chars().take(SHOWN).collect();
    info!(user = who.name, role = %who.role, "asks for {shown:?}");
    let mut child = gate(question, who, house).spawn().at("execute", &house.builder)?;
    let verb = Arc::new(Verb(Mutex::new(Some(Pid::from_child(&child)))));
    let watched = stream.try_clone().and_then(|stream| {
        let verb = verb.clone();
        std::thread::Builder::new().spawn(move || {
            // A client says nothing more: whatever comes is its end.
            let _ = (&stream).read(&mut [0]);
            verb.end();
        })
    });
    if watched.is_err() {
        verb.end();
    }
    let status = verb.wait(&mut child)?;
    watched.at("watch", "a client")?;
    Ok(status)
}

/// The verb's process: in a group of its own, with nothing of builderd but the spool and the client's own streams.
fn gate(question: Question, who: &Resident, house: &House) -> Command {
    let [input, output, errors] = question.streams;
    let mut command = Command::new(&house.builder);
    command.args(["gate", "--role", who.role.word()]);
    if who.name.parse::<Person>().is_ok() {
        command.args(["--name", &who.name]);
    }
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("BUILDER_SPOOL", &house.root);
    command.envs(house.config.iter().map(|path| ("BUILDER_CONFIG", path)));
    command.env("SSH_ORIGINAL_COMMAND", question.command);
    command.stdin(input).stdout(output).stderr(errors).current_dir("/").process_group(0);
    command
}

/// A verb that runs, until it is reaped: after that its number may be somebody else's.
struct Verb(Mutex<Option<Pid>>);

impl Verb {
    /// Tells it to end, if it runs still.
    fn end(&self) {
        if let Some(pid) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = kill_process_group(pid, Signal::TERM);
        }
    }

    /// Waits for its end. Returns its exit status; 128 + N after signal N.
    fn wait(&self, child: &mut Child) -> Result<u8> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(Pid::from_child(child)), ended) {}
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = child.wait().at("wait for", "builder gate")?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()) as u8)
    }
}
