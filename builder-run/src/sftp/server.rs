//! The server: one thread that takes a request, carries it out and answers it.

use super::frames::Frames;
use super::names::Seen;
use super::refusal::{Refusal, status};
pub use super::session::Limits;
use super::session::{Answer, Session};
use super::wire::{self, Fields, LONGEST_PACKET, LONGEST_WRITE, Packet, attribute, kind};
use spool::upload::Area;
use std::io::{self, Read, Write};

/// Answers are sent when there are so many bytes of them, or nothing else is to be done.
const ANSWERS: usize = 32 << 10;
/// How many refusals are said on standard error, too.
const SAID: usize = 100;

/// Serves one client until its stream ends, or nobody takes the answers any more. Closed files are in the area then, under their digests, not durable;
/// files that were not closed are gone. What was in the area before counts towards the limits.
///
/// # Errors
/// What reading and writing the streams gave, and [`io::ErrorKind::InvalidData`] for a stream that is not SFTP.
pub fn serve(input: impl Read, output: impl Write, area: Area, limits: Limits) -> io::Result<()> {
    let mut session = Session::new(&area, limits)?;
    let mut said = 0;
    converse(input, output, |kind, fields| {
        session.carry_out(kind, fields).inspect_err(|refusal| {
            // Before each upload a client asks by STAT whether the name is taken.
            if kind != kind::STAT && said < SAID {
                said += 1;
                eprintln!("builder-run: {}", refusal.reason);
            }
        })
    })
}

/// Answers everything that a client asks with the reason why it can do nothing, until its stream ends. sshd
/// drops the standard error of a subsystem, so an answer is the only way to say it.
///
/// # Errors
/// As [`serve`].
pub fn refuse(input: impl Read, output: impl Write, reason: &str) -> io::Result<()> {
    converse(input, output, |_, _| Err(Refusal::denied(reason)))
}

/// Takes requests, each by its type and the fields behind its number, and sends what they are answered with.
fn converse(
    input: impl Read,
    mut output: impl Write,
    mut carry_out: impl FnMut(u8, &mut Fields<'_>) -> Result<Answer, Refusal>,
) -> io::Result<()> {
    let mut packets = Frames::new(input);
    let mut answers = Vec::new();
    match packets.next_packet()? {
        None => return Ok(()),
        Some([kind::INIT, _, _, _, _, ..]) => greet(&mut answers),
        Some(_) => return Err(not_sftp("its first packet is not INIT")),
    }
    let ended = answer_all(&mut packets, &mut answers, &mut output, &mut carry_out);
    // A stream that breaks takes nothing from what was asked before.
    match ended.and(send(&mut output, &mut answers)) {
        // Who has heard a refusal may hang up before the answers to what was on its way.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn answer_all(
    packets: &mut Frames<impl Read>,
    answers: &mut Vec<u8>,
    output: &mut impl Write,
    carry_out: &mut impl FnMut(u8, &mut Fields<'_>) -> Result<Answer, Refusal>,
) -> io::Result<()> {
    loop {
        if answers.len() > ANSWERS || !packets.has_packet() {
            send(output, answers)?;
        }
        let Some(packet) = packets.next_packet()? else { return Ok(()) };
        let mut fields = Fields::new(packet);
        let (Ok(kind), Ok(id)) = (fields.u8(), fields.u32()) else {
            return Err(not_sftp("a request has no number"));
        };
        match carry_out(kind, &mut fields) {
            Ok(answer) => accept(id, answer, answers),
            Err(refusal) => give_status(id, refusal.status, &refusal.reason, answers),
        }
    }
}

fn send(output: &mut impl Write, answers: &mut Vec<u8>) -> io::Result<()> {
    let sent = output.write_all(answers).and_then(|()| output.flush());
    answers.clear();
    sent
}

fn greet(answers: &mut Vec<u8>) {
    let packet = Packet::new(answers, kind::VERSION).u32(wire::VERSION);
    packet.bytes(wire::LIMITS).bytes(b"1").bytes(wire::FSYNC).bytes(b"1").end();
}

fn not_sftp(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stream is not SFTP: {why}"))
}

fn accept(id: u32, answer: Answer, answers: &mut Vec<u8>) {
    match answer {
        Answer::Done => give_status(id, status::OK, "", answers),
        Answer::Handle(handle) => Packet::new(answers, kind::HANDLE).u32(id).bytes(&handle.to_be_bytes()).end(),
        Answer::Name(path) => {
            let packet = Packet::new(answers, kind::NAME).u32(id).u32(1);
            packet.bytes(&path).bytes(&path).u32(0).end();
        }
        Answer::Attributes(seen) => {
            // The permissions are what one can do here: to write, and to go into a directory.
            let (size, mode) = match seen {
                Seen::Directory => (0, 0o040_300),
                Seen::File(size) => (size, 0o100_200),
            };
            let packet = Packet::new(answers, kind::ATTRS).u32(id).u32(attribute::SIZE | attribute::PERMISSIONS);
            packet.u64(size).u32(mode).end();
        }
        Answer::Limits { handles } => {
            let packet = Packet::new(answers, kind::EXTENDED_REPLY).u32(id).u64(LONGEST_PACKET as u64);
            let data = u64::from(LONGEST_WRITE);
            packet.u64(data).u64(data).u64(handles as u64).end();
        }
    }
}

fn give_status(id: u32, code: u32, text: &str, answers: &mut Vec<u8>) {
    Packet::new(answers, kind::STATUS).u32(id).u32(code).bytes(text.as_bytes()).bytes(b"").end();
}
