//! The files of jobs, which people write.

use crate::is_a_line;
use jiff::Timestamp;
use spool::error::Kind;
use spool::job;
use spool::name::{JobName, Platform};
use std::collections::BTreeMap;
use std::path::Path;

/// A job is read, or refused in a line that names its file; what was read is written so that it is read again as the same.
/// Whatever it says, it can be asked when it is due and where it is built.
pub fn job(bytes: &[u8]) {
    let (name, path): (JobName, _) = ("hello".parse().expect("a name"), Path::new("hello.toml"));
    let read = match job::parse(&name, bytes, path) {
        Ok(read) => read,
        Err(e) => {
            is_a_line(&e);
            assert_eq!(e.kind(), Kind::Data);
            return assert!(e.to_string().starts_with("hello.toml: "), "{e}");
        }
    };
    let text = job::text(&read).expect("what was read can be written");
    assert_eq!(job::parse(&name, text.as_bytes(), path).expect("what was written can be read"), read);
    is_a_line(&read.schedule_word());
    is_a_line(&read.platforms);

    let schedule = read.schedule(&name).expect("it was checked");
    let now = Timestamp::from_second(1_800_000_000).expect("a moment");
    let due = schedule.due(None, now);
    assert!(due.is_none_or(|due| due <= now) && schedule.next(now).is_none_or(|next| next > now));
    assert_eq!(due.and_then(|due| schedule.due(Some(due), now)), None, "it is fired twice");

    let platform: Platform = "debian-12".parse().expect("a platform");
    let known = BTreeMap::from([(platform.clone(), spool::platform::State::Open)]);
    let targets = read.targets(&known);
    assert_eq!(targets.contains(&platform), read.is_built_on(&platform));
    let values = BTreeMap::from([("NAME".to_owned(), "value".to_owned())]);
    if let Err(e) = read.check_values(&values) {
        is_a_line(&e);
    }
}
