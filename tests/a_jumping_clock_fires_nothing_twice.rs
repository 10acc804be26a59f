//! Whatever a clock does: no moment is fired twice, a jump fires at most one, and then it goes on.
//!
//! The clock is a number here, and firing is what `builderd` does: it asks what is due, and notes it.

use harness::expressions::Random;
use jiff::{SignedDuration, Timestamp};
use spool::schedule::{Cron, Every, Rule, Schedule};
use std::collections::BTreeSet;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a moment")
}

/// What fires a job: it looks at a clock, and notes the last moment that it fired.
struct Firing {
    schedule: Schedule,
    now: Timestamp,
    fired: Option<Timestamp>,
    named: BTreeSet<Timestamp>,
}

impl Firing {
    /// At most one moment is due, and the last one.
    fn look(&mut self) -> Option<Timestamp> {
        let due = self.schedule.due(self.fired, self.now)?;
        self.fired = Some(due);
        assert_eq!(self.schedule.due(self.fired, self.now), None, "{due} again at {}", self.now);
        assert!(due <= self.now && self.schedule.next(due).is_none_or(|next| self.now < next), "{due} at {}", self.now);
        assert!(self.named.insert(due), "{due} a second time at {}", self.now);
        Some(due)
    }

    /// It waits for the next moment.
    fn tick(&mut self, late: i64) {
        let next = self.schedule.next(self.now).expect("it goes on for ever");
        let noted = self.fired;
        self.now = next + SignedDuration::from_secs(late);
        match self.look() {
            Some(due) => assert_eq!(due, next),
            // The clock had gone back, by less than from one moment to another.
            None => assert!(noted.is_some_and(|noted| noted >= next && Some(noted) <= self.schedule.next(next))),
        }
    }

    /// Somebody sets the clock.
    fn jump(&mut self, seconds: i64) {
        self.now = at(self.now.as_second() + seconds);
        // A clock that was ahead by more than a moment has named moments that now come in earnest. They have the
        // build ids that they had, so that nothing is built twice even then.
        if self.fired > self.schedule.next(self.now) {
            self.named.retain(|moment| self.schedule.next(*moment) <= Some(self.now));
        }
        self.look();
    }
}

#[test]
fn a_clock_that_jumps_fires_at_most_once_and_goes_on() {
    const HOUR: i64 = 3600;
    let mut random = Random::of(1);
    let first = Some(at(1_767_000_000));
    let every = |every| Schedule { rule: Rule::Every(every), first, since: None, jitter: SignedDuration::ZERO };
    let cron = |expression: &str, zone: &str| Schedule {
        rule: Rule::Cron(Cron::parse(expression, Some(zone)).expect("an expression")),
        ..every(Every::Never)
    };
    let schedules = [
        every(Every::Hourly),
        every(Every::Daily),
        cron("*/20 * * * *", "Europe/Berlin"),
        cron("30 2 * * *", "Europe/Berlin"),
        cron("15,45 1-3 * * *", "America/New_York"),
        cron("0 * * * *", "Australia/Lord_Howe"),
        cron("45 1 * * *", "Australia/Lord_Howe"),
        cron("0 0 1,15 * mon", "UTC"),
    ];
    for (index, schedule) in schedules.iter().flat_map(|schedule| std::iter::repeat_n(schedule, 20)).enumerate() {
        let schedule = Schedule { jitter: SignedDuration::from_secs(random.one(&[0, 0, 437])), ..schedule.clone() };
        // Around the changes of March, April, October and November 2026.
        let month =
            random.one(&[1_774_742_400, 1_775_260_800, 1_790_985_600, 1_792_886_400, 1_793_491_200, 1_772_884_800]);
        let start = at(month + random.between(-2 * 24 * HOUR, 0));
        let mut firing = Firing { schedule, now: start, fired: None, named: BTreeSet::new() };
        for _ in 0..30 {
            (0..random.between(1, 30)).for_each(|_| firing.tick(random.between(0, 59)));
            let jumps = [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 90 * 60, -90 * 60, 30 * 24 * HOUR, -7, 7];
            firing.jump(random.one(&jumps));
            if random.percent(30) {
                firing.jump(random.one(&jumps));
            }
        }
        assert!(firing.fired.is_some(), "schedule {index} never fired");
    }
}
