//! The door: builderd's socket, for those who don't own the spool. Both ends of what is said there.
//!
//! A connection (unix(7)) is one question and one answer. The client sends a command line: its length as four
//! bytes, the highest first, then the text as a shell quotes it. Its standard input, output and error come with it
//! as descriptors (SCM_RIGHTS), so that builderd never copies what is read or printed. The answer is a byte, the
//! exit status, then a line that says why nothing was done, when that is so, and the end.
//! A client who goes away before that wants no answer any more.

use crate::disk;
use crate::error::{At, Error, Kind, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest command line, in bytes.
pub const LONGEST: usize = 64 << 10;

/// The longest line of an answer, in bytes.
const LONGEST_LINE: u64 = 4 << 10;

/// What somebody wants.
#[derive(Debug)]
pub struct Question {
    /// The command line, quoted for a shell.
    pub command: String,
    /// The client's standard input, output and error.
    pub streams: [OwnedFd; 3],
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// The exit status.
    pub status: u8,
    /// Why nothing was done; empty when the verb itself has said all.
    pub line: String,
}

/// Listens at a path, for everybody: who is let in is told by [`peer`]. A socket that nobody listens at is replaced.
///
/// # Errors
/// [`Kind::TryAgain`] when somebody listens there, [`Kind::Config`] when something else is in the way.
pub fn listen(path: &Path) -> Result<UnixListener> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(Error::new(Kind::Config, format!("{} is in the way: it is no socket", path.display()))
                .hint("remove it, or set another `socket` in builder.toml"));
        }
        Ok(_) if knock(path)? != Err(rustix::io::Errno::CONNREFUSED) => {
            return Err(Error::new(Kind::TryAgain, format!("somebody listens at {} already", path.display()))
                .hint("set another `socket` in builder.toml"));
        }
        Ok(_) => disk::remove_file(path)?,
        Err(_) => {}
    }
    let (_dir, address) = address(path)?;
    let listener = UnixListener::bind(address).at("listen at", path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).at("set the mode of", path)?;
    Ok(listener)
}

/// Goes to the door at a path.
pub fn connect(path: &Path) -> Result<UnixStream> {
    let (_dir, address) = address(path)?;
    UnixStream::connect(address).at("reach builderd at", path)
}

/// Whether nobody listens at a path, as far as this user can see: builderd removes its socket when it ends, and one that it has left
/// refuses.
pub fn is_deserted(path: &Path) -> bool {
    use rustix::io::Errno;
    match knock(path) {
        Ok(answer) => matches!(answer, Err(Errno::NOENT | Errno::CONNREFUSED)),
        Err(e) => e.kind() == Kind::NoInput,
    }
}

/// What comes of going there, without waiting for an answer from somebody who is busy or hangs.
fn knock(path: &Path) -> Result<rustix::io::Result<()>> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    let (_dir, address) = address(path)?;
    let probe = socket(AddressFamily::UNIX, SocketType::STREAM, None).at("make", "a socket")?;
    rustix::io::ioctl_fionbio(&probe, true).at("make", "a socket")?;
    let address = SocketAddrUnix::new(address).at("look at", path)?;
    Ok(connect(&probe, &address))
}

/// A socket's address holds about 100 bytes; through /proc a directory of any length is short.
fn address(path: &Path) -> Result<(Option<OwnedFd>, PathBuf)> {
    use rustix::fs::{Mode, OFlags, open};
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok((None, path.to_owned())) };
    if !cfg!(target_os = "linux") || path.as_os_str().len() < 100 {
        return Ok((None, path.to_owned()));
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::from_bits_retain(PATH_ONLY);
    let dir = open(parent, flags, Mode::empty()).at("open", parent)?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((Some(dir), short))
}

/// A directory that may be entered and not read can be opened only so.
#[cfg(target_os = "linux")]
const PATH_ONLY: u32 = rustix::fs::OFlags::PATH.bits();
#[cfg(not(target_os = "linux"))]
const PATH_ONLY: u32 = 0;

/// The user and the group at the other end, when it connected: SO_PEERCRED of unix(7), getpeereid(3).
pub fn peer(stream: &UnixStream) -> Result<(u32, u32)> {
    #[cfg(target_os = "linux")]
    {
        let peer = rustix::net::sockopt::socket_peercred(stream).at("ask who is at", "the socket")?;
        Ok((peer.uid.as_raw(), peer.gid.as_raw()))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let (uid, gid) = nix::unistd::getpeereid(stream).map_err(io::Error::from).at("ask who is at", "the socket")?;
        Ok((uid.as_raw(), gid.as_raw()))
    }
}

/// Asks for a command line to be carried out on these streams. That nobody hears it is no failure yet: there may be an
/// answer already.
pub fn ask(mut stream: &UnixStream, command: &str, streams: [BorrowedFd<'_>; 3]) -> Result<()> {
    if command.len() > LONGEST {
        return Err(Error::new(Kind::Usage, format!("this command line is longer than {LONGEST} bytes"))
            .hint("give less at once"));
    }
    let bytes = [&(command.len() as u32).to_be_bytes(), command.as_bytes()].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&streams));
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&bytes)], &mut rights, SendFlags::NOSIGNAL);
    match sent.map_err(io::Error::from).and_then(|sent| stream.write_all(&bytes[sent..])) {
        Err(e) if [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&e.kind()) => Ok(()),
        written => written.at("write to", "builderd"),
    }
}

/// Hears a question, all of it in so much time.
///
/// # Errors
/// For whatever is no question: too slow, too long, not UTF-8, or without its three descriptors.
pub fn hear(stream: &UnixStream, patience: Duration) -> Result<Question> {
    let until = Instant::now() + patience;
    let mut streams = Vec::new();
    let mut length = [0; 4];
    take(stream, &mut length, &mut streams, until)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(Error::new(Kind::Usage, format!("a command line of {length} bytes is too long")));
    }
    let mut command = vec![0; length];
    take(stream, &mut command, &mut streams, until)?;
    stream.set_read_timeout(None).at("read from", "the socket")?;
    let command = String::from_utf8(command).map_err(|_| Error::new(Kind::Usage, "the command line is not UTF-8"))?;
    let streams =
        streams.try_into().map_err(|_| Error::new(Kind::Usage, "the command line came without three descriptors"))?;
    Ok(Question { command, streams })
}

fn take(stream: &UnixStream, buffer: &mut [u8], streams: &mut Vec<OwnedFd>, until: Instant) -> Result<()> {
    let mut got = 0;
    while got < buffer.len() {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        stream.set_read_timeout(Some(left)).at("read from", "the socket")?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut buffer[got..])];
        let flags = RecvFlags::from_bits_retain(libc::MSG_CMSG_CLOEXEC as _);
        let received = rustix::net::recvmsg(stream, &mut into, &mut rights, flags).at("read from", "the socket")?;
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                streams.extend(rights);
            }
        }
        if received.bytes == 0 || streams.len() > 3 || Instant::now() > until {
            return Err(Error::new(Kind::Usage, "what came was no command line"));
        }
        got += received.bytes;
    }
    Ok(())
}

/// Answers; a client that has gone hears nothing, and that is fine.
pub fn answer(mut stream: &UnixStream, answer: &Answer) {
    let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
    let _ = stream.write_all(&[&[answer.status], answer.line.as_bytes()].concat());
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// Waits for the answer.
pub fn answered(stream: &UnixStream) -> Result<Answer> {
    let mut bytes = Vec::new();
    // Who hangs up with something unread says so by an error (ECONNRESET); what came before counts.
    let read = stream.take(LONGEST_LINE).read_to_end(&mut bytes);
    match (bytes.split_first(), read) {
        (Some((status, line)), _) => {
            Ok(Answer { status: *status, line: String::from_utf8_lossy(line).replace('\n', " ") })
        }
        (None, Err(e)) if e.kind() != io::ErrorKind::ConnectionReset => Err(e).at("read from", "builderd"),
        _ => Err(Error::new(Kind::TryAgain, "builderd ended before it answered")
            .hint("what was asked for may be done or not: look, and try again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_question_arrives_with_its_streams() {
        let (client, server) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let long = "x".repeat(LONGEST);
        std::thread::scope(|scope| {
            scope.spawn(|| ask(&client, &long, [null.as_fd(), writer.as_fd(), null.as_fd()]).unwrap());
            let question = hear(&server, Duration::from_secs(100)).unwrap();
            assert_eq!(question.command, long);
            let [_, output, _] = question.streams;
            std::fs::File::from(output).write_all(b"hello").unwrap();
        });
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        answer(&server, &Answer { status: 3, line: "why".into() });
        let Answer { status, line } = answered(&client).unwrap();
        assert_eq!((status, line.as_str()), (3, "why"));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let long = (LONGEST as u32 + 1).to_be_bytes();
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\x01x", b"GET / HTTP/1.1\r\n\r\n", &long] {
            let (mut client, server) = UnixStream::pair().unwrap();
            client.write_all(bytes).unwrap();
            drop(client);
            assert!(hear(&server, Duration::from_secs(100)).is_err(), "{bytes:?}");
        }
        let (_client, server) = UnixStream::pair().unwrap();
        assert!(hear(&server, Duration::ZERO).is_err(), "silence");
    }
}
