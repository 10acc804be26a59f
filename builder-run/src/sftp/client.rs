//! The client: many files over one channel, without waiting for one answer before the next request.

use super::answers::{Answer, listen, nonsense};
use super::refusal::{shown, status};
use super::wire::{self, LONGEST_WRITE, Packet, kind, open};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};

/// A file to upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What it is called on the server, relative to where a session starts.
    pub path: String,
    /// Where it lies here.
    pub source: PathBuf,
    /// Its size in bytes; no more is sent, and less is an error.
    pub size: u64,
}

/// How many files are open on the server, at most.
const OPEN: usize = 64;
/// How many requests may wait for their answers.
const REQUESTS: usize = 256;
/// How many bytes of content may wait for their answers: more than what is on its way in a channel of OpenSSH
/// (2 MiB). They are not kept.
const BYTES: u64 = 16 << 20;
/// Requests go out when there are so many bytes of them, or nothing can be done but wait.
const BATCH: usize = 128 << 10;
/// What every server takes in one write, in bytes (draft-ietf-secsh-filexfer-02, section 3).
const SHORT_WRITE: u32 = 32 << 10;

/// Uploads files over the two directions of an SFTP channel. Returns when the server has closed the last of them
/// and ended the session. `open` opens a file when its turn has come.
///
/// # Errors
/// The name of a file and what went wrong with it, here or in the server's words, as [`io::ErrorKind::Other`]; any other
/// kind is of the channel.
pub fn upload(
    from: impl Read + Send,
    to: impl Write,
    mut files: impl Iterator<Item = Upload>,
    open: impl FnMut(&Upload) -> io::Result<File>,
) -> io::Result<()> {
    std::thread::scope(|scope| {
        let (tell, answers) = sync_channel(REQUESTS);
        // The server may wait until somebody reads its answers, before it reads on.
        scope.spawn(move || listen(from, &tell));
        // When the sender is dropped the server sees the end, and with its own end the listener goes.
        Sender::new(to, answers, open).send(&mut files)
    })
}

/// A file whose CLOSE was not sent yet.
struct Opened {
    upload: Rc<Upload>,
    handle: Option<Vec<u8>>,
    source: Option<File>,
    sent: u64,
}

/// What a request is about.
enum Asked {
    Limits,
    Open(Rc<Upload>),
    Write(Rc<Upload>, u64),
    Close(Rc<Upload>),
}

/// The requests that were not answered yet.
#[derive(Default)]
struct Unanswered {
    requests: BTreeMap<u32, Asked>,
    last_id: u32,
    /// Of content.
    bytes: u64,
}

impl Unanswered {
    /// Gives a request its number.
    fn add(&mut self, asked: Asked) -> u32 {
        self.bytes += asked.bytes();
        self.last_id = self.last_id.wrapping_add(1);
        self.requests.insert(self.last_id, asked);
        self.last_id
    }

    fn remove(&mut self, id: u32) -> io::Result<Asked> {
        let asked = self.requests.remove(&id).ok_or_else(|| nonsense("an answer to nothing"))?;
        self.bytes -= asked.bytes();
        Ok(asked)
    }
}

impl Asked {
    fn bytes(&self) -> u64 {
        if let Asked::Write(_, bytes) = self { *bytes } else { 0 }
    }
}

struct Sender<W, O> {
    to: W,
    /// Requests that were not sent yet.
    batch: Vec<u8>,
    answers: Receiver<io::Result<Answer>>,
    unanswered: Unanswered,
    opened: VecDeque<Opened>,
    may_open: usize,
    longest_write: u32,
    open: O,
}

impl<W: Write, O: FnMut(&Upload) -> io::Result<File>> Sender<W, O> {
    fn new(to: W, answers: Receiver<io::Result<Answer>>, open: O) -> Sender<W, O> {
        Sender {
            to,
            batch: Vec::new(),
            answers,
            unanswered: Unanswered::default(),
            opened: VecDeque::new(),
            may_open: OPEN,
            longest_write: SHORT_WRITE,
            open,
        }
    }

    fn send(mut self, files: &mut impl Iterator<Item = Upload>) -> io::Result<()> {
        self.greet()?;
        loop {
            self.open_ahead(files);
            if self.opened.is_empty() && self.unanswered.requests.is_empty() {
                return Ok(());
            }
            if !self.send_piece()? {
                self.flush()?;
                let answer = self.wait()?;
                self.take(answer)?;
            }
            while let Ok(answer) = self.answers.try_recv() {
                self.take(answer?)?;
            }
        }
    }

    /// Agrees on the version, and learns what the server takes at a time if it says so.
    fn greet(&mut self) -> io::Result<()> {
        Packet::new(&mut self.batch, kind::INIT).u32(wire::VERSION).end();
        self.flush()?;
        let Answer::Version { has_limits } = self.wait()? else {
            return Err(nonsense("it does not begin with VERSION"));
        };
        if has_limits {
            let id = self.unanswered.add(Asked::Limits);
            Packet::new(&mut self.batch, kind::EXTENDED).u32(id).bytes(wire::LIMITS).end();
            self.flush()?;
            let answer = self.wait()?;
            self.take(answer)?;
        }
        Ok(())
    }

    fn open_ahead(&mut self, files: &mut impl Iterator<Item = Upload>) {
        while self.opened.len() < self.may_open
            && self.unanswered.requests.len() < REQUESTS
            && let Some(upload) = files.next()
        {
            let upload = Rc::new(upload);
            let id = self.unanswered.add(Asked::Open(upload.clone()));
            let packet = Packet::new(&mut self.batch, kind::OPEN).u32(id).bytes(upload.path.as_bytes());
            packet.u32(open::WRITE | open::CREATE | open::TRUNCATE).u32(0).end();
            self.opened.push_back(Opened { upload, handle: None, source: None, sent: 0 });
        }
    }

    /// Sends the next piece of the first file, or its CLOSE. False when an answer must come first.
    fn send_piece(&mut self) -> io::Result<bool> {
        let room = BYTES - self.unanswered.bytes >= self.longest_write.into();
        let Some(file) = self.opened.front_mut() else { return Ok(false) };
        let (true, true, Some(handle)) = (room, self.unanswered.requests.len() < REQUESTS, &file.handle) else {
            return Ok(false);
        };
        let upload = &file.upload;
        let length = (upload.size - file.sent).min(self.longest_write.into());
        if length > 0 {
            let source = match &mut file.source {
                Some(source) => source,
                none => none.insert((self.open)(upload).map_err(|e| at_source(upload, &e))?),
            };
            let id = self.unanswered.add(Asked::Write(upload.clone(), length));
            let packet = Packet::new(&mut self.batch, kind::WRITE).u32(id).bytes(handle).u64(file.sent);
            packet.bytes_from(source, length as u32).map_err(|e| at_source(upload, &e))?.end();
            file.sent += length;
        } else {
            let id = self.unanswered.add(Asked::Close(upload.clone()));
            Packet::new(&mut self.batch, kind::CLOSE).u32(id).bytes(handle).end();
            self.opened.pop_front();
        }
        if self.batch.len() >= BATCH { self.flush().map(|()| true) } else { Ok(true) }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.to.write_all(&self.batch).and_then(|()| self.to.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(self.last_words()),
            other => other?,
        }
        self.batch.clear();
        Ok(())
    }

    /// Why the server does not read any more.
    fn last_words(&mut self) -> io::Error {
        loop {
            if let Err(why) = self.wait().and_then(|answer| self.take(answer)) {
                return why;
            }
        }
    }

    fn wait(&mut self) -> io::Result<Answer> {
        let ended = || Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the session"));
        self.answers.recv().unwrap_or_else(|_| ended())
    }

    fn take(&mut self, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Status { id, code, text } => self.take_status(id, code, &text),
            Answer::Handle { id, handle } => {
                let Asked::Open(upload) = self.unanswered.remove(id)? else {
                    return Err(nonsense("a handle that nobody asked for"));
                };
                if let Some(file) = self.opened.iter_mut().find(|file| Rc::ptr_eq(&file.upload, &upload)) {
                    file.handle = Some(handle);
                }
                Ok(())
            }
            Answer::Limits { id, write, handles } => {
                self.unanswered.remove(id)?;
                if write > 0 {
                    self.longest_write = write.min(LONGEST_WRITE.into()) as u32;
                }
                if handles > 0 {
                    self.may_open = handles.min(OPEN as u64) as usize;
                }
                Ok(())
            }
            Answer::Version { .. } => Err(nonsense("a second VERSION")),
        }
    }

    fn take_status(&mut self, id: u32, code: u32, text: &[u8]) -> io::Result<()> {
        match (self.unanswered.remove(id)?, code) {
            (Asked::Write(..) | Asked::Close(_), status::OK) => Ok(()),
            (Asked::Limits | Asked::Open(_), status::OK) => Err(nonsense("OK instead of an answer")),
            (Asked::Limits, _) => Err(io::Error::other(format!("the server refuses it: {}", shown(text)))),
            (Asked::Open(upload) | Asked::Write(upload, _) | Asked::Close(upload), _) => {
                Err(io::Error::other(format!("the server refuses {}: {}", upload.path, shown(text))))
            }
        }
    }
}

fn at_source(upload: &Upload, error: &io::Error) -> io::Error {
    let source = upload.source.display();
    io::Error::other(match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{source}: it has shrunk from its {} bytes", upload.size),
        _ => format!("{source}: {error}"),
    })
}
