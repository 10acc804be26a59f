//! The two streams between a server process and its worker.

use spool::error::{At, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What the worker says, and what it is told. They are files as the system has them: the library's standard output is
/// buffered by lines, and packets have none.
#[derive(Debug)]
pub struct Streams {
    /// Read from.
    pub input: File,
    /// Written to.
    pub output: File,
}

impl Streams {
    /// Standard input and output.
    ///
    /// # Errors
    /// One of them is closed, or no more files can be opened.
    pub fn standard() -> Result<Streams> {
        let of = |fd: BorrowedFd<'_>, name: &str| fd.try_clone_to_owned().map(File::from).at("use", name);
        Ok(Streams {
            input: of(io::stdin().as_fd(), "standard input")?,
            output: of(io::stdout().as_fd(), "standard output")?,
        })
    }
}
