//! Exponential backoff with a cap and jitter, for every retry in the agent.

use std::time::Duration;

/// The retry delays of one operation.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// Creates delays that start at `first`.
    #[must_use]
    pub const fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// Counts a failure and returns the delay until the next attempt. The delay doubles with each failure up to `cap`, and
    /// is then multiplied by a random factor of 0.5 to 1, so that agents that failed together do not retry together.
    pub fn next(&mut self, cap: Duration, rng: &mut fastrand::Rng) -> Duration {
        let delay = doubled(self.first, self.failures, cap);
        self.failures = self.failures.saturating_add(1);
        delay.mul_f64(0.5 + rng.f64() / 2.0)
    }

    /// Resets the delay after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Returns `first`, doubled so many `times`, but at most `cap`.
#[must_use]
pub fn doubled(first: Duration, times: u32, cap: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_stay_within_the_jitter() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let cap = Duration::from_secs(5);
        for whole in [1, 2, 4, 5, 5, 5].map(Duration::from_secs) {
            let delay = backoff.next(cap, &mut rng);
            assert!((whole / 2..=whole).contains(&delay), "{delay:?} for {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next(cap, &mut rng) <= Duration::from_secs(1));
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff { first: Duration::from_secs(1), failures: u32::MAX };
        assert!(backoff.next(Duration::from_secs(5), &mut rng) <= Duration::from_secs(5));
    }
}
