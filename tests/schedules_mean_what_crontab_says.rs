//! Expressions mean what crontab(5) of Debian says, and what cron(8) says where clocks are set. `schedule.md` says
//! it to users.

use harness::expressions::Random;
use harness::oracle::{Question, answers};
use harness::{Finished, Lab, PLATFORM};
use jiff::{SignedDuration, Timestamp};
use spool::schedule::Cron;
use spool::schedule::moment::zone;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// How many moments of each expression are compared.
const COUNT: usize = 20;

const NANO: SignedDuration = SignedDuration::from_nanos(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a moment")
}

fn coming(cron: &Cron, after: Timestamp) -> impl Iterator<Item = Timestamp> {
    std::iter::successors(cron.next(after), |at| cron.next(*at))
}

#[test]
fn two_thousand_expressions_agree_with_an_oracle() {
    let mut random = Random::of(20_261_125);
    let questions: Vec<Question> = (0..2000).map(|_| Question::random(&mut random)).collect();
    let mut apart: BTreeMap<&str, usize> = BTreeMap::new();
    let mut agree = 0;
    let mut over_changes = 0;
    for (question, theirs) in questions.iter().zip(answers(&questions, COUNT)) {
        let ours = ours(question);
        // They go on after the year 2100, where we end.
        let [ours, theirs] = [ours, theirs].map(|list| list.map(before_2101));
        if ours == theirs {
            agree += usize::from(ours.is_some());
            over_changes += usize::from(ours.is_some_and(|list| changes_between(question, &list)));
            continue;
        }
        let class = class(question, &ours, &theirs);
        let class = class.unwrap_or_else(|| panic!("{question:?}\n  ours {ours:?}\n  theirs {theirs:?}"));
        *apart.entry(class).or_default() += 1;
    }
    assert!(agree > 1900 && over_changes > 500, "only {agree} agree, {over_changes} over a change of the clock");
    assert!(apart.values().all(|count| *count <= 10), "{apart:?} of 2000");
}

fn before_2101(list: Vec<i64>) -> Vec<i64> {
    let end: Timestamp = "2100-12-31T00:00:00Z".parse().expect("a moment");
    list.into_iter().filter(|second| *second < end.as_second()).collect()
}

/// Our moments, after a look whether searching backwards finds the same ones.
fn ours(question: &Question) -> Option<Vec<i64>> {
    let cron = Cron::parse(&question.expression, Some(question.zone)).ok()?;
    let list: Vec<i64> = coming(&cron, at(question.start)).take(COUNT).map(Timestamp::as_second).collect();
    for pair in list.windows(2) {
        assert!(question.start < pair[0] && pair[0] < pair[1], "{question:?}: {list:?}");
        assert_eq!(cron.latest(at(pair[0])), Some(at(pair[0])), "{question:?}");
        assert_eq!(cron.latest(at(pair[1] - 1)), Some(at(pair[0])), "{question:?}");
    }
    let before = cron.latest(at(question.start));
    let first = list.first().map(|first| at(*first));
    assert!(before.is_none_or(|before| cron.next(before) == first), "{question:?}: {before:?} {first:?}");
    Some(list)
}

fn changes_between(question: &Question, list: &[i64]) -> bool {
    let zone = zone(Some(question.zone)).expect("a zone");
    let change = zone.following(at(question.start)).next();
    list.last().zip(change).is_some_and(|(last, change)| change.timestamp() <= at(*last))
}

/// Why the oracle may say something else; `schedule.md` has these reasons.
fn class(question: &Question, ours: &Option<Vec<i64>>, theirs: &Option<Vec<i64>>) -> Option<&'static str> {
    let parts = || question.expression.split([' ', ',']);
    let (ours, theirs) = match (ours, theirs) {
        (None, Some(_)) => {
            let foreign = |part: &str| part.contains(['L', '#']) || part.contains('/') && !part.contains(['-', '*']);
            return parts().any(foreign).then_some("what crontab(5) does not have");
        }
        (ours, theirs) => (ours.as_ref()?, theirs.as_ref()?),
    };
    let alone = |part: &str| part.split_once('/').and_then(|(range, _)| range.split_once('-')).is_some_and(same);
    if parts().any(alone) {
        return Some("a step over a range of one number");
    }
    let wild = question.expression.split_whitespace().take(2).any(|field| field.starts_with('*'));
    let late: Vec<i64> = theirs.iter().copied().filter(|second| *second > question.start).collect();
    if !wild && late.len() < theirs.len() && ours.starts_with(&late) {
        return Some("moments before the start");
    }
    let odd = || apart(ours, theirs).iter().all(|second| after_an_odd_change(question.zone, *second));
    (wild && odd()).then_some("the day of a change that skips midnight or is not at a full hour")
}

fn same((from, to): (&str, &str)) -> bool {
    from.trim_start_matches('0') == to.trim_start_matches('0')
}

/// What only one of them has, up to where the shorter one ends.
fn apart(ours: &[i64], theirs: &[i64]) -> BTreeSet<i64> {
    let end = ours.last().min(theirs.last()).copied().unwrap_or(i64::MAX);
    let set = |list: &[i64]| list.iter().copied().filter(|second| *second <= end).collect::<BTreeSet<i64>>();
    &set(ours) ^ &set(theirs)
}

/// Whether the clock was set in the day before, or at this moment, in a way that stepping by hours does not meet.
fn after_an_odd_change(name: &str, second: i64) -> bool {
    let zone = zone(Some(name)).expect("a zone");
    let Some(change) = zone.preceding(at(second + 1)).next() else { return false };
    let before = zone.to_offset(change.timestamp() - NANO);
    let (from, to) = (before.to_datetime(change.timestamp()), change.offset().to_datetime(change.timestamp()));
    let full_hours = from.minute() == 0 && to.minute() == 0;
    let skips_midnight = from < to && from.date().to_datetime(jiff::civil::Time::midnight()) == from;
    second - change.timestamp().as_second() < 26 * 3600 && (!full_hours || skips_midnight)
}

#[test]
fn the_search_ends_where_the_years_do() {
    for expression in ["0 0 29 2 *", "*/5 * 29 2 0", "* * * * *", "0 0 31 12 */7"] {
        for name in ["UTC", "Europe/Berlin", "Africa/Casablanca", "Pacific/Kiritimati"] {
            let cron = Cron::parse(expression, Some(name)).expect("an expression");
            let (first, last) = (cron.next(Timestamp::MIN), cron.latest(Timestamp::MAX));
            assert_eq!((cron.latest(Timestamp::MIN), cron.next(Timestamp::MAX)), (None, None), "{expression} {name}");
            assert!(first.is_some() && cron.latest(first.expect("one") - NANO).is_none(), "{expression} {name}");
            assert!(last.is_some() && cron.next(last.expect("one")).is_none(), "{expression} {name}");
            assert_eq!(cron.next(last.expect("one") - NANO), last, "{expression} {name}");
        }
    }
}

/// Zone, expression, after when, and the moments that follow.
const CHANGES: [(&str, &str, &str, &[&str]); 24] = [
    // A job at fixed times in a gap: once, at its end.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00Z", &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    ("Europe/Berlin", "0,30 2 * * *", "2026-03-28T12:00Z", &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
    ("Europe/Berlin", "0 2,3 * * *", "2026-03-28T12:00Z", &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
    (
        "America/New_York",
        "30 2 * * sun",
        "2026-03-07T12:00Z",
        &["2026-03-08T03:00:00-04:00", "2026-03-15T02:30:00-04:00"],
    ),
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T02:00Z",
        &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
    ),
    (
        "Australia/Lord_Howe",
        "45 2 * * *",
        "2026-10-03T02:00Z",
        &["2026-10-04T02:45:00+11:00", "2026-10-05T02:45:00+11:00"],
    ),
    // In a repeated hour: once, the first time, also when it is asked for in the second.
    ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00Z", &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    ("Europe/Berlin", "30 2 * * *", "2026-10-25T01:10Z", &["2026-10-26T02:30:00+01:00"]),
    ("Europe/Berlin", "0 3 25 10 *", "2026-10-24T12:00Z", &["2026-10-25T03:00:00+01:00"]),
    (
        "America/New_York",
        "0,59 1 * * *",
        "2026-11-01T00:00Z",
        &["2026-11-01T01:00:00-04:00", "2026-11-01T01:59:00-04:00", "2026-11-02T01:00:00-05:00"],
    ),
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T02:00Z",
        &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
    ),
    ("Australia/Lord_Howe", "0 2 * * *", "2026-04-04T12:00Z", &["2026-04-05T02:00:00+10:30"]),
    // With `*` in front of the minute or the hour: whenever the clock shows it.
    (
        "Europe/Berlin",
        "0 * * * *",
        "2026-03-28T23:30Z",
        &["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
    ),
    (
        "Europe/Berlin",
        "@hourly",
        "2026-10-24T23:30Z",
        &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"],
    ),
    ("America/New_York", "0 * * * *", "2026-03-08T05:30Z", &["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00"]),
    (
        "America/New_York",
        "0 * * * *",
        "2026-11-01T04:30Z",
        &["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"],
    ),
    (
        "Australia/Lord_Howe",
        "0 * * * *",
        "2026-10-03T14:00Z",
        &["2026-10-04T01:00:00+10:30", "2026-10-04T03:00:00+11:00"],
    ),
    (
        "Australia/Lord_Howe",
        "0 * * * *",
        "2026-04-04T13:30Z",
        &["2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30"],
    ),
    ("Europe/Berlin", "*/15 2 * * *", "2026-03-28T12:00Z", &["2026-03-30T02:00:00+02:00"]),
    (
        "Europe/Berlin",
        "*/15 * * * *",
        "2026-03-29T00:40Z",
        &["2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"],
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-10-24T12:00Z",
        &[
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-26T02:00:00+01:00",
        ],
    ),
    (
        "America/New_York",
        "*/15 1 * * *",
        "2026-11-01T05:40Z",
        &["2026-11-01T01:45:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:15:00-05:00"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-10-03T15:10Z",
        &["2026-10-04T01:45:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T02:45:00+11:00"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 1 * * *",
        "2026-04-04T14:25Z",
        &[
            "2026-04-05T01:30:00+11:00",
            "2026-04-05T01:45:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T01:45:00+10:30",
            "2026-04-06T01:00:00+10:30",
        ],
    ),
];

#[test]
fn clocks_that_are_set_change_jobs_as_cron_says() {
    for (name, expression, after, expected) in CHANGES {
        let zone = zone(Some(name)).expect("a zone");
        let cron = Cron::parse(expression, Some(name)).expect("an expression");
        let shown = |at: Timestamp| at.display_with_offset(zone.to_offset(at)).to_string();
        let moments: Vec<Timestamp> = coming(&cron, after.parse().expect("a moment")).take(expected.len()).collect();
        assert_eq!(moments.iter().copied().map(shown).collect::<Vec<_>>(), expected, "{expression} {name} {after}");
        for pair in moments.windows(2) {
            let just_before = pair[1] - NANO;
            assert_eq!(
                (cron.latest(just_before), cron.latest(pair[1])),
                (Some(pair[0]), Some(pair[1])),
                "{expression}"
            );
        }
    }
}

fn next(words: &[&str]) -> Finished {
    // Neither a spool nor a configuration is needed.
    let mut command = Command::new(harness::binary("builder"));
    command.env("BUILDER_SPOOL", "/nowhere").env("BUILDER_CONFIG", "/nowhere");
    Finished::of(command.arg("next").args(words))
}

#[test]
fn what_crontab_does_not_have_is_refused_in_a_line_that_names_the_field() {
    let long = "1,".repeat(30_000);
    let table: [(&str, &str); 36] = [
        ("61 * * * *", "the field minute is wrong: 61 is not between 0 and 59"),
        ("* 24 * * *", "the field hour is wrong: 24 is not between 0 and 23"),
        ("* * 0 * *", "the field day of month is wrong: 0 is not between 1 and 31"),
        ("* * 32 * *", "the field day of month is wrong: 32 is not between 1 and 31"),
        ("* * * 13 *", "the field month is wrong: 13 is not between 1 and 12"),
        ("* * * * 8", "the field day of week is wrong: 8 is not between 0 and 7"),
        ("1-99 * * * *", "the field minute is wrong: 99 is not between 0 and 59"),
        ("99999999999999999999 * * * *", "99999999999999999999 is not between 0 and 59"),
        (", * * * *", "the field minute is wrong"),
        ("1,,2 * * * *", "the field minute is wrong"),
        ("* 1, * * *", "the field hour is wrong"),
        ("* 5-1 * * *", "the field hour is wrong: the range `5-1` runs backwards"),
        ("* * * * sat-sun", "the field day of week is wrong: the range `sat-sun` runs backwards"),
        ("* * 1- * *", "the field day of month is wrong: a number is missing"),
        ("-1 * * * *", "the field minute is wrong"),
        ("*/0 * * * *", "the field minute is wrong: `0` is no step"),
        ("*/ * * * *", "the field minute is wrong: `` is no step"),
        ("5/10 * * * *", "the field minute is wrong: `5/10` has a step and no range: write 5-59/…"),
        ("*/2/3 * * * *", "the field minute is wrong"),
        ("* * * foo *", "the field month is wrong: `foo` is neither a number nor a name"),
        ("* * * january *", "the field month is wrong"),
        ("* * * mon *", "the field month is wrong"),
        ("mon * * * *", "the field minute is wrong: `mon` is no number"),
        ("* * ? * *", "the field day of month is wrong: `?` is no number, and crontab(5) has no `?`"),
        ("* * L * *", "crontab(5) has no `L`"),
        ("* * 15W * *", "crontab(5) has no `W`"),
        ("* * * * 5L", "the field day of week is wrong"),
        ("* * * * mon#1", "crontab(5) has no `#`"),
        ("１ * * * *", "the field minute is wrong: `\\u{ff11}` is no number"),
        ("* * * *", "has 4 fields and must have five"),
        ("0 * * * * *", "has 6 fields and must have five"),
        ("", "has 0 fields and must have five"),
        ("1\n* * * *", "has 4 fields and must have five"),
        (&long, "is too long"),
        ("@reboot", "a spool does not start"),
        ("0 0 30 2 *", "can never be due: the field day of month is wrong"),
    ];
    for (expression, said) in table {
        next(&["--cron", expression]).refused(64, said);
    }
    assert!(Cron::parse(&"* ".repeat(4 << 20), None).is_err_and(|e| e.to_string().len() < 200));
    next(&["--cron", "@fortnightly"]).refused(64, "use one of @hourly, @daily");
    next(&["--cron", "0 0 31 2,4,6,9,11 *"]).refused(64, "can never be due");
    next(&["--cron", "@daily", "--tz", "Europe/Berln"]).refused(64, "did you mean Europe/Berlin?");
    next(&["--cron", "@daily", "--from", "teatime"]).refused(64, "`teatime` is no moment; write now, +2h,");
    next(&["--cron", "@daily", "-n", "0"]).refused(64, "-n");
    next(&["--cron", "@daily", "-n", "10001"]).refused(64, "-n");
    next(&["--tz", "UTC"]).refused(64, "--cron");
}

#[test]
fn next_prints_the_moments_of_jobs_in_order() {
    let lab = Lab::new();
    lab.job("manual", "true");
    let script = lab.script("s", "true");
    for (name, every, first) in [("b", "hourly", "2030-01-01T00:00:00Z"), ("a", "daily", "2030-01-01T00:30:00Z")] {
        let script = script.to_str().expect("UTF-8");
        lab.ok(&["add", name, script, "--platform", PLATFORM, "--every", every, "--at", first]);
    }
    let expected = "2030-01-01T00:00:00Z  b\n2030-01-01T00:30:00Z  a\n2030-01-01T01:00:00Z  b\n";
    assert_eq!(lab.ok(&["next", "-n", "3", "--from", "2029-12-31"]), expected);
    assert_eq!(lab.ok(&["next", "a", "-n", "2"]), "2030-01-01T00:30:00Z\n2030-01-02T00:30:00Z\n");
    let manual = lab.builder(&["next", "manual"]);
    assert_eq!((manual.code, manual.stdout.as_str()), (0, ""), "{manual:?}");
    assert!(manual.stderr.contains("`builder run manual` builds it now"), "{manual:?}");
    lab.builder(&["next", "hallo"]).refused(66, "there is no job hallo");
}

/// Each command that `schedule.md` shows prints what stands below it.
#[test]
fn the_schedule_document_shows_what_next_prints() {
    let document = include_str!("../schedule.md");
    let blocks = document.split("```console\n").skip(1).map(|rest| rest.split("```").next().expect("a block"));
    let shown: Vec<&str> = blocks.flat_map(|block| block.split("$ ").skip(1)).collect();
    assert!(shown.len() >= 5, "{shown:?}");
    for one in shown {
        let (command, output) = one.split_once('\n').expect("a command and its output");
        let command = command.replacen("builder", harness::binary("builder").to_str().expect("UTF-8"), 1);
        let ran = Finished::of(Command::new("sh").args(["-c", &command]));
        assert_eq!(ran.stdout + &ran.stderr, output, "{command}");
    }
}
