//! What both files have: jobs with a script, files by their paths, times.

use super::der::Reader;
use super::tag;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use spool::error::Result;
use spool::name::{JobName, Platform};
use std::io::Read;

/// What robur's builder calls a platform when its file has none.
const NO_PLATFORM: &str = "no-platform";

/// The longest path, in bytes: more is nothing that a file system has.
pub const LONGEST_PATH: u64 = 4096;

/// No more files of a job than this are named.
const MOST_NAMED: usize = 100;

/// A job with a script, on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptJob {
    /// Its name.
    pub name: JobName,
    /// Where it is built.
    pub platform: Platform,
    /// What is executed.
    pub script: Vec<u8>,
    /// The paths of the files that were laid beside its script, which robur's builder itself passes over now.
    pub files: Vec<String>,
}

impl ScriptJob {
    /// Reads one; the script has no more than `most` bytes.
    pub fn read<R: Read>(der: &mut Reader<R>, most: u64) -> Result<ScriptJob> {
        der.enter(tag::SEQUENCE, "job")?;
        let name = der.parsed(JobName::LONGEST, "job.name")?;
        let at = der.at();
        let script = der.bytes(tag::UTF8, most, "job.script")?;
        if script.is_empty() {
            return Err(der.wrong(at, "job.script", "it is empty"));
        }
        let files = files(der)?;
        let platform = match der.more() {
            true => der.parsed(Platform::LONGEST, "job.platform")?,
            false => NO_PLATFORM.parse()?,
        };
        der.leave("job")?;
        Ok(ScriptJob { name, platform, script, files })
    }
}

fn files<R: Read>(der: &mut Reader<R>) -> Result<Vec<String>> {
    let mut named = Vec::new();
    der.enter(tag::SEQUENCE, "job.files")?;
    while der.more() {
        der.enter(tag::SEQUENCE, "job.files")?;
        let path = der.text(LONGEST_PATH, "job.files.path")?;
        der.skip(tag::UTF8, "job.files.data")?;
        der.leave("job.files")?;
        if named.len() < MOST_NAMED {
            named.push(path);
        }
    }
    der.leave("job.files")?;
    Ok(named)
}

/// A time in UTC as it is written: as UTCTime, to the second, or as GeneralizedTime, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    civil: DateTime,
    at: u64,
}

impl Time {
    /// Reads one.
    pub fn read<R: Read>(der: &mut Reader<R>, what: &str) -> Result<Time> {
        let at = der.at();
        let is_utc_time = der.peek(what)? == Some(tag::UTC_TIME);
        let tag = if is_utc_time { tag::UTC_TIME } else { tag::GENERALIZED_TIME };
        let bytes = der.bytes(tag, 40, what)?;
        let civil = if is_utc_time { utc_time(&bytes) } else { generalized_time(&bytes) };
        let civil = civil.ok_or_else(|| {
            let form = if is_utc_time { "YYMMDDHHMMSSZ" } else { "YYYYMMDDHHMMSSZ or YYYYMMDDHHMMSS.mmmZ" };
            der.wrong(at, what, format!("it is no time of the form {form}"))
        })?;
        Ok(Time { civil, at })
    }

    /// The moment, from 1970 on: earlier ones are no build's.
    pub fn moment<R: Read>(self, der: &Reader<R>, what: &str) -> Result<Timestamp> {
        let moment = TimeZone::UTC.to_timestamp(self.civil).ok().filter(|moment| *moment >= Timestamp::UNIX_EPOCH);
        moment.ok_or_else(|| der.wrong(self.at, what, "it is before 1970, or too far ahead"))
    }
}

/// Of two digits of a year, 50 is 1950 and 49 is 2049 (X.509, 7.2).
fn utc_time(bytes: &[u8]) -> Option<DateTime> {
    let [year, rest @ ..] = digits(bytes.strip_suffix(b"Z")?, [2, 2, 2, 2, 2, 2])?;
    civil(if year < 50 { 2000 + year } else { 1900 + year }, rest, 0)
}

fn generalized_time(bytes: &[u8]) -> Option<DateTime> {
    let text = bytes.strip_suffix(b"Z")?;
    let (whole, fraction) = text.split_at_checked(14)?;
    let ms = match fraction.strip_prefix(b".") {
        Some(fraction) => digits(fraction, [3])?[0],
        None if fraction.is_empty() => 0,
        None => return None,
    };
    let [year, rest @ ..] = digits(whole, [4, 2, 2, 2, 2, 2])?;
    civil(year, rest, ms)
}

/// Numbers of so many digits each, which are all of it.
fn digits<const N: usize>(mut bytes: &[u8], lengths: [usize; N]) -> Option<[i16; N]> {
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let (these, rest) = bytes.split_at_checked(length)?;
        for digit in these {
            *number = *number * 10 + i16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        bytes = rest;
    }
    bytes.is_empty().then_some(numbers)
}

fn civil(year: i16, rest: [i16; 5], ms: i16) -> Option<DateTime> {
    let [month, day, hour, minute, second] = rest.map(|number| number as i8);
    DateTime::new(year, month, day, hour, minute, second, i32::from(ms) * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let read = |tag: u8, text: &str| {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            let mut der = Reader::new(&bytes[..], 100);
            let time = Time::read(&mut der, "t")?;
            time.moment(&der, "t").map(|moment| moment.to_string())
        };
        for (tag, text, moment) in [
            (0x17, "260102030405Z", "2026-01-02T03:04:05Z"),
            (0x17, "700101000000Z", "1970-01-01T00:00:00Z"),
            (0x18, "20260102030405Z", "2026-01-02T03:04:05Z"),
            (0x18, "20260102030405.067Z", "2026-01-02T03:04:05.067Z"),
        ] {
            assert_eq!(read(tag, text).unwrap(), moment);
        }
        for (tag, text) in [
            (0x17, "20260102030405Z"),
            (0x17, "2601020304Z"),
            (0x17, "500101000000Z"),
            (0x17, "260230000000Z"),
            (0x18, "20260102030405"),
            (0x18, "20260102030405+0100"),
            (0x18, "20260102030405.67Z"),
            (0x18, "20260102030405.Z"),
            (0x18, "20261302030405Z"),
            (0x18, "+0260102030405Z"),
            (0x18, "99991231235959Z"),
            (0x18, "00000101000000Z"),
            (0x19, "20260102030405Z"),
        ] {
            assert!(read(tag, text).is_err(), "{text}");
        }
    }
}
