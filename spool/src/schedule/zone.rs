//! Time zones by the names that people know them by.

use crate::error::{Error, Kind, Result};
use jiff::tz::{self, TimeZone, TimeZoneDatabase};

/// The longest name that is looked up, in bytes; the longest in use has 32.
const LONGEST: usize = 64;

/// The time zone with this name of the IANA database, in any case; without a name, UTC.
///
/// The system's database comes first. What it does not have comes from the one that is built in, so that a
/// machine without one knows the same names. A name that is not known is refused ([`Kind::Usage`]) with the most
/// similar one.
pub fn zone(name: Option<&str>) -> Result<TimeZone> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let known = plain(name).then(|| tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok());
    known.flatten().filter(|zone| !zone.is_unknown()).ok_or_else(|| unknown(name))
}

/// Nothing that could be a path out of the database.
fn plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    name.len() <= LONGEST && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(allowed)
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(LONGEST).flat_map(char::escape_default).collect();
    let error = Error::new(Kind::Usage, format!("`{shown}` is no time zone"));
    match similar(name) {
        Some(known) => error.hint(format!("did you mean {known}? Zones have names of the IANA database")),
        None => error.hint("use a name of the IANA database, such as Europe/Berlin or UTC"),
    }
}

/// The known name with the fewest differences, in all of it or in its last part (`Berlin`), if they are few.
fn similar(name: &str) -> Option<String> {
    if !name.is_ascii() || name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let wanted = name.to_ascii_lowercase().replace(' ', "_");
    let place = last_part(&wanted).to_owned();
    let database = TimeZoneDatabase::bundled();
    let measured = database.available().map(|known| {
        let lower = known.as_str().to_ascii_lowercase();
        let whole = differences(&wanted, &lower);
        // A place that is right in an area that is wrong is nearer than any other.
        let differ = whole.min(differences(&place, last_part(&lower)) + usize::from(wanted.contains('/')));
        (differ, whole, known.as_str().to_owned())
    });
    let (differ, _, known) = measured.min()?;
    (differ <= 1 + place.len() / 4).then_some(known)
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// How many letters must be put in, taken out or changed to make one text of the other (Levenshtein).
fn differences(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(zone(None).unwrap(), TimeZone::UTC);
        for (name, known) in [("UTC", "UTC"), ("europe/berlin", "Europe/Berlin"), ("US/Pacific", "US/Pacific")] {
            assert_eq!(zone(Some(name)).unwrap().iana_name(), Some(known));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_near_one() {
        for (name, near) in [
            ("Europe/Berln", "did you mean Europe/Berlin?"),
            ("Berlin", "did you mean Europe/Berlin?"),
            ("America/Berlin", "did you mean Europe/Berlin?"),
            ("america/new york", "did you mean America/New_York?"),
            ("Lord_How", "did you mean Australia/Lord_Howe?"),
            ("Atlantis/Underwater", "use a name of the IANA database"),
            ("", "use a name of the IANA database"),
            ("../../etc/passwd", "use a name of the IANA database"),
            ("Etc/Unknown", "is no time zone"),
            ("Zürich\n", "`Z\\u{fc}rich\\n` is no time zone"),
            (&"Z".repeat(1 << 20), "is no time zone"),
        ] {
            let error = zone(Some(name)).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(near), "{error}");
            assert!(!error.to_string().contains('\n') && error.to_string().len() < 1000, "{error}");
        }
    }
}
