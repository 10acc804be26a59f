//! An expression as crontab(5) has it, in a time zone.

use super::calendar::Calendar;
use super::expression::Fields;
use super::field::shown;
use super::{wall, zone};
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// So many expressions are remembered.
const MOST_KNOWN: usize = 10_000;

thread_local! {
    /// Expressions that were read already: of 100,000 jobs, most have one that others have, too.
    static KNOWN: RefCell<HashMap<(String, Option<String>), Cron>> = RefCell::default();
}

/// A parsed expression with its zone.
///
/// The five fields mean what crontab(5) of Debian says: with `*` in front of neither day field, a day of either
/// kind is one. Changes of the clock are treated as Debian's cron(8) says. Moments are whole minutes of the
/// zone's clock in the years 1970 to 2100.
#[derive(Clone, Debug, PartialEq)]
pub struct Cron {
    expression: String,
    name: Option<String>,
    zone: TimeZone,
    calendar: Arc<Calendar>,
    wild: bool,
}

impl Cron {
    /// Reads an expression: five fields, or a word such as `@daily`. `zone` is a name of the IANA database; none
    /// means UTC.
    ///
    /// What crontab(5) does not have, a zone that is not known, and an expression that is never due are refused
    /// ([`Kind::Usage`]) in a line that names the field.
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Cron> {
        let expression = one_blank_between(expression);
        let key = (expression.clone(), zone.map(str::to_owned));
        if let Some(known) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
            return Ok(known);
        }
        let cron = Cron::read(&expression, zone)?;
        KNOWN.with_borrow_mut(|known| {
            if known.len() < MOST_KNOWN {
                known.insert(key, cron.clone());
            }
        });
        Ok(cron)
    }

    fn read(expression: &str, zone: Option<&str>) -> Result<Cron> {
        let fields = Fields::parse(expression)?;
        let calendar = Calendar::new(&fields)?;
        if calendar.next(0).is_none() {
            return Err(never(expression));
        }
        let found = zone::zone(zone)?;
        let name = zone.map(|zone| found.iana_name().unwrap_or(zone).to_owned());
        Ok(Cron {
            expression: expression.to_owned(),
            name,
            zone: found,
            calendar: Arc::new(calendar),
            wild: fields.wild,
        })
    }

    /// The expression as it was written, with one blank between its fields.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone's name as the database spells it, if one was named.
    pub fn zone(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The first moment that is later than `after`; none after the year 2100.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self.wild {
            true => wall::next_wild(&self.calendar, &self.zone, after),
            false => wall::next_fixed(&self.calendar, &self.zone, after),
        }
    }

    /// The last moment that is not later than `now`; none before 1970.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        match self.wild {
            true => wall::latest_wild(&self.calendar, &self.zone, now),
            false => wall::latest_fixed(&self.calendar, &self.zone, now),
        }
    }
}

/// An expression as it is shown: crontab(5) has blanks and tabs between the fields, as many as one likes.
pub(crate) fn one_blank_between(expression: &str) -> String {
    let fields = expression.split([' ', '\t']).filter(|field| !field.is_empty());
    fields.collect::<Vec<_>>().join(" ")
}

fn never(expression: &str) -> Error {
    let why = "the field day of month is wrong: it has no day that the field month can have";
    Error::new(Kind::Usage, format!("`{}` can never be due: {why}", shown(expression)))
        .hint("February has at most 29 days, and April, June, September and November have 30")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_shown_with_one_blank_between_its_fields() {
        let cron = Cron::parse("\t17 \t3  * * mon-fri ", None).unwrap();
        assert_eq!(cron.expression(), "17 3 * * mon-fri");
        assert_eq!(Cron::parse("17 3 * * mon-fri", None).unwrap(), cron);
    }
}
