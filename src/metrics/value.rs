//! Values that one thread writes and another reads. Each takes a few bytes; those of the `prometheus` crate contain the
//! metric's name, help and labels for every series. For a thousand targets that is 2 MB instead of 60 MB.
//!
//! A read of a histogram is not atomic: its sum may be slightly older or newer than its buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter of events.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A counter of seconds. Stored in nanoseconds, which suffice for 584 years.
#[derive(Debug, Default)]
pub(super) struct Seconds(AtomicU64);

impl Seconds {
    pub(super) fn add(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        Duration::from_nanos(self.0.load(Relaxed)).as_secs_f64()
    }
}

/// A gauge; absent before its first value and when it is cleared.
#[derive(Debug)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    /// The bits that mark an absent value: no gauge is set to NaN.
    const ABSENT: u64 = f64::NAN.to_bits();

    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Makes the gauge absent again.
    pub(super) fn clear(&self) {
        self.0.store(Self::ABSENT, Relaxed);
    }

    pub(super) fn get(&self) -> Option<f64> {
        let bits = self.0.load(Relaxed);
        (bits != Self::ABSENT).then(|| f64::from_bits(bits))
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicU64::new(Self::ABSENT))
    }
}

/// A histogram of durations with [`Histogram::BUCKETS`] bounds.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// By bucket, not cumulative; the last one counts values over every bound.
    counts: [Counter; Self::BUCKETS + 1],
    sum: Seconds,
}

impl Histogram {
    /// The number of bounds. The first, 50 µs, is about the time of a command to a neighbouring host; each bound is
    /// twice the previous one; the last is 26.2 s, longer than any sensible timeout.
    pub(super) const BUCKETS: usize = 20;
    const FIRST: Duration = Duration::from_micros(50);

    /// Returns the upper bound of a bucket, inclusive.
    pub(super) const fn bound(bucket: usize) -> Duration {
        Self::FIRST.saturating_mul(1 << bucket)
    }

    pub(super) fn observe(&self, duration: Duration) {
        let bucket = (0..Self::BUCKETS).find(|&bucket| duration <= Self::bound(bucket));
        self.counts[bucket.unwrap_or(Self::BUCKETS)].increment();
        self.sum.add(duration);
    }

    /// Returns the counts by bucket, not cumulative. The last one counts values over every bound.
    pub(super) fn counts(&self) -> [u64; Self::BUCKETS + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].get())
    }

    /// Returns the sum of all observations, in seconds.
    pub(super) fn sum(&self) -> f64 {
        self.sum.get()
    }
}

/// A sum and a number of durations.
#[derive(Debug, Default)]
pub(super) struct Summary {
    sum: Seconds,
    count: Counter,
}

impl Summary {
    pub(super) fn observe(&self, duration: Duration) {
        self.sum.add(duration);
        self.count.increment();
    }

    /// Returns the sum of all observations, in seconds.
    pub(super) fn sum(&self) -> f64 {
        self.sum.get()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::default();
        for micros in [0, 50, 51, 100, 26_214_400, 26_214_401] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[19], counts[20]), (2, 2, 1, 1));
        assert!((histogram.sum() - 52.429_002).abs() < 1e-9);
    }

    #[test]
    fn a_gauge_is_absent_before_its_first_value() {
        let gauge = Gauge::default();
        assert_eq!(gauge.get(), None);
        gauge.set(0.0);
        assert_eq!(gauge.get(), Some(0.0));
    }
}
