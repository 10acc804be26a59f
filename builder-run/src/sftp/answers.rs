//! What a server says to a client, read by a thread of its own.

use super::frames::Frames;
use super::wire::{self, Fields, Short, kind};
use std::io::{self, Read};
use std::sync::mpsc::SyncSender;

/// An answer. All but the first have the number of their request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Version { has_limits: bool },
    Status { id: u32, code: u32, text: Vec<u8> },
    Handle { id: u32, handle: Vec<u8> },
    Limits { id: u32, write: u64, handles: u64 },
}

impl Answer {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what answers no request of ours.
    pub fn parse(packet: &[u8]) -> io::Result<Answer> {
        match Answer::fields(&mut Fields::new(packet)) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(nonsense("a packet that is no answer")),
            Err(Short) => Err(nonsense("a packet that ends within a field")),
        }
    }

    fn fields(fields: &mut Fields<'_>) -> Result<Option<Answer>, Short> {
        let (kind, id) = (fields.u8()?, fields.u32()?);
        Ok(Some(match kind {
            kind::VERSION => Answer::Version { has_limits: offers_limits(fields)? },
            // Version 3 brought the text; servers of older versions end before it.
            kind::STATUS => Answer::Status { id, code: fields.u32()?, text: fields.bytes().unwrap_or(b"").to_vec() },
            kind::HANDLE => Answer::Handle { id, handle: fields.bytes()?.to_vec() },
            kind::EXTENDED_REPLY => {
                let (_packet, _read) = (fields.u64()?, fields.u64()?);
                Answer::Limits { id, write: fields.u64()?, handles: fields.u64()? }
            }
            _ => return Ok(None),
        }))
    }
}

fn offers_limits(extensions: &mut Fields<'_>) -> Result<bool, Short> {
    let mut offered = false;
    while !extensions.is_empty() {
        let (name, version) = (extensions.bytes()?, extensions.bytes()?);
        offered |= name == wire::LIMITS && version == b"1";
    }
    Ok(offered)
}

/// Passes answers on until their stream ends, one of them means nothing, or nobody takes them any more.
pub fn listen(from: impl Read, tell: &SyncSender<io::Result<Answer>>) {
    let mut packets = Frames::new(from);
    loop {
        let answer = match packets.next_packet() {
            Ok(None) => return,
            Ok(Some(packet)) => Answer::parse(packet),
            Err(e) => Err(e),
        };
        let last = answer.is_err();
        if tell.send(answer).is_err() || last {
            return;
        }
    }
}

/// The server does not keep to the protocol.
pub fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server does not speak SFTP: {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::wire::Packet;
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let parse = |kind, fields: fn(Packet<'_>) -> Packet<'_>| {
            let mut buffer = Vec::new();
            fields(Packet::new(&mut buffer, kind)).end();
            Answer::parse(&buffer[4..])
        };
        let version = |has_limits| Answer::Version { has_limits };
        assert_eq!(parse(kind::VERSION, |p| p.u32(3)).unwrap(), version(false));
        assert_eq!(parse(kind::VERSION, |p| p.u32(3).bytes(wire::LIMITS).bytes(b"1")).unwrap(), version(true));
        assert_eq!(parse(kind::VERSION, |p| p.u32(3).bytes(wire::LIMITS).bytes(b"2")).unwrap(), version(false));
        let status = Answer::Status { id: 9, code: 4, text: Vec::new() };
        assert_eq!(parse(kind::STATUS, |p| p.u32(9).u32(4)).unwrap(), status);
        assert!(parse(kind::STATUS, |p| p.u32(9)).is_err());
        assert!(parse(kind::OPEN, |p| p.u32(9)).is_err());
    }
}
