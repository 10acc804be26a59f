//! Questions to cronsim, an implementation of Debian's cron that is not ours.

use crate::expressions::{Random, expression};
use jiff::Timestamp;
use spool::schedule::moment::zone;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Zones whose clocks are set by an hour, by half an hour and by two, at night, at midnight and at a quarter to
/// three, forward for winter and never.
const ZONES: [&str; 14] = [
    "UTC",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/London",
    "Pacific/Chatham",
];

/// When is this expression due, from then on?
#[derive(Debug)]
pub struct Question {
    /// The expression.
    pub expression: String,
    /// The zone's name.
    pub zone: &'static str,
    /// The moments after this one are wanted, in seconds since 1970.
    pub start: i64,
}

impl Question {
    /// A random one between 2001 and 2035; most are within two days of a change of the zone's clock.
    pub fn random(random: &mut Random) -> Question {
        let expression = expression(random);
        let name = if random.percent(20) { "UTC" } else { random.one(&ZONES) };
        let mut start = random.between(978_307_200, 2_051_222_400);
        if random.percent(60) {
            let moment = Timestamp::from_second(start).expect("a moment");
            let zone = zone(Some(name)).expect("a zone");
            let near = zone.following(moment).next().map_or(start, |change| change.timestamp().as_second());
            start = near - near % 60 + 60 * random.between(-2880, 2880) + random.one(&[0, 0, 0, 17]);
        }
        Question { expression, zone: name, start }
    }
}

/// What cronsim says to all of them: moments in seconds since 1970, or none where it refuses the expression.
pub fn answers(questions: &[Question], count: usize) -> Vec<Option<Vec<i64>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let python = root.join("target/oracle/bin/python");
    assert!(python.exists(), "{} is missing: `tools/oracle` makes it, and `./test` calls that", python.display());
    let mut child = Command::new(python)
        .arg(root.join("tests/crontab_oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut input = child.stdin.take().expect("its input");
    let lines = questions.iter().map(|q| format!("{}\t{}\t{}\t{count}\n", q.expression, q.zone, q.start));
    let text: String = lines.collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).expect("it reads"));
    let output = child.wait_with_output().expect("its answers");
    writer.join().expect("it read all");
    assert!(output.status.success(), "the oracle failed");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let numbers = |line: &str| line.split_whitespace().map(|word| word.parse().expect("a moment")).collect();
    said.lines().map(|line| (line != "refused").then(|| numbers(line))).collect()
}
