//! The five fields of crontab(5): text becomes numbers once.

use super::field::{FIELDS, Field, in_order, shown};
use crate::error::{Error, Kind, Result};

/// The longest expression that is read, in bytes.
const LONGEST: usize = 1000;

/// The short forms of crontab(5), and what they are short for.
const SHORT: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// An expression as numbers, each list in order and without repetition.
#[derive(Debug, PartialEq)]
pub(super) struct Fields {
    pub(super) minutes: Vec<u8>,
    pub(super) hours: Vec<u8>,
    pub(super) days: Vec<u8>,
    pub(super) months: Vec<u8>,
    /// 0 to 6 from Sunday.
    pub(super) weekdays: Vec<u8>,
    /// Neither day field starts with `*`: a day of either kind is one, as crontab(5) has it.
    pub(super) either_day: bool,
    /// The minute or the hour starts with `*`: the job runs at its interval through changes of the clock, as
    /// cron(8) has it.
    pub(super) wild: bool,
}

impl Fields {
    /// Reads an expression, which was trimmed. What is wrong with it is said of a field ([`Kind::Usage`]).
    pub(super) fn parse(expression: &str) -> Result<Fields> {
        if expression.len() > LONGEST {
            return Err(Error::new(Kind::Usage, format!("an expression of {} bytes is too long", expression.len()))
                .hint(format!("at most {LONGEST} bytes are read")));
        }
        let long = if expression.starts_with('@') { long_form(expression)? } else { expression };
        let texts: Vec<&str> = long.split([' ', '\t']).filter(|text| !text.is_empty()).collect();
        let Ok([minute, hour, day, month, weekday]) = <[&str; 5]>::try_from(texts.as_slice()) else {
            return Err(count_wrong(expression, texts.len()));
        };
        let read = |index: usize, text: &str| FIELDS[index].list(text).map_err(|why| wrong(expression, index, &why));
        Ok(Fields {
            minutes: read(0, minute)?,
            hours: read(1, hour)?,
            days: read(2, day)?,
            months: read(3, month)?,
            weekdays: weekdays(read(4, weekday)?),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            wild: minute.starts_with('*') || hour.starts_with('*'),
        })
    }
}

fn wrong(expression: &str, index: usize, why: &str) -> Error {
    let Field { name, low, high, names, such_as } = &FIELDS[index];
    let names = match names {
        [first, .., last] => format!(" or {first} to {last}"),
        _ => String::new(),
    };
    Error::new(Kind::Usage, format!("`{}`: the field {name} is wrong: {why}", shown(expression)))
        .hint(format!("it takes numbers from {low} to {high}{names}, such as {such_as}"))
}

fn count_wrong(expression: &str, count: usize) -> Error {
    let fields = if count == 1 { "field" } else { "fields" };
    Error::new(Kind::Usage, format!("`{}` has {count} {fields} and must have five", shown(expression))).hint(
        "write minute, hour, day of month, month and day of week, such as `17 3 * * mon-fri`, or a word such as @daily",
    )
}

fn long_form(expression: &str) -> Result<&'static str> {
    let lower = expression.to_ascii_lowercase();
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == lower) {
        return Ok(long);
    }
    let words = SHORT.map(|(short, _)| short).join(", ");
    Err(match lower.as_str() {
        "@reboot" => {
            Error::new(Kind::Usage, "`@reboot` is no time: a spool does not start, and its jobs outlive reboots")
                .hint(format!("say when instead, with five fields or one of {words}"))
        }
        _ => Error::new(Kind::Usage, format!("`{}` is no word of crontab(5)", shown(expression)))
            .hint(format!("use one of {words}")),
    })
}

/// Sunday is 0 and 7; from here on it is 0.
fn weekdays(numbers: Vec<u8>) -> Vec<u8> {
    in_order(numbers.into_iter().map(|number| number % 7).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crontab_has_becomes_numbers() {
        let table: [(&str, [&[u8]; 5], bool, bool); 5] = [
            ("0 3 1 1 0", [&[0], &[3], &[1], &[1], &[0]], true, false),
            ("5,1-3,2\t8-18/5  31 feb,MAR 5-7", [&[1, 2, 3, 5], &[8, 13, 18], &[31], &[2, 3], &[0, 5, 6]], true, false),
            ("*/20 007 */15 */6 sun-7/3", [&[0, 20, 40], &[7], &[1, 16, 31], &[1, 7], &[0, 3, 6]], false, true),
            ("1 *,5 1-1/9 dec 6-6", [&[1], &(0..24).collect::<Vec<u8>>(), &[1], &[12], &[6]], true, true),
            (
                "@WEEKLY",
                [&[0], &[0], &(1..=31).collect::<Vec<u8>>(), &(1..=12).collect::<Vec<u8>>(), &[0]],
                false,
                false,
            ),
        ];
        for (text, lists, either_day, wild) in table {
            let [minutes, hours, days, months, weekdays] = lists.map(<[u8]>::to_vec);
            let fields = Fields { minutes, hours, days, months, weekdays, either_day, wild };
            assert_eq!(Fields::parse(text).unwrap(), fields, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_a_line_that_names_the_field() {
        for (text, said) in [
            (
                "61 * * * *",
                "`61 * * * *`: the field minute is wrong: 61 is not between 0 and 59; it takes numbers from 0 to 59",
            ),
            ("* * 0 * *", "the field day of month is wrong: 0 is not between 1 and 31"),
            (
                "* * * foo *",
                "the field month is wrong: `foo` is neither a number nor a name of three letters; it takes numbers from 1 to 12 or jan to dec",
            ),
            ("* * * * 1,", "the field day of week is wrong: `1,` has a comma with nothing on one side"),
            ("* 5-1 * * *", "the field hour is wrong: the range `5-1` runs backwards"),
            ("*/0 * * * *", "the field minute is wrong: `0` is no step"),
            ("5/10 * * * *", "`5/10` has a step and no range: write 5-59/…"),
            ("* * L * *", "crontab(5) has no `L`"),
            ("* * * * mon#1", "crontab(5) has no `#`"),
            ("* * * *", "has 4 fields and must have five"),
            ("@reboot", "a spool does not start"),
            ("@never", "use one of @hourly, @daily"),
        ] {
            let error = Fields::parse(text).unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }
}
