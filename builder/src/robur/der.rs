//! A strict reader of DER (X.690) from a stream, which knows at which byte it is.
//!
//! The crates for DER take a file that is in memory as a whole, and refuse what robur's builder writes: strings that are no
//! UTF-8, and times with a fraction. Here a caller says which tag comes next, so that nothing is as deep as its
//! sender likes, and what is long is handed on in pieces. A length is trusted only within what it is in.

use super::tag;
use spool::error::{Error, Kind, Result};
use std::io::{ErrorKind, Read};

/// Reads elements one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    at: u64,
    /// Where what was entered ends, the innermost last.
    ends: Vec<u64>,
    peeked: Option<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads from a stream that has no more than so many bytes.
    pub fn new(from: R, most: u64) -> Reader<R> {
        Reader { from, at: 0, ends: vec![most], peeked: None }
    }

    /// How many bytes were read.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// A refusal: at which byte, in what, and why.
    pub fn wrong(&self, at: u64, what: &str, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Data, format!("byte {at}: {what}: {why}"))
    }

    fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is more in what was entered last.
    pub fn more(&self) -> bool {
        self.at < self.end()
    }

    /// The tag of the next element; nothing at the end of what was entered last.
    pub fn peek(&mut self, what: &str) -> Result<Option<u8>> {
        if self.peeked.is_none() && self.more() {
            self.peeked = Some(self.take(what)?);
        }
        Ok(self.peeked)
    }

    /// A byte of the stream, which is not counted yet.
    fn take(&mut self, what: &str) -> Result<u8> {
        let mut byte = [0];
        match self.fill(&mut byte, what)? {
            1 => Ok(byte[0]),
            _ => Err(self.wrong(self.at, what, "the file ends here")),
        }
    }

    fn fill(&mut self, into: &mut [u8], what: &str) -> Result<usize> {
        loop {
            match self.from.read(into) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(Kind::Io, format!("byte {}: {what}: can't read: {e}", self.at))),
                Ok(got) => return Ok(got),
            }
        }
    }

    fn byte(&mut self, what: &str) -> Result<u8> {
        if !self.more() {
            return Err(self.wrong(self.at, what, "it is missing"));
        }
        let byte = match self.peeked.take() {
            Some(byte) => byte,
            None => self.take(what)?,
        };
        self.at += 1;
        Ok(byte)
    }

    /// Reads a tag, which must be this one, and the length behind it. Returns the length.
    pub fn header(&mut self, tag: u8, what: &str) -> Result<u64> {
        let start = self.at;
        let found = self.byte(what)?;
        if found != tag {
            return Err(self.wrong(start, what, format!("the tag must be 0x{tag:02x} and is 0x{found:02x}")));
        }
        let at = self.at;
        let length = self.length(what)?;
        match self.at.checked_add(length) {
            Some(end) if end <= self.end() => Ok(length),
            _ => Err(self.wrong(at, what, format!("its {length} bytes end behind byte {}", self.end()))),
        }
    }

    fn length(&mut self, what: &str) -> Result<u64> {
        let at = self.at;
        let first = self.byte(what)?;
        let count = usize::from(first & 0x7f);
        match (first, count) {
            (0..0x80, _) => return Ok(first.into()),
            (_, 0) => return Err(self.wrong(at, what, "its length is left open")),
            (_, 9..) => return Err(self.wrong(at, what, "its length has more than 8 bytes")),
            _ => {}
        }
        let mut length = 0_u64;
        for _ in 0..count {
            length = length << 8 | u64::from(self.byte(what)?);
        }
        let least = if count == 1 { 0x80 } else { 1 << (8 * (count - 1)) };
        match length < least {
            true => Err(self.wrong(at, what, "its length takes more bytes than it needs")),
            false => Ok(length),
        }
    }

    /// Enters an element that has others in it.
    pub fn enter(&mut self, tag: u8, what: &str) -> Result<()> {
        let length = self.header(tag, what)?;
        self.ends.push(self.at + length);
        Ok(())
    }

    /// Leaves it at its end.
    pub fn leave(&mut self, what: &str) -> Result<()> {
        match self.more() {
            true => Err(self.wrong(self.at, what, "there is more in it than there may be")),
            false => {
                self.ends.pop();
                Ok(())
            }
        }
    }

    /// Nothing is behind the last element.
    pub fn finish(&mut self, what: &str) -> Result<()> {
        let mut byte = [0];
        match self.peeked.is_some() || self.fill(&mut byte, what)? > 0 {
            true => Err(self.wrong(self.at, what, "there is something behind its end")),
            false => Ok(()),
        }
    }

    /// A piece of a content of which `left` bytes are to come. Never empty when some are.
    pub fn piece(&mut self, into: &mut [u8], left: u64, what: &str) -> Result<usize> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let got = self.fill(&mut into[..most], what)?;
        if got == 0 && most > 0 {
            return Err(self.wrong(self.at, what, format!("the file ends here, and {left} bytes of it are missing")));
        }
        self.at += got as u64;
        Ok(got)
    }

    /// The content of an element, of no more than `most` bytes.
    pub fn bytes(&mut self, tag: u8, most: u64, what: &str) -> Result<Vec<u8>> {
        let at = self.at;
        let length = self.header(tag, what)?;
        if length > most {
            return Err(self.wrong(at, what, format!("it has {length} bytes, and may have {most}")));
        }
        let (mut bytes, mut left, mut buffer) = (Vec::new(), length, [0; 8192]);
        while left > 0 {
            let got = self.piece(&mut buffer, left, what)?;
            bytes.extend_from_slice(&buffer[..got]);
            left -= got as u64;
        }
        Ok(bytes)
    }

    /// Passes over the content of an element.
    pub fn skip(&mut self, tag: u8, what: &str) -> Result<()> {
        let (mut left, mut buffer) = (self.header(tag, what)?, [0; 8192]);
        while left > 0 {
            left -= self.piece(&mut buffer, left, what)? as u64;
        }
        Ok(())
    }

    /// A string of UTF-8.
    pub fn text(&mut self, most: u64, what: &str) -> Result<String> {
        let bytes = self.bytes(tag::UTF8, most, what)?;
        let start = self.at - bytes.len() as u64;
        String::from_utf8(bytes)
            .map_err(|e| self.wrong(start + e.utf8_error().valid_up_to() as u64, what, "it is not UTF-8"))
    }

    /// A string of UTF-8 that is something else: its parser says what is wrong with it.
    pub fn parsed<T: std::str::FromStr<Err = Error>>(&mut self, most: usize, what: &str) -> Result<T> {
        let at = self.at;
        // What is too long for the parser is for the parser to refuse.
        let text = self.text(4 * most as u64, what)?;
        text.parse().map_err(|e| self.wrong(at, what, e))
    }

    /// A whole number, of no more than the 63 bits that OCaml has.
    pub fn int(&mut self, what: &str) -> Result<i64> {
        let at = self.at;
        let bytes = self.bytes(tag::INTEGER, 8, what)?;
        let redundant = matches!(bytes[..], [0, 0..0x80, ..] | [0xff, 0x80..=0xff, ..]);
        if bytes.is_empty() || redundant {
            return Err(self.wrong(at, what, "a number must have as many bytes as it needs"));
        }
        let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
        let number = bytes.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte));
        match (-(1 << 62)..1 << 62).contains(&number) {
            true => Ok(number),
            false => Err(self.wrong(at, what, "the number has more than 63 bits")),
        }
    }

    /// Nothing.
    pub fn null(&mut self, what: &str) -> Result<()> {
        self.bytes(tag::NULL, 0, what).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(bytes: &[u8]) -> Result<i64> {
        Reader::new(bytes, 100).int("n")
    }

    #[test]
    fn a_number_has_one_form() {
        for (bytes, number) in [
            (&[2, 1, 0][..], 0),
            (&[2, 1, 0x7f], 127),
            (&[2, 2, 0, 0x80], 128),
            (&[2, 1, 0x80], -128),
            (&[2, 2, 0xff, 0x7f], -129),
            (&[2, 8, 0x3f, 255, 255, 255, 255, 255, 255, 255], (1 << 62) - 1),
        ] {
            assert_eq!(int(bytes).unwrap(), number);
        }
        for bytes in [
            &[2, 0][..],
            &[2, 2, 0, 0x7f],
            &[2, 2, 0xff, 0x80],
            &[2, 8, 0x40, 0, 0, 0, 0, 0, 0, 0],
            &[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x0a, 1, 0],
        ] {
            assert!(int(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_has_one_form_and_stays_within_what_it_is_in() {
        let says = |bytes: &[u8]| Reader::new(bytes, 300).bytes(4, 200, "x").unwrap_err().to_string();
        for (bytes, says_of_it) in [
            (&[][..], "byte 0: x: the file ends here"),
            (&[4], "byte 1: x: the file ends here"),
            (&[5, 0], "byte 0: x: the tag must be 0x04 and is 0x05"),
            (&[4, 0x80, 0, 0], "byte 1: x: its length is left open"),
            (&[4, 0x81, 1, 0], "byte 1: x: its length takes more bytes than it needs"),
            (&[4, 0x82, 0, 0x80], "byte 1: x: its length takes more bytes than it needs"),
            (&[4, 0x88, 0x7f, 255, 255, 255, 255, 255, 255, 255], "end behind byte 300"),
            (&[4, 0x88, 255, 255, 255, 255, 255, 255, 255, 255], "end behind byte 300"),
            (&[4, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0], "byte 1: x: its length has more than 8 bytes"),
            (&[4, 0xff], "byte 1: x: its length has more than 8 bytes"),
            (&[4, 0x81, 201], "byte 0: x: it has 201 bytes, and may have 200"),
            (&[4, 2, 0], "byte 3: x: the file ends here, and 1 bytes of it are missing"),
        ] {
            assert!(says(bytes).contains(says_of_it), "{bytes:?}: {}", says(bytes));
        }
        let mut long = vec![4, 0x81, 0x80];
        long.resize(131, 7);
        assert_eq!(Reader::new(&long[..], 131).bytes(4, 200, "x").unwrap(), [7; 128]);
    }
}
