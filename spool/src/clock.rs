//! The one place that asks what time it is.

use jiff::Timestamp;

/// The moment, to the millisecond, which is as fine as the spool writes it.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// When this machine was started, as its clock has it now. Who could not be heard before that was not silent.
pub fn started() -> Timestamp {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // FreeBSD's counts from the start, clock_gettime(2).
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let up = rustix::time::clock_gettime(clock);
    now().checked_sub(jiff::SignedDuration::from_secs(up.tv_sec)).unwrap_or(Timestamp::MIN)
}
