//! Jobs of one schedule that don't start in one second.

use crate::digest::Sha256;
use crate::name::JobName;
use jiff::SignedDuration;

/// How much later than its schedule says a job is due: whole seconds, at least none and less than `most`.
///
/// It is made of the job's name only, so that it stays the same for ever and on each machine, and it is spread
/// evenly over the names. Where `most` is not positive, it is none.
pub fn jitter_of(job: &JobName, most: SignedDuration) -> SignedDuration {
    if !most.is_positive() {
        return SignedDuration::ZERO;
    }
    let seconds = most.as_secs().saturating_add(i64::from(most.subsec_nanos() > 0));
    let digest = Sha256::of(job.as_str().as_bytes()).to_string();
    // 60 bits of it: enough for evenness, and positive in the type that durations have.
    match i64::from_str_radix(&digest[..15], 16) {
        Ok(drawn) => SignedDuration::from_secs(drawn % seconds),
        _ => SignedDuration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter(name: &str, most: SignedDuration) -> i64 {
        let jitter = jitter_of(&name.parse().unwrap(), most);
        assert_eq!(jitter.subsec_nanos(), 0);
        jitter.as_secs()
    }

    #[test]
    fn it_is_the_same_for_ever() {
        let hour = SignedDuration::from_hours(1);
        assert_eq!(["a", "hello", "orb-build"].map(|name| jitter(name, hour)), [2940, 608, 527]);
    }

    #[test]
    fn it_is_spread_evenly() {
        let mut drawn = [0; 10];
        for number in 0..10_000 {
            drawn[jitter(&format!("job-{number}"), SignedDuration::from_secs(10)) as usize] += 1;
        }
        assert!(drawn.iter().all(|count| (900..1100).contains(count)), "{drawn:?}");
    }

    #[test]
    fn it_stays_below_the_most() {
        for (most, below) in [
            (SignedDuration::from_secs(-5), 1),
            (SignedDuration::ZERO, 1),
            (SignedDuration::from_millis(1), 1),
            (SignedDuration::from_secs(1), 1),
            (SignedDuration::from_millis(1500), 2),
            (SignedDuration::MAX, i64::MAX),
        ] {
            for name in ["a", "b", "c", "d", "e", "f"] {
                assert!((0..below).contains(&jitter(name, most)), "{most:?}");
            }
        }
    }
}
