//! ssh-keygen(1), which makes and checks all signatures: what it says anybody can have said again without builder.
//!
//! It never asks anybody anything, and has ten seconds: a key with a passphrase that no agent holds signs nothing.
#![allow(clippy::disallowed_methods)]

use super::armor::{Fingerprint, Signature};
use crate::error::{At, Error, Kind, Result};
use crate::worker::PublicKey;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What it says is not read any further, in bytes.
const LONGEST: u64 = 64 << 10;

const NAME: &str = "ssh-keygen";

/// Whether it is installed.
pub fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(NAME).is_file())
}

/// Signs a message with the private key of a file, or with the one that an agent holds for the public key of a file.
///
/// # Errors
/// [`Kind::NoPermission`] when that can't be done without asking somebody.
pub fn sign(key: &Path, namespace: &str, message: &[u8]) -> Result<Signature> {
    let mut command = quiet();
    command.args(["-q", "-P", "", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
    let done = run(command, message)?;
    match done.status.success() {
        true => Signature::parse(&done.stdout),
        false => Err(refused(&format!("can't sign with {}", key.display()), &done)),
    }
}

/// Whether a signature fits a message, and is by a key that a file of allowed signers (ssh-keygen(1)) has for somebody: by
/// which. Nothing when it does not.
pub fn verify(
    signers: &Path,
    who: &str,
    namespace: &str,
    signature: &Path,
    message: &[u8],
) -> Result<Option<Fingerprint>> {
    // Its form first: ssh-keygen is less strict with blanks, and of a file without end it would read much.
    let claimed = match crate::disk::read_if_there(signature, super::armor::LONGEST as u64)? {
        Some(bytes) => Signature::parse(&bytes),
        None => return Ok(None),
    };
    let Ok(claimed) = claimed else { return Ok(None) };
    let mut command = quiet();
    command.args(["-q", "-Y", "verify", "-I", who, "-n", namespace, "-f"]).arg(signers).arg("-s").arg(signature);
    let done = run(command, message)?;
    Ok(done.status.success().then(|| claimed.key().clone()))
}

/// Makes a key without a passphrase: this file, and its public half beside it.
pub fn make(path: &Path) -> Result<()> {
    let mut command = quiet();
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "builder", "-f"]).arg(path);
    let done = run(command, b"")?;
    match done.status.success() {
        true => Ok(()),
        false => Err(refused("can't make a key", &done)),
    }
}

/// The public half of a private key; of a file that holds a public key, that one.
///
/// # Errors
/// [`Kind::NoPermission`] for a key with a passphrase whose public half does not lie beside it.
pub fn public_half(key: &Path) -> Result<PublicKey> {
    if let Ok(Some(bytes)) = crate::disk::read_if_there(key, LONGEST)
        && let Ok(public) = String::from_utf8_lossy(&bytes).parse()
    {
        return Ok(public);
    }
    let mut command = quiet();
    command.args(["-y", "-P", "", "-f"]).arg(key);
    let done = run(command, b"")?;
    match done.status.success() {
        true => String::from_utf8_lossy(&done.stdout).parse(),
        false => Err(refused(&format!("can't read the key {}", key.display()), &done)),
    }
}

/// It asks nobody: neither at the terminal nor by a window.
fn quiet() -> Command {
    let mut command = Command::new(NAME);
    command.env("SSH_ASKPASS_REQUIRE", "never").env_remove("DISPLAY").env("LC_ALL", "C").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn refused(what: &str, done: &Output) -> Error {
    let said = String::from_utf8_lossy(&done.stderr);
    let why = said.trim().lines().last().unwrap_or("it was killed").to_owned();
    Error::new(Kind::NoPermission, format!("{what}: {why}"))
}

fn run(mut command: Command, message: &[u8]) -> Result<Output> {
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::Config, format!("{NAME} is not installed"))
            .hint("it comes with OpenSSH's client, in most systems in the package openssh-client"),
        _ => Error::new(Kind::Io, format!("can't start {NAME}: {e}")),
    })?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // Who does not read to the end has its reasons, and tells them by its exit code.
        scope.spawn(move || input.map(|mut input| input.write_all(message)));
        let stdout = scope.spawn(move || output.map(read).unwrap_or_default());
        let stderr = scope.spawn(move || errors.map(read).unwrap_or_default());
        let status = wait(&mut child);
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        Ok(Output { status: status?, stdout, stderr })
    })
}

fn read(from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(LONGEST).read_to_end(&mut bytes);
    bytes
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().at("wait for", NAME)? {
            return Ok(status);
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(Kind::TryAgain, format!("{NAME} took longer than {} s", PATIENCE.as_secs())));
        }
        thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
