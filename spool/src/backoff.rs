//! How long one waits for another try: longer each time, and never for more than an hour.

use jiff::SignedDuration;

/// No wait is longer.
pub(crate) const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// The first wait, multiplied by `factor` so many times.
pub(crate) fn grown(first: SignedDuration, factor: i32, times: u32) -> SignedDuration {
    let grown = factor.checked_pow(times).and_then(|factor| first.checked_mul(factor));
    // What can't be counted is longer than an hour, unless it is nothing.
    if first.is_zero() { first } else { grown.map_or(LONGEST, |wait| wait.min(LONGEST)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_up_to_an_hour_and_nothing_stays_nothing() {
        let first = SignedDuration::from_secs(60);
        let waits = |factor: i32| (0..4).map(|times| grown(first, factor, times).as_secs()).collect::<Vec<_>>();
        assert_eq!((waits(2), waits(4)), (vec![60, 120, 240, 480], vec![60, 240, 960, 3600]));
        assert_eq!((grown(first, 2, u32::MAX), grown(SignedDuration::MAX, 2, 1)), (LONGEST, LONGEST));
        assert_eq!(grown(SignedDuration::ZERO, 4, u32::MAX), SignedDuration::ZERO);
    }
}
