//! The server's host key, pinned: it is taken from somebody who has read it on the server, never from the network alone.
#![allow(clippy::disallowed_methods)]

use super::Address;
use crate::program;
use spool::error::{At, Error, Kind, Result};
use spool::worker::PublicKey;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

/// The file in which it is pinned.
pub const KNOWN_HOSTS: &str = "known_hosts";

/// Whether the file has a key of the server.
pub fn is_known(server: &Address, file: &Path) -> Result<bool> {
    if !file.exists() {
        return Ok(false);
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-F", &server.known_as(), "-f"]).arg(file);
    Ok(program::run(&mut keygen, "")?.status.success())
}

/// Pins what was said of the server: a public key as it is, or a fingerprint with the key that the server shows, if that
/// one has it. It takes the place of what was pinned before; that is enough when nothing is said.
///
/// # Errors
/// [`Kind::NoPermission`] when the server shows other keys, or when there is nothing to compare its keys with.
pub fn pin(server: &Address, said: Option<&str>, file: &Path) -> Result<()> {
    let keys = match said {
        None if is_known(server, file)? => return Ok(()),
        None => return Err(unknown(server)),
        Some(said) if said.starts_with("SHA256:") => vec![shown_with(server, said)?],
        Some(said) => vec![said.parse::<PublicKey>()?.to_string()],
    };
    forget(server, file)?;
    let known = std::fs::read_to_string(file).unwrap_or_default();
    // Somebody may have written it with an editor that ends no line.
    let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
    let lines: String = keys.iter().map(|key| format!("{} {key}\n", server.known_as())).collect();
    let open = OpenOptions::new().append(true).create(true).mode(0o644).open(file);
    let write = |mut file: File| file.write_all(format!("{gap}{lines}").as_bytes()).and_then(|()| file.sync_all());
    open.and_then(write).at("write", file)
}

/// A key that was true before may be known to others by now.
fn forget(server: &Address, file: &Path) -> Result<()> {
    if !is_known(server, file)? {
        return Ok(());
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-R", &server.known_as(), "-f"]).arg(file);
    program::output(&mut keygen, "")?;
    // It leaves a copy with the keys that are not to be trusted any more.
    let mut old = file.to_owned().into_os_string();
    old.push(".old");
    let _ = std::fs::remove_file(old);
    Ok(())
}

/// Nobody has said which key the server has: what it shows is printed, for somebody to compare.
fn unknown(server: &Address) -> Error {
    let shown = match scan(server) {
        Ok(keys) => {
            let prints: Vec<String> = keys.iter().filter_map(|key| fingerprint(key).ok()).collect();
            format!("; it shows {}", prints.join(" and "))
        }
        Err(_) => String::new(),
    };
    Error::new(Kind::NoPermission, format!("the host key of {} is not known{shown}", server.host))
        .hint("`builder setup server` prints the true one there: give it with --host-key")
}

/// The key with this fingerprint, of those that the server shows.
fn shown_with(server: &Address, print: &str) -> Result<String> {
    let keys = scan(server)?;
    let mut others = Vec::new();
    for key in keys {
        match fingerprint(&key)? {
            same if same == print => return Ok(key),
            other => others.push(other),
        }
    }
    Err(Error::new(Kind::NoPermission, format!("{} shows other host keys: {}", server.host, others.join(" and ")))
        .hint("compare them on the server itself: somebody may stand in between"))
}

/// The public keys that a server shows to everybody.
fn scan(server: &Address) -> Result<Vec<String>> {
    let mut scan = Command::new("ssh-keyscan");
    scan.args(["-T", "10", "-p", &server.port.unwrap_or(22).to_string(), &server.host]);
    let shown = program::run(&mut scan, "")?.output;
    let key = |line: &str| line.split_once(' ')?.1.parse::<PublicKey>().ok().map(|key| key.to_string());
    let keys: Vec<String> = shown.lines().filter(|line| !line.starts_with('#')).filter_map(key).collect();
    match keys.is_empty() {
        true => Err(Error::new(Kind::TryAgain, format!("no ssh server answers at {}", server.known_as()))
            .hint("check the host and the port, or give the public key itself with --host-key")),
        false => Ok(keys),
    }
}

fn fingerprint(key: &str) -> Result<String> {
    let said = program::output(Command::new("ssh-keygen").args(["-l", "-f", "-"]), &format!("{key}\n"))?;
    said.split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .map(str::to_owned)
        .ok_or_else(|| Error::new(Kind::Internal, "ssh-keygen printed no fingerprint"))
}
