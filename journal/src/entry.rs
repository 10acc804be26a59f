//! What is said in one entry, and how the journal and syslog take it.

use spool::build_id::BuildId;
use tracing::Level;

/// Bytes of a message, and of a field: far below what a datagram of the journal holds.
const LONGEST: usize = 8192;

/// Bytes of a message for syslogd: a datagram of FreeBSD may hold no more than two kilobytes.
const LONGEST_LINE: usize = 1900;

/// syslog(3)'s facility for daemons.
const DAEMON: u8 = 3;

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    level: Level,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    /// An entry with a message, its fields, and some more that stand behind no message. A build's id says which job it is
    /// of, and on which platform.
    pub fn new(
        level: Level,
        message: String,
        fields: Vec<(&'static str, String)>,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Entry {
        let told: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let mut entry = Entry { level, message: shortened(message + &told, LONGEST), fields };
        let build = entry.fields.iter().find(|(name, _)| *name == "build");
        let build = build.and_then(|(_, id)| id.parse::<BuildId>().ok());
        let of_build =
            build.iter().flat_map(|id| [("job", id.job().to_string()), ("platform", id.platform().to_string())]);
        for (name, value) in of_build.chain(more) {
            if entry.fields.iter().all(|(known, _)| *known != name) {
                entry.fields.push((name, value));
            }
        }
        entry
    }

    /// As journald takes it (systemd's "Journal Export Formats" and "Native Journal Protocol").
    pub fn for_the_journal(&self, program: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        field(&mut bytes, "PRIORITY", &severity(self.level).to_string());
        field(&mut bytes, "SYSLOG_IDENTIFIER", program);
        field(&mut bytes, "MESSAGE", &self.message);
        for (name, value) in &self.fields {
            field(&mut bytes, &format!("BUILDER_{}", name.to_ascii_uppercase()), &shortened(value.clone(), LONGEST));
        }
        bytes
    }

    /// As syslogd takes it (RFC 3164, without the time, which it knows itself). Control characters would end the line.
    pub fn for_syslog(&self, program: &str) -> Vec<u8> {
        let priority = DAEMON << 3 | severity(self.level);
        let message = shortened(self.message.replace(char::is_control, " "), LONGEST_LINE);
        format!("<{priority}>{program}[{}]: {message}", std::process::id()).into_bytes()
    }
}

/// A value with line breaks has its length before it.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend((value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend(value.as_bytes());
    bytes.push(b'\n');
}

/// syslog(3)'s.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn shortened(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest - 4).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "20261125T120000Z-hello@debian-12-0123456789ab";

    fn entry(message: &str, fields: Vec<(&'static str, String)>) -> Entry {
        Entry::new(Level::INFO, message.to_owned(), fields, [("worker", "jail1".to_owned())])
    }

    #[test]
    fn a_build_brings_its_job_and_platform() {
        let id = BuildId::unique(
            "2026-11-25T12:00:00Z".parse().unwrap(),
            &"hello".parse().unwrap(),
            &"debian-12".parse().unwrap(),
        );
        let id = id.unwrap().to_string();
        let said = entry("is over", vec![("build", id.clone())]).for_the_journal("builderd");
        let said = String::from_utf8(said).unwrap();
        let expected = format!(
            "PRIORITY=6\nSYSLOG_IDENTIFIER=builderd\nMESSAGE=is over build={id}\nBUILDER_BUILD={id}\nBUILDER_JOB=hello\n\
             BUILDER_PLATFORM=debian-12\nBUILDER_WORKER=jail1\n"
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_said_comes_before_what_is_known() {
        let fields = vec![("build", BUILD.to_owned()), ("worker", "jail2".to_owned())];
        assert!(entry("", fields).fields.contains(&("worker", "jail2".to_owned())));
        let none = entry("", vec![("build", "none".to_owned())]);
        assert_eq!(none.fields, [("build", "none".to_owned()), ("worker", "jail1".to_owned())]);
    }

    /// A line break that somebody sent is no way to another field.
    #[test]
    fn a_value_is_one_value() {
        let said = entry("a\nPRIORITY=0", vec![]);
        let journal = said.for_the_journal("builderd");
        let message = b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert!(journal.windows(message.len()).any(|part| part == message), "{}", String::from_utf8_lossy(&journal));
        let syslog = String::from_utf8(said.for_syslog("builderd")).unwrap();
        assert_eq!(syslog, format!("<30>builderd[{}]: a PRIORITY=0", std::process::id()));
    }

    #[test]
    fn an_entry_is_bounded() {
        let long = "ä".repeat(LONGEST);
        let entry = entry(&long, vec![("why", long.clone())]);
        let said = entry.for_the_journal("builderd");
        assert!(said.len() < 3 * LONGEST, "{}", said.len());
        assert!(String::from_utf8(said).is_ok());
        let said = entry.for_syslog("builderd");
        assert!(said.len() < 2000 && String::from_utf8(said).is_ok_and(|said| said.ends_with("ä ...")));
    }
}
