//! Expressions of crontab(5), zones and moments.

use crate::is_a_line;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use spool::schedule::moment::{moment, zone};
use spool::schedule::{Cron, Rule, Schedule};

/// A line each: an expression, a zone or nothing, and a moment.
///
/// What is read means the same when it is written and read again. Of two moments that follow each other none lies between.
pub fn cron(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (expression, named, when) =
        (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let named = (!named.is_empty()).then_some(named);
    let zone = match zone(named) {
        Ok(zone) => zone,
        Err(e) => return is_a_line(&e),
    };
    let now = at(when, &zone);
    let cron = match Cron::parse(expression, named) {
        Ok(cron) => cron,
        Err(e) => return is_a_line(&e),
    };
    is_a_line(&cron.expression());
    assert_eq!(Cron::parse(cron.expression(), cron.zone()).expect("it reads back"), cron);
    neighbours(&cron, now);
    schedules(&cron, now);
}

/// The moment that the third line says, or any.
fn at(text: &str, zone: &TimeZone) -> Timestamp {
    let now = Timestamp::from_second(1_800_000_000).expect("a moment");
    match moment(text, now, zone) {
        Ok(meant) => {
            assert_eq!(moment(&meant.to_string(), now, zone).expect("it reads back"), meant);
            meant
        }
        Err(e) => {
            is_a_line(&e);
            now
        }
    }
}

fn neighbours(cron: &Cron, now: Timestamp) {
    let (latest, next) = (cron.latest(now), cron.next(now));
    assert!(latest.is_none_or(|latest| latest <= now), "{latest:?} is later than {now}");
    assert!(next.is_none_or(|next| next > now), "{next:?} is not later than {now}");
    if let Some(latest) = latest {
        assert_eq!(cron.next(latest), next, "behind {latest}, at {now}");
        assert_eq!(cron.latest(latest), Some(latest));
    }
    if let Some(next) = next {
        assert_eq!(cron.latest(next), Some(next), "{next} is none of its own moments, at {now}");
    }
}

fn schedules(cron: &Cron, now: Timestamp) {
    for (first, since, jitter) in [(None, None, 0), (Some(now), None, 7), (None, Some(now), 3600)] {
        let jitter = SignedDuration::from_secs(jitter);
        let schedule = Schedule { rule: Rule::Cron(cron.clone()), first, since, jitter };
        let (due, next) = (schedule.due(None, now), schedule.next(now));
        assert!(due.is_none_or(|due| due <= now) && next.is_none_or(|next| next > now), "{due:?} {now} {next:?}");
        assert_eq!(due.and_then(|due| schedule.due(Some(due), now)), None, "it is fired twice");
        if let Some(next) = next {
            assert_eq!(schedule.due(due, next), Some(next));
        }
    }
}
