//! The pipes between an SFTP end and the SSH program beside it.

use std::fs::File;

/// Lets a pipe hold several of the longest packets (1 MiB), so that one side goes on while the other is busy:
/// a quarter of the time of a large upload. Where it is no pipe, or none so large is allowed, nothing is lost but that.
#[cfg(target_os = "linux")]
pub fn widen(pipe: &File) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

/// Other systems widen a pipe by themselves when much is written to it (FreeBSD's sys_pipe.c).
#[cfg(not(target_os = "linux"))]
pub fn widen(_: &File) {}
