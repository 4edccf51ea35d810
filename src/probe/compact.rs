//! A duration in eight bytes. Each target keeps dozens of them.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// A duration, as an `Option` in half the memory of one of std. It holds up to 584 years.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compact(
    /// Nanoseconds, and one more.
    NonZeroU64,
);

impl Compact {
    pub(crate) fn new(duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanoseconds))
    }

    pub(crate) const fn get(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_kept_to_the_nanosecond_in_eight_bytes() {
        assert_eq!(size_of::<Option<Compact>>(), 8);
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::new(4_000_000_000, 999_999_999)] {
            assert_eq!(Compact::new(duration).get(), duration);
        }
        assert!(Compact::new(Duration::MAX).get() > Duration::from_secs(500 * 365 * 24 * 3600));
    }
}
