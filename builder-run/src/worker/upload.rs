//! Uploading artifacts, beside whatever else the worker does.

use super::event::{Event, Failure, Post};
use super::session::SharedTransport;
use crate::sftp;
use crate::sftp::client::Upload;
use std::fs::File;
use std::io;
use std::sync::PoisonError;
use std::time::Instant;

/// Starts to upload, and reports when it is done. One that hangs on a connection that is lost ends with the connection.
pub fn start(transport: SharedTransport, files: Vec<Upload>, post: Post) {
    std::thread::spawn(move || {
        let done = run(&transport, files);
        drop(transport);
        post.send(Event::Uploaded(done));
    });
}

fn run(transport: &SharedTransport, files: Vec<Upload>) -> Result<(), Failure> {
    let (count, bytes) = (files.len(), files.iter().map(|file| file.size).sum::<u64>());
    let start = Instant::now();
    let opened = transport.lock().unwrap_or_else(PoisonError::into_inner).sftp();
    let (streams, _channel) = opened.map_err(|e| Failure::Lost(e.to_string()))?;
    sftp::pipe::widen(&streams.to);
    let open = |file: &Upload| File::open(&file.source);
    sftp::client::upload(streams.from, streams.to, files.into_iter(), open).map_err(|e| match e.kind() {
        io::ErrorKind::Other => Failure::Refused(e.to_string()),
        _ => Failure::Lost(e.to_string()),
    })?;
    tracing::info!(files = count, bytes, ms = start.elapsed().as_millis() as u64, "uploaded");
    Ok(())
}
