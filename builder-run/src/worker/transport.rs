//! How a worker reaches its server: one SSH connection with a channel for each need, or a pipe.

use spool::error::{At, Result};
use std::fs::File;
use std::os::fd::OwnedFd;

/// The two directions of a channel.
pub struct Streams {
    pub from: File,
    pub to: File,
}

/// A connection to a server.
pub trait Transport {
    /// Opens the channel for the session.
    fn session(&mut self) -> Result<Streams>;
    /// Opens a channel for SFTP. The guard that comes with it keeps it open.
    fn sftp(&mut self) -> Result<(Streams, Box<dyn Channel>)>;
    /// The numbers of the processes that carry it.
    fn processes(&self) -> Vec<u32>;
}

/// An open channel; it ends when this is dropped.
pub trait Channel {}

/// A pair of pipes: our two ends, then the other side's stdin and stdout.
pub fn pipes() -> Result<(Streams, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make", "a pipe");
    let (their_stdin, to) = pipe()?;
    let (from, their_stdout) = pipe()?;
    Ok((Streams { from: from.into(), to: to.into() }, their_stdin, their_stdout))
}
