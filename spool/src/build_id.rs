//! The name of a build: when, which job, which platform, and six characters that make it the only one.

use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::name::{JobName, Platform};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// `20261124T094701.123Z-hello@debian-12-k3f9x2`: sorts by time, and reads without a table.
///
/// `@` stands in no name, the time and the last part have a fixed length, so it parses in one way only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId {
    text: String,
    job: JobName,
    platform: Platform,
}

const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";
const TAIL_LEN: usize = 6;
const TAIL_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What the last part of a rebuild's name starts with. It is not in the alphabet, so no other build's does.
const REBUILD: char = 'u';

impl BuildId {
    /// Bytes of the time that each id starts with.
    pub(crate) const TIME_LEN: usize = "20261124T094701.123Z".len();

    /// A new name for a build that somebody asked for at `now`.
    pub fn unique(now: Timestamp, job: &JobName, platform: &Platform) -> Result<BuildId> {
        let mut random = [0; TAIL_LEN];
        getrandom::fill(&mut random)
            .map_err(|e| Error::new(Kind::Io, format!("the system gives no random numbers: {e}")))?;
        Ok(BuildId::assemble(now, job, platform, &random))
    }

    /// The name of the build that a timer owes at `due`: always the same, so that firing twice is firing once.
    pub fn of_timer(due: Timestamp, job: &JobName, platform: &Platform) -> BuildId {
        let seed = Sha256::of(format!("{due} {job} {platform}").as_bytes()).to_string();
        BuildId::assemble(due, job, platform, &seed.as_bytes()[..TAIL_LEN])
    }

    /// The name of an imported build that another builder has started at `started` and knows by this UUID: always the
    /// same, so that it comes in once.
    pub fn of_import(started: Timestamp, job: &JobName, platform: &Platform, uuid: Uuid) -> BuildId {
        let seed = Sha256::of(uuid.as_bytes()).bytes();
        BuildId::assemble(started, job, platform, &seed[..TAIL_LEN])
    }

    fn assemble(at: Timestamp, job: &JobName, platform: &Platform, seed: &[u8]) -> BuildId {
        let tail: String = seed.iter().map(|b| TAIL_ALPHABET[(b % 32) as usize] as char).collect();
        BuildId {
            text: format!("{}-{job}@{platform}-{tail}", at.strftime(TIME)),
            job: job.clone(),
            platform: platform.clone(),
        }
    }

    /// The build with this time in milliseconds since 1970 and this tail as a number; nothing when no build can have them.
    #[cfg(feature = "index")]
    pub(crate) fn of_numbers(time: i64, job: &JobName, platform: &Platform, tail: i64) -> Option<BuildId> {
        let at = Timestamp::from_millisecond(time).ok()?;
        let mut seed = [0; TAIL_LEN];
        // One bit more says that it is a rebuild, whose first character is always the same.
        let tail = u32::try_from(tail).ok().filter(|tail| *tail < 1 << (5 * TAIL_LEN + 1))?;
        seed.iter_mut().rev().zip(0..).for_each(|(digit, n)| *digit = (tail >> (5 * n) & 31) as u8);
        let id = BuildId::assemble(at, job, platform, &seed);
        let rebuild = tail >> (5 * TAIL_LEN) == 1;
        let fits = parse_time(&id.text[..BuildId::TIME_LEN]) == Some(at) && (!rebuild || seed[0] == 0);
        fits.then(|| if rebuild { id.into_rebuild() } else { id })
    }

    /// Its time and its tail as [`BuildId::of_numbers`] takes them.
    #[cfg(feature = "index")]
    pub(crate) fn numbers(&self) -> (i64, i64) {
        (self.time().as_millisecond(), BuildId::number_of_tail(self.tail()).unwrap_or_default())
    }

    /// A tail as a number; nothing when it is none.
    #[cfg(feature = "index")]
    pub(crate) fn number_of_tail(tail: &str) -> Option<i64> {
        let digit = |byte: u8| TAIL_ALPHABET.iter().position(|one| *one == byte);
        let number = |sum: i64, byte: u8| Some(sum << 5 | digit(byte)? as i64);
        let (start, rest) = tail.strip_prefix(REBUILD).map_or((0, tail), |rest| (1 << 5, rest));
        Some(rest).filter(|_| tail.len() == TAIL_LEN)?.bytes().try_fold(start, number)
    }

    /// The name of a new rebuild that somebody asked for at `now`.
    pub fn unique_rebuild(now: Timestamp, of: &BuildId) -> Result<BuildId> {
        Ok(BuildId::unique(now, &of.job, &of.platform)?.into_rebuild())
    }

    /// The name of the rebuild with this number that a build owes since it ended at `end`: always the same.
    pub fn of_rebuild(end: Timestamp, of: &BuildId, number: u32) -> BuildId {
        let seed = Sha256::of(format!("{of} {number}").as_bytes()).to_string();
        BuildId::assemble(end, &of.job, &of.platform, &seed.as_bytes()[..TAIL_LEN]).into_rebuild()
    }

    fn into_rebuild(self) -> BuildId {
        let start = self.text.len() - TAIL_LEN;
        let text = format!("{}{REBUILD}{}", &self.text[..start], &self.text[start + 1..]);
        BuildId { text, ..self }
    }

    /// Whether it repeats another build, to see whether the same comes out.
    pub fn is_rebuild(&self) -> bool {
        is_rebuild(&self.text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The job that it is a build of.
    pub fn job(&self) -> &JobName {
        &self.job
    }

    /// The platform that it is for.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The six characters at its end, which hardly any other build has.
    pub fn tail(&self) -> &str {
        &self.text[self.text.len() - TAIL_LEN..]
    }

    /// When it was asked for, or due; to the millisecond.
    pub fn time(&self) -> Timestamp {
        parse_time(&self.text[..BuildId::TIME_LEN]).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The directory in `done/` and `failed/`: `2026-11`.
    pub fn month(&self) -> String {
        format!("{}-{}", &self.text[..4], &self.text[4..6])
    }
}

/// Whether a name, if it is a build's, is that of a rebuild. It is not parsed: a month may have 100,000.
pub(crate) fn is_rebuild(name: &str) -> bool {
    name.len().checked_sub(TAIL_LEN).is_some_and(|start| name.as_bytes()[start] == REBUILD as u8)
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let parsed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.fZ", text).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(parsed).ok()
}

impl FromStr for BuildId {
    type Err = Error;

    fn from_str(text: &str) -> Result<BuildId> {
        let parse = || -> Option<BuildId> {
            let time = text.get(..BuildId::TIME_LEN)?;
            let exact = parse_time(time)?.strftime(TIME).to_string() == time;
            let (job, rest) = text.get(BuildId::TIME_LEN..)?.strip_prefix('-')?.split_once('@')?;
            let (platform, tail) = rest.rsplit_once('-')?;
            let rest_of_tail = tail.strip_prefix(REBUILD).unwrap_or(tail);
            let tail_ok = tail.len() == TAIL_LEN && rest_of_tail.bytes().all(|b| TAIL_ALPHABET.contains(&b));
            (exact && tail_ok).then_some(BuildId {
                text: text.to_owned(),
                job: job.parse().ok()?,
                platform: platform.parse().ok()?,
            })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            Error::new(Kind::Data, format!("`{shown}` is not a build id"))
                .hint("an id looks like 20261124T094701.123Z-hello@debian-12-k3f9x2")
        })
    }
}

impl TryFrom<String> for BuildId {
    type Error = Error;
    fn try_from(text: String) -> Result<BuildId> {
        text.parse()
    }
}

impl From<BuildId> for String {
    fn from(id: BuildId) -> String {
        id.text
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_shows_its_parts_and_reads_back() {
        let at: Timestamp = "2026-11-24T09:47:01.1234Z".parse().unwrap();
        let (job, platform) = ("a-b.c".parse().unwrap(), "debian-12".parse().unwrap());
        let id = BuildId::unique(at, &job, &platform).unwrap();
        assert!(id.as_str().starts_with("20261124T094701.123Z-a-b.c@debian-12-"), "{id}");
        let again: BuildId = id.as_str().parse().unwrap();
        assert_eq!((again.job(), again.platform()), (&job, &platform));
        assert_eq!(again.month(), "2026-11");
        assert!(id.as_str().ends_with(&format!("-{}", again.tail())) && again.tail().len() == 6);
        assert_eq!(again.time().to_string(), "2026-11-24T09:47:01.123Z");
    }

    #[test]
    #[cfg(feature = "index")]
    fn an_id_is_two_numbers_and_its_names() {
        for text in [
            "20261124T094701.123Z-a@p-k3f9x2",
            "20261124T094701.123Z-a@p-u3f9x2",
            "20261124T094701.123Z-a@p-uzzzzz",
            "20261124T094701.000Z-a@p-000000",
            "99991230T215959.999Z-a@p-zzzzzz",
        ] {
            let id: BuildId = text.parse().unwrap();
            let (time, tail) = id.numbers();
            assert_eq!(BuildId::of_numbers(time, id.job(), id.platform(), tail), Some(id));
        }
        let (job, platform) = ("a".parse().unwrap(), "p".parse().unwrap());
        for (time, tail) in [(i64::MAX, 0), (0, -1), (0, 1 << 31), (0, (1 << 30) + (1 << 25)), (-62_200_000_000_000, 0)]
        {
            assert_eq!(BuildId::of_numbers(time, &job, &platform, tail), None, "{time} {tail}");
        }
        assert!(["k3f9x", "k3f9x22", "k3f9xi", ""].iter().all(|text| BuildId::number_of_tail(text).is_none()));
    }

    #[test]
    fn a_timer_names_its_build_the_same_each_time() {
        let at = Timestamp::UNIX_EPOCH;
        let (job, platform) = ("a".parse().unwrap(), "p".parse().unwrap());
        assert_eq!(BuildId::of_timer(at, &job, &platform), BuildId::of_timer(at, &job, &platform));
    }

    #[test]
    fn a_rebuild_says_so() {
        let of: BuildId = "20261124T094701.123Z-a@p-000000".parse().unwrap();
        let end = of.time();
        let rebuilds = [1, 2].map(|number| BuildId::of_rebuild(end, &of, number));
        assert_ne!(rebuilds[0], rebuilds[1]);
        assert_eq!(rebuilds[0], BuildId::of_rebuild(end, &of, 1));
        for id in rebuilds.into_iter().chain([BuildId::unique_rebuild(end, &of).unwrap()]) {
            assert!(id.is_rebuild() && !of.is_rebuild(), "{id}");
            assert_eq!(id.as_str().parse::<BuildId>().unwrap(), id);
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "20261124T094701.123Z-a@p-0u0000",
            "",
            "hello",
            "20261324T094701.123Z-a@p-000000",
            "20261124T094701.123Z-a@p-00000i",
            "20261124T094701.123Z-a/b@p-000000",
            "20261124T094701.123Z-é@p-000000",
        ] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }
}
