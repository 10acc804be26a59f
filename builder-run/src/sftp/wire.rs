//! What packets are made of: numbers and fields (draft-ietf-secsh-filexfer-02, sections 3 to 7).

use std::io::{self, Read};

/// The version that both ends speak.
pub const VERSION: u32 = 3;
/// The most data in one write, in bytes; as OpenSSH's server has it.
pub const LONGEST_WRITE: u32 = 255 << 10;
/// The longest packet, in bytes after its length: the longest write and its other fields.
pub const LONGEST_PACKET: usize = 257 << 10;

/// The extension by which a client learns the limits (OpenSSH's PROTOCOL, section 4.8).
pub const LIMITS: &[u8] = b"limits@openssh.com";
/// The extension that makes a file's content durable (OpenSSH's PROTOCOL, section 4.6).
pub const FSYNC: &[u8] = b"fsync@openssh.com";

/// Types of packets.
pub mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const SETSTAT: u8 = 9;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const REALPATH: u8 = 16;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const READLINK: u8 = 19;
    pub const SYMLINK: u8 = 20;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// Flags of OPEN.
pub mod open {
    pub const WRITE: u32 = 0x02;
    pub const APPEND: u32 = 0x04;
    pub const CREATE: u32 = 0x08;
    pub const TRUNCATE: u32 = 0x10;
    pub const EXCLUSIVE: u32 = 0x20;
}

/// Which attributes a packet has.
pub mod attribute {
    pub const SIZE: u32 = 0x01;
    pub const OWNER: u32 = 0x02;
    pub const PERMISSIONS: u32 = 0x04;
    pub const TIMES: u32 = 0x08;
}

/// A packet ends within one of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// The fields of a packet that were not taken yet.
#[derive(Debug)]
pub struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    pub fn new(packet: &'p [u8]) -> Fields<'p> {
        Fields(packet)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Result<&'p [u8], Short> {
        let length = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The attributes of a file, of which only the size in bytes means something here.
    pub fn size_attribute(&mut self) -> Result<Option<u64>, Short> {
        let flags = self.u32()?;
        let size = if flags & attribute::SIZE != 0 { Some(self.u64()?) } else { None };
        for (flag, numbers) in [(attribute::OWNER, 2), (attribute::PERMISSIONS, 1), (attribute::TIMES, 2)] {
            for _ in 0..if flags & flag != 0 { numbers } else { 0 } {
                self.u32()?;
            }
        }
        Ok(size)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Short)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// A packet that is being put at the end of a buffer; it counts when [`Packet::end`] has given it its length.
#[must_use]
pub struct Packet<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> Packet<'b> {
    pub fn new(buffer: &'b mut Vec<u8>, kind: u8) -> Packet<'b> {
        let start = buffer.len();
        buffer.extend([0, 0, 0, 0, kind]);
        Packet { buffer, start }
    }

    pub fn u32(self, number: u32) -> Packet<'b> {
        self.buffer.extend(number.to_be_bytes());
        self
    }

    pub fn u64(self, number: u64) -> Packet<'b> {
        self.buffer.extend(number.to_be_bytes());
        self
    }

    /// Bytes with their length before them.
    pub fn bytes(self, bytes: &[u8]) -> Packet<'b> {
        let packet = self.u32(bytes.len() as u32);
        packet.buffer.extend_from_slice(bytes);
        packet
    }

    /// The next `length` bytes of a stream with their length before them, read straight into the buffer.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the stream has fewer; the buffer ends in a broken packet then.
    pub fn bytes_from(self, stream: &mut impl Read, length: u32) -> io::Result<Packet<'b>> {
        let packet = self.u32(length);
        let start = packet.buffer.len();
        packet.buffer.resize(start + length as usize, 0);
        stream.read_exact(&mut packet.buffer[start..])?;
        Ok(packet)
    }

    /// Gives the packet its length.
    pub fn end(self) {
        let packet = &mut self.buffer[self.start..];
        let length = (packet.len() - 4) as u32;
        packet[..4].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back() {
        let mut buffer = b"before".to_vec();
        let packet = Packet::new(&mut buffer, kind::WRITE).u32(7).u64(1 << 40).bytes(b"handle");
        packet.bytes_from(&mut &b"data and more"[..], 4).unwrap().end();
        let mut fields = Fields::new(&buffer[6..]);
        assert_eq!(fields.u32().unwrap() as usize, buffer.len() - 10);
        assert_eq!((fields.u8(), fields.u32(), fields.u64()), (Ok(kind::WRITE), Ok(7), Ok(1 << 40)));
        assert_eq!((fields.bytes(), fields.bytes()), (Ok(&b"handle"[..]), Ok(&b"data"[..])));
        assert!(fields.is_empty());
        assert!(Packet::new(&mut buffer, kind::WRITE).bytes_from(&mut &b"abc"[..], 4).is_err());
    }

    #[test]
    fn no_field_reaches_behind_its_packet() {
        assert_eq!(Fields::new(b"").u8(), Err(Short));
        assert_eq!(Fields::new(&[0; 3]).u32(), Err(Short));
        assert_eq!(Fields::new(&[0; 7]).u64(), Err(Short));
        assert_eq!(Fields::new(&[0, 0, 0, 2, b'a']).bytes(), Err(Short));
        assert_eq!(Fields::new(&[0xff; 40]).bytes(), Err(Short));
        assert_eq!(Fields::new(&[0, 0, 0, 0]).bytes(), Ok(&b""[..]));
        assert_eq!(Fields::new(&[0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 9]).size_attribute(), Err(Short));
        assert_eq!(Fields::new(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]).size_attribute(), Ok(Some(9)));
    }
}
