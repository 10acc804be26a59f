//! The one place that asks what time it is.

use jiff::Timestamp;

/// The moment, to the millisecond, which is as fine as the spool writes it.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
