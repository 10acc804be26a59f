//! SFTP version 3 (draft-ietf-secsh-filexfer-02), as much of it as uploads need.
//!
//! SECURITY. The server answers a worker's key, so a client may send anything. What a client calls a path is a
//! name in memory and reaches no system call: contents are written to drafts with names of our own, in the one
//! directory that the server was given as an open handle, and get their SHA-256 as a name when they are closed.
//! Nothing can be read, listed, linked or removed. Memory is bounded for every sequence of packets, and so are
//! bytes (a hole counts like what it replaces), files, handles and the lines on standard error.

mod answers;
pub mod client;
mod frames;
mod ingest;
mod names;
pub mod pipe;
mod refusal;
pub mod server;
mod session;
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests;
mod wire;
