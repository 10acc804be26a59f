//! Packets off a stream, in one buffer that is used again and again.

use super::wire::LONGEST_PACKET;
use std::io::{self, Read};

/// Room for a packet that is being answered and the one that comes behind it.
const BUFFER: usize = 2 * (4 + LONGEST_PACKET);

/// A stream of packets.
#[derive(Debug)]
pub struct Frames<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Frames<R> {
    /// The packets of a stream.
    pub fn new(input: R) -> Frames<R> {
        Frames { input, buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// Waits for the next packet and gives it without its length. Nothing where the stream ends between packets.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a length that no packet has, [`io::ErrorKind::UnexpectedEof`] where the
    /// stream ends within a packet; the stream can't be used any more then.
    pub fn next_packet(&mut self) -> io::Result<Option<&[u8]>> {
        let length = loop {
            match self.length()? {
                Some(length) if self.buffered() >= 4 + length => break length,
                _ if self.fill()? => {}
                _ if self.buffered() == 0 => return Ok(None),
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let packet = self.start + 4..self.start + 4 + length;
        self.start = packet.end;
        Ok(Some(&self.buffer[packet]))
    }

    /// Whether the next packet is here already.
    pub fn has_packet(&self) -> bool {
        matches!(self.length(), Ok(Some(length)) if self.buffered() >= 4 + length)
    }

    fn buffered(&self) -> usize {
        self.end - self.start
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let Some(length) = self.buffer[self.start..self.end].first_chunk() else { return Ok(None) };
        match u32::from_be_bytes(*length) as usize {
            length @ 1..=LONGEST_PACKET => Ok(Some(length)),
            length => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a packet of {length} bytes; they have 1 to {LONGEST_PACKET}"),
            )),
        }
    }

    /// Reads once. False at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start + 4 + LONGEST_PACKET > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.buffered());
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(got) => {
                    self.end += got;
                    return Ok(got > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{LONGEST_WRITE, Packet};
    use super::*;

    /// Gives at most so many bytes at a time.
    struct Trickle<'b>(&'b [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn packets_survive_any_splitting() {
        let mut stream = Vec::new();
        for number in 0..40_u32 {
            let data = vec![number as u8; if number % 9 == 0 { LONGEST_WRITE as usize } else { number as usize }];
            Packet::new(&mut stream, 6).u32(number).bytes(&data).end();
        }
        for piece in [1000, 4099, 65536, usize::MAX] {
            let mut frames = Frames::new(Trickle(&stream, piece));
            for number in 0..40_u32 {
                let packet = frames.next_packet().unwrap().unwrap();
                assert_eq!(packet[1..5], number.to_be_bytes());
                assert!(packet[9..].iter().all(|byte| *byte == number as u8));
            }
            assert!(!frames.has_packet());
            assert_eq!(frames.next_packet().unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_packet_ends_the_stream() {
        let kind = |bytes: &[u8]| Frames::new(bytes).next_packet().map(drop).map_err(|e| e.kind());
        assert_eq!(kind(b""), Ok(()));
        assert_eq!(kind(&[0, 0, 0, 0]), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(&[0xff; 9]), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(&[0, 4, 4, 1]), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(&[0, 0]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(&[0, 0, 0, 2, 1]), Err(io::ErrorKind::UnexpectedEof));
    }
}
