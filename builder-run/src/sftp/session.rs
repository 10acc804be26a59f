//! What a client can do in a session, and what it has done so far.

use super::ingest::Ingest;
use super::names::{Names, ROOT, Seen};
use super::refusal::{Refusal, shown};
use super::wire::{self, Fields, Short, kind, open};
use spool::room::Reserve;
use spool::upload::{Area, Draft};
use std::collections::BTreeMap;
use std::io;

/// What may lie in an area, and what one session may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of content: the furthest that each file ever reached, holes included.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes in a path below `/artifacts`.
    pub path_bytes: usize,
    /// Number of files that are open at a time.
    pub handles: usize,
    /// What is kept free on the disk: an upload waits until there is more.
    pub reserve: Reserve,
}

/// An answer that says yes.
#[derive(Debug)]
pub enum Answer {
    Done,
    Handle(u64),
    Attributes(Seen),
    Name(Vec<u8>),
    Limits { handles: usize },
}

type Answered = Result<Answer, Refusal>;

/// A file that is open.
#[derive(Debug)]
struct Upload<'a> {
    name: Vec<u8>,
    draft: Draft<'a>,
    ingest: Ingest,
    /// A change was refused, so the content is not what the client wants it to be.
    broken: bool,
}

/// A client's files, names and what is left of its limits.
#[derive(Debug)]
pub struct Session<'a> {
    area: &'a Area,
    handles: usize,
    reserve: Reserve,
    bytes_left: u64,
    files_left: u64,
    names: Names,
    uploads: BTreeMap<u64, Upload<'a>>,
    opened: u64,
}

impl<'a> Session<'a> {
    /// A session in an area whose contents count already.
    pub fn new(area: &'a Area, limits: Limits) -> io::Result<Session<'a>> {
        let (files, bytes) = area.usage()?;
        Ok(Session {
            area,
            handles: limits.handles,
            reserve: limits.reserve,
            bytes_left: limits.bytes.saturating_sub(bytes),
            files_left: limits.files.saturating_sub(files),
            names: Names::new(ROOT.len() + 1 + limits.path_bytes),
            uploads: BTreeMap::new(),
            opened: 0,
        })
    }

    /// Carries out one request, given by its type and the fields behind its number.
    pub fn carry_out(&mut self, kind: u8, fields: &mut Fields<'_>) -> Answered {
        match kind {
            kind::OPEN => self.open(fields),
            kind::WRITE => self.write(fields),
            kind::CLOSE => self.close(fields),
            kind::STAT | kind::LSTAT => self.stat(fields),
            kind::FSTAT => Ok(Answer::Attributes(Seen::File(self.upload(fields)?.ingest.extent()))),
            kind::SETSTAT => self.set_attributes(fields),
            kind::FSETSTAT => self.set_attributes_of_open(fields),
            kind::REALPATH => Ok(Answer::Name(self.names.absolute(fields.bytes()?)?)),
            kind::MKDIR => self.make_directory(fields),
            kind::RENAME => self.rename(fields),
            kind::EXTENDED => self.extended(fields),
            kind::READ => Err(Refusal::denied("nothing can be read here")),
            kind::OPENDIR | kind::READDIR => Err(Refusal::denied("nothing can be listed or read here")),
            kind::REMOVE | kind::RMDIR => Err(Refusal::denied("nothing can be removed here")),
            kind::READLINK | kind::SYMLINK => Err(Refusal::denied("there are no links here")),
            _ => Err(Refusal::unsupported(format!("requests of type {kind} mean nothing here"))),
        }
    }

    fn open(&mut self, fields: &mut Fields<'_>) -> Answered {
        let (path, flags) = (fields.bytes()?, fields.u32()?);
        fields.size_attribute()?;
        let name = self.names.below_root(path)?;
        self.may_open(&name, flags)?;
        self.wait_for_room(&name)?;
        let (draft, file) = self.area.draft().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Refusal::failed("the build is over, so nothing can be uploaded to it"),
            _ => Refusal::system(&name, &e),
        })?;
        self.files_left -= 1;
        self.opened += 1;
        self.uploads.insert(self.opened, Upload { name, draft, ingest: Ingest::new(file), broken: false });
        Ok(Answer::Handle(self.opened))
    }

    fn wait_for_room(&self, name: &[u8]) -> Result<(), Refusal> {
        if self.area.has_room(self.reserve).unwrap_or(true) {
            return Ok(());
        }
        eprintln!("builder-run: an upload waits for room on the disk");
        self.area.wait_for_room(self.reserve).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Refusal::failed("there was no room, and the build is over"),
            _ => Refusal::system(name, &e),
        })
    }

    fn may_open(&self, name: &[u8], flags: u32) -> Result<(), Refusal> {
        let has = |flag| flags & flag != 0;
        let known = self.names.get(name);
        if !has(open::WRITE) {
            return Err(Refusal::denied(format!("{}: nothing can be read here", shown(name))));
        }
        if known == Some(Seen::Directory) {
            return Err(Refusal::failed(format!("{}: it is a directory", shown(name))));
        }
        if known.is_some() && has(open::EXCLUSIVE) {
            return Err(Refusal::failed(format!("{}: it exists already", shown(name))));
        }
        if has(open::APPEND) || (known.is_some() && !has(open::TRUNCATE)) {
            return Err(Refusal::denied(format!("{}: an upload can't be continued, only sent anew", shown(name))));
        }
        if known.is_none() && !has(open::CREATE) {
            return Err(no_such_file(name));
        }
        if self.files_left == 0 {
            return Err(Refusal::failed(format!("{}: the build has as many artifacts as it may have", shown(name))));
        }
        if self.uploads.len() >= self.handles {
            return Err(Refusal::failed(format!("{}: {} files are open already", shown(name), self.handles)));
        }
        Ok(())
    }

    fn write(&mut self, fields: &mut Fields<'_>) -> Answered {
        self.wait_for_room(b"an upload")?;
        let upload = find(&mut self.uploads, fields)?;
        let (offset, data) = (fields.u64()?, fields.bytes()?);
        if !data.is_empty() {
            upload.reserve(offset.checked_add(data.len() as u64), &mut self.bytes_left)?;
            upload.change(|ingest| ingest.write(offset, data))?;
        }
        Ok(Answer::Done)
    }

    fn close(&mut self, fields: &mut Fields<'_>) -> Answered {
        let upload = self.uploads.remove(&handle(fields)?).ok_or_else(no_such_handle)?;
        if upload.broken {
            return Err(Refusal::failed(format!("{}: it is incomplete and was dropped", shown(&upload.name))));
        }
        let (digest, size) = upload.ingest.finish().map_err(|e| Refusal::system(&upload.name, &e))?;
        upload.draft.publish(&digest).map_err(|e| Refusal::system(&upload.name, &e))?;
        self.names.put(upload.name, Seen::File(size));
        Ok(Answer::Done)
    }

    fn stat(&self, fields: &mut Fields<'_>) -> Answered {
        let name = self.names.absolute(fields.bytes()?)?;
        self.seen(&name).map(Answer::Attributes).ok_or_else(|| no_such_file(&name))
    }

    fn seen(&self, name: &[u8]) -> Option<Seen> {
        let open = self.uploads.values().find(|upload| upload.name == name);
        open.map(|upload| Seen::File(upload.ingest.extent())).or_else(|| self.names.get(name))
    }

    /// Owners, permissions and times are not kept. A closed file has the size that it has.
    fn set_attributes(&mut self, fields: &mut Fields<'_>) -> Answered {
        let (name, size) = (self.names.absolute(fields.bytes()?)?, fields.size_attribute()?);
        match (self.seen(&name), size) {
            (None, _) => Err(no_such_file(&name)),
            (Some(Seen::File(old)), Some(new)) if old != new => {
                Err(Refusal::unsupported(format!("{}: only an open file can be resized", shown(&name))))
            }
            _ => Ok(Answer::Done),
        }
    }

    fn set_attributes_of_open(&mut self, fields: &mut Fields<'_>) -> Answered {
        let upload = find(&mut self.uploads, fields)?;
        if let Some(size) = fields.size_attribute()? {
            upload.reserve(Some(size), &mut self.bytes_left)?;
            upload.change(|ingest| ingest.resize(size))?;
        }
        Ok(Answer::Done)
    }

    fn make_directory(&mut self, fields: &mut Fields<'_>) -> Answered {
        let name = self.names.below_root(fields.bytes()?)?;
        if self.seen(&name).is_some() {
            return Err(Refusal::failed(format!("{}: it exists already", shown(&name))));
        }
        self.names.put(name, Seen::Directory);
        Ok(Answer::Done)
    }

    /// For clients that upload under a name of their own and rename what is complete.
    fn rename(&mut self, fields: &mut Fields<'_>) -> Answered {
        let (from, to) = (self.names.absolute(fields.bytes()?)?, self.names.below_root(fields.bytes()?)?);
        let Some(Seen::File(size)) = self.names.get(&from) else { return Err(no_such_file(&from)) };
        if self.seen(&to).is_some() {
            return Err(Refusal::failed(format!("{}: it exists already", shown(&to))));
        }
        self.names.remove(&from);
        self.names.put(to, Seen::File(size));
        Ok(Answer::Done)
    }

    fn extended(&mut self, fields: &mut Fields<'_>) -> Answered {
        match fields.bytes()? {
            wire::LIMITS => Ok(Answer::Limits { handles: self.handles }),
            wire::FSYNC => self.upload(fields)?.change(|ingest| ingest.sync()).map(|()| Answer::Done),
            other => Err(Refusal::unsupported(format!("the extension {} is not offered", shown(other)))),
        }
    }

    fn upload(&mut self, fields: &mut Fields<'_>) -> Result<&mut Upload<'a>, Refusal> {
        find(&mut self.uploads, fields)
    }
}

impl Upload<'_> {
    /// Takes what the file grows by, when it shall end at `end`, from the bytes that are left.
    fn reserve(&mut self, end: Option<u64>, left: &mut u64) -> Result<(), Refusal> {
        let growth = end.map(|end| end.saturating_sub(self.ingest.extent()));
        let Some(rest) = growth.and_then(|growth| left.checked_sub(growth)) else {
            self.broken = true;
            return Err(Refusal::failed(format!("{}: the build's artifacts would be too large", shown(&self.name))));
        };
        *left = rest;
        Ok(())
    }

    fn change(&mut self, change: impl FnOnce(&mut Ingest) -> io::Result<()>) -> Result<(), Refusal> {
        change(&mut self.ingest).map_err(|e| {
            self.broken = true;
            Refusal::system(&self.name, &e)
        })
    }
}

fn find<'s, 'a>(
    uploads: &'s mut BTreeMap<u64, Upload<'a>>,
    fields: &mut Fields<'_>,
) -> Result<&'s mut Upload<'a>, Refusal> {
    uploads.get_mut(&handle(fields)?).ok_or_else(no_such_handle)
}

/// Handles are numbers that no later file gets; what is none of ours is zero, which no file has.
fn handle(fields: &mut Fields<'_>) -> Result<u64, Short> {
    Ok(fields.bytes()?.try_into().map_or(0, u64::from_be_bytes))
}

fn no_such_handle() -> Refusal {
    Refusal::failed("no file is open by this handle")
}

fn no_such_file(name: &[u8]) -> Refusal {
    Refusal::missing(format!("{}: this session has no such file, and can't read any other", shown(name)))
}
