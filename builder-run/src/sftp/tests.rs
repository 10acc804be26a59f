//! Both ends with each other, and the server with clients that are not ours.

use super::client::{Upload, upload};
use super::server::{Limits, refuse, serve};
use super::wire::{self, Fields, LONGEST_PACKET, LONGEST_WRITE, Packet, kind, open};
use spool::digest::Sha256;
use spool::room::Reserve;
use spool::upload::Area;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const NOTHING: Reserve = Reserve { bytes: 0, inodes: 0 };
const LIMITS: Limits = Limits { bytes: 1 << 30, files: 10_000, path_bytes: 1024, handles: 256, reserve: NOTHING };

/// A directory that goes with its owner.
struct Room(PathBuf);

impl Room {
    fn new() -> Room {
        static ROOMS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = ROOMS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("builder-run-sftp.{}.{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::create_dir(path.join("area")).unwrap();
        Room(path)
    }

    fn area(&self) -> Area {
        Area::new(File::open(self.0.join("area")).unwrap().into())
    }

    fn names(&self) -> Vec<String> {
        let mut names = spool::disk::names(&self.0.join("area")).unwrap();
        names.sort();
        names
    }

    fn file(&self, name: &str, content: &[u8]) -> Upload {
        let source = self.0.join(name);
        std::fs::write(&source, content).unwrap();
        Upload { path: name.to_owned(), source, size: content.len() as u64 }
    }

    /// Our client and our server, over pipes.
    fn upload(&self, limits: Limits, files: &[Upload]) -> (io::Result<()>, io::Result<()>) {
        let (from, output) = rustix::pipe::pipe().unwrap();
        let (input, to) = rustix::pipe::pipe().unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(File::from(input), File::from(output), self.area(), limits));
            let opener = |file: &Upload| File::open(&file.source);
            let sent = upload(File::from(from), File::from(to), files.iter().cloned(), opener);
            (sent, server.join().unwrap())
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn holds(dir: &Path, content: &[u8]) -> bool {
    std::fs::read(dir.join("area").join(Sha256::of(content).to_string())).is_ok_and(|kept| kept == content)
}

#[test]
fn files_of_all_sizes_arrive() {
    let room = Room::new();
    let write = LONGEST_WRITE as usize;
    let sizes = [0, 1, 4096, write - 1, write, write + 1, 3 * write, 40 * write + 7];
    let contents: Vec<Vec<u8>> =
        sizes.iter().map(|size| (0..*size).map(|at| ((at * at) >> 7) as u8).collect()).collect();
    let files: Vec<Upload> =
        contents.iter().enumerate().map(|(at, content)| room.file(&at.to_string(), content)).collect();
    let (sent, served) = room.upload(LIMITS, &files);
    sent.and(served).unwrap();
    assert!(contents.iter().all(|content| holds(&room.0, content)));
    assert_eq!(room.names().len(), sizes.len());
}

#[test]
fn many_files_arrive_even_at_a_server_with_few_handles() {
    let room = Room::new();
    let files: Vec<Upload> = (0..2000).map(|at| room.file(&format!("f{at}"), at.to_string().as_bytes())).collect();
    for handles in [1, 7, 256] {
        let (sent, served) = room.upload(Limits { handles, ..LIMITS }, &files);
        sent.and(served).unwrap();
        assert_eq!(room.names().len(), 2000);
    }
}

#[test]
fn nothing_is_an_upload_too() {
    let (sent, served) = Room::new().upload(LIMITS, &[]);
    sent.and(served).unwrap();
}

#[test]
fn what_can_t_be_sent_is_named() {
    let room = Room::new();
    let mut shrunk = room.file("shrunk", b"12345");
    shrunk.size = 6;
    let gone = Upload { path: "gone".into(), source: room.0.join("gone"), size: 1 };
    for (file, says) in [(shrunk, "shrunk: it has shrunk from its 6 bytes"), (gone, "gone: No such file")] {
        let (sent, served) = room.upload(LIMITS, &[room.file("good", b"good"), file]);
        assert!(sent.unwrap_err().to_string().contains(says));
        served.unwrap();
        assert!(room.names().iter().all(|name| !name.ends_with(".part")), "{:?}", room.names());
    }
}

#[test]
fn limits_hold_and_their_reason_arrives() {
    for (limits, says, most) in [
        (Limits { bytes: 2500, ..LIMITS }, "the server refuses f2: /artifacts/f2: the build's artifacts would be", 2),
        (Limits { files: 3, ..LIMITS }, "the build has as many artifacts as it may have", 3),
        (Limits { path_bytes: 1, ..LIMITS }, "a path has at most", 0),
    ] {
        let room = Room::new();
        let files: Vec<Upload> = (0..5).map(|at| room.file(&format!("f{at}"), &[at; 1000])).collect();
        let (sent, served) = room.upload(limits, &files);
        let error = sent.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        served.unwrap();
        assert!(room.names().len() <= most);
    }
}

#[test]
fn earlier_sessions_count() {
    let room = Room::new();
    let files: Vec<Upload> = (0..3).map(|at| room.file(&format!("f{at}"), &[at; 1000])).collect();
    for (limits, may) in [(Limits { files: 2, ..LIMITS }, true), (Limits { bytes: 2999, ..LIMITS }, false)] {
        let (sent, served) = room.upload(limits, &files[if may { 0..2 } else { 2..3 }]);
        assert_eq!(sent.is_ok(), may);
        served.unwrap();
    }
    assert_eq!(room.names().len(), 2);
}

#[test]
fn who_may_do_nothing_learns_why() {
    let room = Room::new();
    let (from, output) = rustix::pipe::pipe().unwrap();
    let (input, to) = rustix::pipe::pipe().unwrap();
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| refuse(File::from(input), File::from(output), "there is no build").unwrap());
        let files = [room.file("a", b"a")].into_iter();
        upload(File::from(from), File::from(to), files, |file| File::open(&file.source))
    });
    assert!(sent.unwrap_err().to_string().ends_with("there is no build"));
}

/// A client that sends anything.
struct Raw(Vec<u8>);

impl Raw {
    fn new() -> Raw {
        let mut stream = Vec::new();
        Packet::new(&mut stream, kind::INIT).u32(6).end();
        Raw(stream)
    }

    fn say(mut self, kind: u8, fields: impl FnOnce(Packet<'_>) -> Packet<'_>) -> Raw {
        fields(Packet::new(&mut self.0, kind)).end();
        self
    }

    fn open(self, path: &[u8], flags: u32) -> Raw {
        self.say(kind::OPEN, |p| p.u32(1).bytes(path).u32(flags).u32(0))
    }

    fn write(self, handle: u64, offset: u64, data: &[u8]) -> Raw {
        self.say(kind::WRITE, |p| p.u32(2).bytes(&handle.to_be_bytes()).u64(offset).bytes(data))
    }

    fn close(self, handle: u64) -> Raw {
        self.say(kind::CLOSE, |p| p.u32(3).bytes(&handle.to_be_bytes()))
    }

    /// The answers behind VERSION: type, number, and the status where it is one.
    fn answers(self, room: &Room, limits: Limits) -> (Vec<(u8, u32, u32)>, io::Result<()>) {
        let mut output = Vec::new();
        let served = serve(self.0.as_slice(), &mut output, room.area(), limits);
        let (mut answers, mut rest) = (Vec::new(), Fields::new(&output));
        while !rest.is_empty() {
            let mut packet = Fields::new(rest.bytes().unwrap());
            let (kind, id) = (packet.u8().unwrap(), packet.u32().unwrap());
            answers.push((kind, id, if kind == kind::STATUS { packet.u32().unwrap() } else { 0 }));
        }
        if !answers.is_empty() {
            assert_eq!(answers.remove(0), (kind::VERSION, wire::VERSION, 0));
        }
        (answers, served)
    }

    fn statuses(self, room: &Room, limits: Limits) -> Vec<u32> {
        let (answers, served) = self.answers(room, limits);
        served.unwrap();
        answers.iter().map(|(_, _, status)| *status).collect()
    }
}

const NEW: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

#[test]
fn malformed_requests_are_answered_with_their_number() {
    let room = Room::new();
    let (answers, served) = Raw::new()
        .say(kind::OPEN, |p| p.u32(11).u32(1000))
        .say(kind::WRITE, |p| p.u32(12))
        .say(kind::CLOSE, |p| p.u32(13).u32(u32::MAX))
        .say(kind::EXTENDED, |p| p.u32(14).bytes(b"posix-rename@openssh.com"))
        .say(99, |p| p.u32(15))
        .say(kind::EXTENDED, |p| p.u32(16).bytes(wire::LIMITS))
        .answers(&room, LIMITS);
    served.unwrap();
    let status = |id, code| (kind::STATUS, id, code);
    assert_eq!(answers[..5], [status(11, 5), status(12, 5), status(13, 5), status(14, 8), status(15, 8)]);
    assert_eq!(answers[5..], [(kind::EXTENDED_REPLY, 16, 0)]);
}

#[test]
fn what_is_not_sftp_ends_the_session_and_leaves_nothing() {
    let room = Room::new();
    let opened = || Raw::new().open(b"f", NEW).write(1, 0, b"data");
    let mut too_long = opened();
    too_long.0.extend((LONGEST_PACKET as u32 + 1).to_be_bytes());
    let mut cut = opened();
    cut.0.extend([0, 0]);
    let mut no_init = Raw::new();
    no_init.0.drain(..9);
    for (raw, kind) in [
        (too_long, io::ErrorKind::InvalidData),
        (opened().say(kind::CLOSE, |p| p), io::ErrorKind::InvalidData),
        (no_init.close(1), io::ErrorKind::InvalidData),
        (cut, io::ErrorKind::UnexpectedEof),
    ] {
        assert_eq!(raw.answers(&room, LIMITS).1.unwrap_err().kind(), kind);
        assert!(room.names().is_empty());
    }
    assert!(opened().answers(&room, LIMITS).1.is_ok());
    assert!(room.names().is_empty(), "a file that is not closed is nothing");
}

#[test]
fn what_was_asked_before_a_stream_breaks_is_answered() {
    let room = Room::new();
    let asked = || Raw::new().open(b"f", NEW).write(1, 0, b"data").close(1);
    let mut broken = asked();
    broken.0.extend([0, 0, 0, 0]);
    for raw in [broken, asked().say(kind::CLOSE, |p| p)] {
        let (answers, served) = raw.answers(&room, LIMITS);
        assert_eq!(served.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(answers, [(kind::HANDLE, 1, 0), (kind::STATUS, 2, 0), (kind::STATUS, 3, 0)]);
    }
    assert_eq!(room.names(), [Sha256::of(b"data").to_string()]);
}

#[test]
fn a_client_that_takes_no_answers_any_more_has_hung_up() {
    let room = Room::new();
    let (from, output) = rustix::pipe::pipe().unwrap();
    drop(from);
    let asked = Raw::new().open(b"f", NEW).write(1, 0, b"data").close(1);
    serve(asked.0.as_slice(), File::from(output), room.area(), LIMITS).unwrap();
}

#[test]
fn only_uploads_are_possible() {
    let room = Room::new();
    let mut raw = Raw::new().open(b"f", NEW).write(1, 0, b"content").close(1);
    for refused in [kind::READ, kind::OPENDIR, kind::READDIR, kind::REMOVE, kind::RMDIR, kind::READLINK, kind::SYMLINK]
    {
        raw = raw.say(refused, |p| p.u32(5).bytes(b"f").bytes(b"g"));
    }
    let statuses = raw
        .open(b"f", 1)
        .open(b"f", open::WRITE | open::CREATE)
        .open(b"g", NEW | open::APPEND)
        .open(b"/etc/passwd2", NEW)
        .open(b"../x", NEW)
        .open(b"f", NEW | open::EXCLUSIVE)
        .open(b"", NEW)
        .open(b"unknown", open::WRITE)
        .statuses(&room, LIMITS);
    assert_eq!(statuses[..3], [0; 3]);
    assert_eq!(statuses[3..], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 2]);
    assert_eq!(room.names(), [Sha256::of(b"content").to_string()]);
}

#[test]
fn names_live_in_memory() {
    let room = Room::new();
    let named = |kind, path: &'static [u8]| move |raw: Raw| raw.say(kind, |p| p.u32(7).bytes(path).u32(0));
    let mut raw = Raw::new().open(b"\xff\x00name", NEW).write(1, 0, b"a").close(1).close(1);
    for step in [
        named(kind::STAT, b"\xff\x00name"),
        named(kind::MKDIR, b"sub"),
        named(kind::MKDIR, b"sub"),
        named(kind::STAT, b"sub"),
        named(kind::STAT, b"other"),
        named(kind::SETSTAT, b"sub"),
        named(kind::REALPATH, b"."),
        named(kind::MKDIR, b"/tmp/x"),
    ] {
        raw = step(raw);
    }
    let raw = raw.say(kind::RENAME, |p| p.u32(8).bytes(b"\xff\x00name").bytes(b"sub/name"));
    let raw = raw.say(kind::RENAME, |p| p.u32(8).bytes(b"sub/name").bytes(b"/etc/name"));
    assert_eq!(raw.statuses(&room, LIMITS), [0, 0, 0, 4, 0, 0, 4, 0, 2, 0, 0, 3, 0, 3]);
    assert_eq!(room.names(), [Sha256::of(b"a").to_string()]);
}

#[test]
fn holes_and_overflows_count() {
    let room = Room::new();
    let limits = Limits { bytes: 1000, handles: 2, ..LIMITS };
    let statuses = Raw::new()
        .open(b"f", NEW)
        .write(1, u64::MAX, b"x")
        .write(1, 1000, b"x")
        .close(1)
        .open(b"g", NEW)
        .write(2, 998, b"x")
        .write(2, u64::MAX, b"")
        .open(b"h", NEW)
        .open(b"i", NEW)
        .write(3, 0, b"yy")
        .write(3, 0, b"z")
        .close(2)
        .close(3)
        .close(4)
        .statuses(&room, limits);
    assert_eq!(statuses, [0, 4, 4, 4, 0, 0, 0, 0, 4, 4, 0, 0, 4, 4]);
    assert_eq!(room.names().len(), 1, "what was refused a write is not kept");
}

#[test]
fn an_open_file_can_be_resized() {
    let room = Room::new();
    let resize = |raw: Raw, size: u64| {
        raw.say(kind::FSETSTAT, |p| p.u32(4).bytes(&1_u64.to_be_bytes()).u32(wire::attribute::SIZE).u64(size))
    };
    let raw = resize(Raw::new().open(b"f", NEW).write(1, 0, b"content"), 3);
    let raw = resize(raw.write(1, 3, b"fused"), 10);
    assert_eq!(raw.close(1).statuses(&room, LIMITS), [0; 6]);
    assert_eq!(room.names(), [Sha256::of(b"confused\0\0").to_string()]);
}

#[test]
fn nonsense_never_breaks_a_session() {
    let room = Room::new();
    let mut state = 1_u64;
    for _ in 0..200 {
        let mut raw = Raw::new().open(b"f", NEW);
        for _ in 0..40 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let noise = state.to_be_bytes();
            raw = raw.say(noise[0] % 24, |p| p.u32(9).bytes(&[0, 0, 0, 0, 0, 0, 0, noise[1] % 3]).bytes(&noise[2..]));
            raw.0.extend([0, 0, 0, 9, 200, noise[3]]);
            raw.0.extend(&noise[1..]);
        }
        raw.answers(&room, LIMITS).1.unwrap();
    }
    assert!(room.names().iter().all(|name| name.len() == 64));
}
