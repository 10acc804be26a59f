//! An SFTP client's stream, whatever is in it.

use crate::lab::{Lab, names};
use crate::{is_a_line, lab};
use builder_run::sftp::server::{Limits, serve};
use spool::digest::Sha256;
use spool::room::Reserve;
use spool::upload::Area;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};

const LIMITS: Limits =
    Limits { bytes: 100_000, files: 20, path_bytes: 1024, handles: 8, reserve: Reserve { bytes: 0, inodes: 0 } };

/// Types of packets (draft-ietf-secsh-filexfer-02, section 3).
mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const CLOSE: u8 = 4;
    pub const WRITE: u8 = 6;
    pub const FSETSTAT: u8 = 10;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// A client's side of a session.
///
/// Each request that came whole is answered, in order and with its number, also when what follows is no request. The area
/// has the files that were closed, as a client that looked at the answers must think, within the limits, and nothing else
/// has changed.
pub fn sftp(bytes: &[u8]) {
    let lab = Lab::new(&["area"]);
    let area = File::open(lab.path("area")).expect("the area");
    let mut output = Vec::new();
    let served = serve(bytes, &mut output, Area::new(area.into()), LIMITS);
    let mut answers = packets(&output).into_iter();
    let mut files = Files::default();
    for (at, request) in requests(bytes).into_iter().enumerate() {
        let answer = answers.next().unwrap_or_else(|| panic!("request {at} of {request:?} has no answer: {served:?}"));
        match at {
            0 => assert_eq!(answer[..5], [kind::VERSION, 0, 0, 0, 3]),
            _ => {
                assert_eq!(answer[1..5], request[1..5], "the answer to {request:?} has another number");
                files.see(request, answer);
            }
        }
    }
    assert_eq!(answers.next(), None, "nobody asked");
    files.are_in(&lab);
    lab.is_untouched();
}

/// The whole packets of a stream, without their lengths.
fn packets(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > 257 << 10 || length > rest.len() {
            break;
        }
        packets.push(&rest[..length]);
        stream = &rest[length..];
    }
    packets
}

/// The requests of a client, up to what is none.
fn requests(stream: &[u8]) -> Vec<&[u8]> {
    let packets = packets(stream);
    match packets.first() {
        Some([kind::INIT, rest @ ..]) if rest.len() >= 4 => {
            packets.into_iter().take_while(|one| one.len() >= 5).collect()
        }
        _ => Vec::new(),
    }
}

/// What a client knows of its files.
#[derive(Default)]
struct Files {
    /// By handle; without content once that is not known.
    open: BTreeMap<Vec<u8>, Vec<u8>>,
    broken: BTreeSet<Vec<u8>>,
    closed: BTreeSet<String>,
}

impl Files {
    fn see(&mut self, request: &[u8], answer: &[u8]) {
        let mut asked = Fields(&request[5..]);
        let mut told = Fields(&answer[5..]);
        match answer[0] {
            kind::HANDLE => {
                let handle = told.bytes().expect("a handle").to_vec();
                assert_eq!(self.open.insert(handle, Vec::new()), None, "a handle is given twice");
                assert!(self.open.len() <= LIMITS.handles);
            }
            kind::STATUS => {
                let code = told.number(4).expect("a code");
                let text = told.bytes().expect("a text").to_vec();
                is_a_line(&String::from_utf8(text).expect("UTF-8"));
                self.done(request[0], &mut asked, code == 0);
            }
            kind::NAME | kind::ATTRS | kind::EXTENDED_REPLY => {}
            other => panic!("an answer of type {other}"),
        }
    }

    fn done(&mut self, request: u8, asked: &mut Fields<'_>, well: bool) {
        if ![kind::WRITE, kind::FSETSTAT, kind::CLOSE].contains(&request) {
            return;
        }
        let Some(handle) = asked.bytes().map(<[u8]>::to_vec) else { return assert!(!well) };
        if request == kind::CLOSE {
            let content = self.open.remove(&handle);
            if well {
                let content = content.expect("it was open");
                assert!(!self.broken.contains(&handle), "what was refused a change is kept");
                self.closed.insert(Sha256::of(&content).to_string());
            }
            return;
        }
        let Some(content) = self.open.get_mut(&handle) else { return assert!(!well, "it is not open") };
        let changed = if request == kind::WRITE { written(content, asked) } else { resized(content, asked) };
        match changed {
            Some(changed) if well => *content = changed,
            Some(_) => drop(self.broken.insert(handle)),
            None => assert!(!well, "half a request is carried out"),
        }
    }

    fn are_in(&self, lab: &Lab) {
        let area = lab.path("area");
        let kept = lab::names(&area);
        assert_eq!(kept.iter().collect::<Vec<_>>(), self.closed.iter().collect::<Vec<_>>());
        let contents = names(&area).into_iter().map(|name| (fs::read(area.join(&name)).expect("a content"), name));
        let mut bytes = 0;
        for (content, name) in contents {
            assert_eq!(Sha256::of(&content).to_string(), name);
            bytes += content.len() as u64;
        }
        assert!(bytes <= LIMITS.bytes && kept.len() as u64 <= LIMITS.files);
    }
}

/// A content after a WRITE; nothing when that is not whole.
fn written(content: &[u8], asked: &mut Fields<'_>) -> Option<Vec<u8>> {
    let (offset, data) = (asked.number(8)?, asked.bytes()?);
    let mut content = content.to_vec();
    match usize::try_from(offset).ok().filter(|offset| *offset <= LIMITS.bytes as usize) {
        Some(offset) if !data.is_empty() => {
            content.resize(content.len().max(offset + data.len()), 0);
            content[offset..offset + data.len()].copy_from_slice(data);
        }
        _ => {}
    }
    Some(content)
}

/// A content after an FSETSTAT; nothing when that is not whole.
fn resized(content: &[u8], asked: &mut Fields<'_>) -> Option<Vec<u8>> {
    let flags = asked.number(4)?;
    let size = if flags & 1 != 0 { Some(asked.number(8)?) } else { None };
    for (flag, numbers) in [(2, 2), (4, 1), (8, 2)] {
        for _ in 0..if flags & flag != 0 { numbers } else { 0 } {
            asked.number(4)?;
        }
    }
    let mut content = content.to_vec();
    if let Some(size) = size.filter(|size| *size <= LIMITS.bytes) {
        content.resize(size as usize, 0);
    }
    Some(content)
}

/// The rest of a packet.
struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, length: usize) -> Option<u64> {
        Some(self.take(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bytes(&mut self) -> Option<&'p [u8]> {
        let length = self.number(4)? as usize;
        self.take(length)
    }
}
