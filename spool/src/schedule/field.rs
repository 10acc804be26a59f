//! One field of an expression: a list of numbers and ranges between two bounds.

/// What a field may be, and what it is called in crontab(5).
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) low: u8,
    pub(super) high: u8,
    /// The names of its numbers, from the lowest on.
    pub(super) names: &'static [&'static str],
    pub(super) such_as: &'static str,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// In the order in which they stand.
pub(super) const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[], such_as: "0,30 or */15" },
    Field { name: "hour", low: 0, high: 23, names: &[], such_as: "3 or 8-18/2" },
    Field { name: "day of month", low: 1, high: 31, names: &[], such_as: "1,15 or *" },
    Field { name: "month", low: 1, high: 12, names: MONTHS, such_as: "1-6 or jan,jul" },
    Field { name: "day of week", low: 0, high: 7, names: WEEKDAYS, such_as: "1-5 or mon-fri" },
];

/// A text as messages show it: a line, and not a long one.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

pub(super) fn in_order(mut numbers: Vec<u8>) -> Vec<u8> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl Field {
    /// list = range { "," range }; the numbers come in order, each once.
    pub(super) fn list(&self, text: &str) -> std::result::Result<Vec<u8>, String> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            if part.is_empty() {
                return Err(format!("`{}` has a comma with nothing on one side", shown(text)));
            }
            numbers.extend(range(self, part)?);
        }
        Ok(in_order(numbers))
    }
}

/// range = ("*" | number "-" number) \[ "/" step \] | number
fn range(field: &Field, text: &str) -> std::result::Result<Vec<u8>, String> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(step)),
        None => (text, None),
    };
    let (from, to) = if span == "*" {
        (field.low, field.high)
    } else if let Some((from, to)) = span.split_once('-') {
        (number(field, from)?, number(field, to)?)
    } else {
        let only = number(field, span)?;
        if step.is_some() {
            return Err(format!("`{}` has a step and no range: write {only}-{}/…", shown(text), field.high));
        }
        (only, only)
    };
    if from > to {
        return Err(format!("the range `{}` runs backwards: write it as two, with a comma", shown(span)));
    }
    let step = step.map_or(Ok(1), read_step)?;
    Ok((from..=to).step_by(step).collect())
}

fn read_step(text: &str) -> std::result::Result<usize, String> {
    let step = digits(text).filter(|step| *step > 0);
    step.map(|step| step as usize).ok_or_else(|| format!("`{}` is no step of 1 or more", shown(text)))
}

fn number(field: &Field, text: &str) -> std::result::Result<u8, String> {
    let Field { low, high, names, .. } = field;
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok(low + index as u8);
    }
    if text.is_empty() {
        return Err("a number is missing".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(not_a_number(field, text));
    }
    let number = digits(text).and_then(|number| u8::try_from(number).ok());
    number.filter(|number| (low..=high).contains(&number)).ok_or_else(|| {
        let shown = shown(text);
        format!("{shown} is not between {low} and {high}")
    })
}

fn not_a_number(field: &Field, text: &str) -> String {
    let foreign =
        text.chars().find(|c| "?LW#~".contains(*c)).filter(|_| text.chars().count() <= 3 || text.contains('#'));
    let shown = shown(text);
    match foreign {
        Some(foreign) => format!("`{shown}` is no number, and crontab(5) has no `{foreign}`"),
        None if field.names.is_empty() => format!("`{shown}` is no number"),
        None => format!("`{shown}` is neither a number nor a name of three letters"),
    }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
