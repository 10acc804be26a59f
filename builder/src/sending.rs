//! The caller's own files on their way to where a verb is carried out, as a tar archive.

use crate::{out, words};
use spool::error::{At, Result};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::thread;
use tar::{Builder, EntryType, Header};

/// No header of an archive, upon which its reader gives up.
const BROKEN: [u8; 512] = [0xff; 512];

/// The end of a pipe from which the archive comes. All files can be read now; should one of them be gone when its turn comes,
/// the archive is broken there.
pub fn stream(files: Vec<PathBuf>) -> Result<File> {
    files.iter().try_for_each(|path| words::open(path).map(drop))?;
    let (reader, writer) = io::pipe().at("make", "a pipe")?;
    thread::spawn(move || {
        if let Err(e) = send(&files, writer) {
            out::hint(&e.to_string());
        }
    });
    Ok(OwnedFd::from(reader).into())
}

fn send(files: &[PathBuf], to: PipeWriter) -> Result<()> {
    let mut archive = Builder::new(BufWriter::with_capacity(64 << 10, to));
    for path in files {
        if let Err(e) = send_one(&mut archive, path) {
            let _ = archive.get_mut().write_all(&BROKEN);
            return Err(e);
        }
    }
    unless_closed(archive.into_inner().and_then(|mut to| to.flush())).at("send", "the archive")
}

fn send_one(archive: &mut Builder<impl Write>, path: &Path) -> Result<()> {
    let mut file = words::open(path)?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(file.metadata().at("look at", path)?.len());
    unless_closed(archive.append_data(&mut header, name(path), &mut file)).at("send", path)
}

/// Whoever reads no more has said why.
fn unless_closed(sent: io::Result<()>) -> io::Result<()> {
    sent.or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
}

/// What is said of the file there: its path without what can't stand in an archive.
fn name(path: &Path) -> PathBuf {
    let name: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    if name.as_os_str().is_empty() { "file".into() } else { name }
}
