//! Taking messages off a stream, in bounded memory, and putting them on one.

use super::message::Framed;
use super::{LONGEST_DATA, LONGEST_LINE};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Bytes that came and are not yet taken as messages.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

/// How much is read at a time.
const PIECE: usize = 72 << 10;

impl Inbox {
    /// Reads once from a stream that has something. Returns how many bytes there were; none at its end.
    pub fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(2 * PIECE);
        }
        let old = self.bytes.len();
        self.bytes.resize(old + PIECE, 0);
        let got = loop {
            match from.read(&mut self.bytes[old..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.bytes.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }

    /// Whether all that came was taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The next whole message and its raw bytes; nothing when more must be read first.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no message; the stream can't be used any more then.
    pub fn message<M: DeserializeOwned + Framed>(&mut self) -> io::Result<Option<(M, &[u8])>> {
        let rest = &self.bytes[self.taken..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > LONGEST_LINE {
                Err(bad(format!("a line is longer than {LONGEST_LINE} bytes")))
            } else {
                Ok(None)
            };
        };
        if end > LONGEST_LINE {
            return Err(bad(format!("a line is longer than {LONGEST_LINE} bytes")));
        }
        let message: M = serde_json::from_slice(&rest[..end]).map_err(|e| bad(format!("not a message: {e}")))?;
        let data = message.data_len();
        if data > LONGEST_DATA {
            return Err(bad(format!("{data} raw bytes are more than {LONGEST_DATA}")));
        }
        let start = self.taken + end + 1;
        if self.bytes.len() < start + data {
            return Ok(None);
        }
        self.taken = start + data;
        Ok(Some((message, &self.bytes[start..start + data])))
    }
}

fn bad(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Writes a message and its raw bytes as one piece, so that a small one is one packet.
pub fn send<M: Serialize + Framed>(to: &mut impl Write, message: &M, data: &[u8]) -> io::Result<()> {
    debug_assert_eq!(message.data_len(), data.len());
    let mut frame = serde_json::to_vec(message)?;
    frame.push(b'\n');
    frame.extend_from_slice(data);
    to.write_all(&frame)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::super::message::ToServer;
    use super::*;

    fn take(inbox: &mut Inbox) -> io::Result<Option<(ToServer, Vec<u8>)>> {
        Ok(inbox.message()?.map(|(message, data)| (message, data.to_vec())))
    }

    #[test]
    fn messages_survive_any_splitting() {
        let mut stream = Vec::new();
        send(&mut stream, &ToServer::Con { ms: 7, n: 5 }, b"a\nb\0c").unwrap();
        send(&mut stream, &ToServer::Ready, b"").unwrap();
        for piece in 1..stream.len() {
            let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
            for part in stream.chunks(piece) {
                assert!(inbox.fill(part).unwrap() > 0);
                while let Some((message, data)) = take(&mut inbox).unwrap() {
                    seen.push((format!("{message:?}"), data));
                }
            }
            assert_eq!(
                seen,
                [("Con { ms: 7, n: 5 }".to_owned(), b"a\nb\0c".to_vec()), ("Ready".to_owned(), Vec::new())]
            );
        }
    }

    #[test]
    fn floods_and_nonsense_are_refused() {
        for bad in [
            &b"hello\n"[..],
            b"{\"t\":\"con\",\"ms\":0,\"n\":99999999}\n",
            b"{\"t\":\"con\",\"ms\":0,\"n\":-1}\n",
            b"{}\n",
        ] {
            let mut inbox = Inbox::default();
            inbox.fill(bad).unwrap();
            assert!(take(&mut inbox).is_err(), "{bad:?}");
        }
        let mut inbox = Inbox::default();
        let long = vec![b'x'; 64 << 10];
        let refused = (0..100).any(|_| {
            inbox.fill(&long[..]).unwrap();
            take(&mut inbox).is_err()
        });
        assert!(refused);
    }
}
