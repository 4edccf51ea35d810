//! Values that one thread writes and another reads. Each takes a few bytes; those of the `prometheus` crate contain the
//! metric's name, help and labels for every series. For a thousand targets that is 2 MB instead of 60 MB.

use std::sync::OnceLock;
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

/// Counters of `N` events, which are exported from their first event on. They take no memory before that.
#[derive(Debug, Default)]
pub(super) struct Counters<const N: usize>(OnceLock<Box<[Counter; N]>>);

impl<const N: usize> Counters<N> {
    pub(super) fn add(&self, number: usize, count: u64) {
        self.0.get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())))[number].add(count);
    }

    pub(super) fn increment(&self, number: usize) {
        self.add(number, 1);
    }

    /// Iterates over the counters of the events that have occurred, each with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Counter)> {
        let counters = self.0.get().into_iter().flat_map(|counters| counters.iter().enumerate());
        counters.filter(|(_, counter)| counter.get() > 0)
    }

    /// Returns the counter, if there has been an event.
    pub(super) fn get(&self, number: usize) -> Option<&Counter> {
        self.0.get().map(|counters| &counters[number]).filter(|counter| counter.get() > 0)
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
    fn counters_exist_from_their_first_event_on() {
        let counters = Counters::<3>::default();
        assert!(counters.get(1).is_none());
        counters.add(1, 0);
        assert!(counters.get(1).is_none());
        counters.increment(1);
        assert_eq!(counters.get(1).map(Counter::get), Some(1));
        assert!(counters.get(2).is_none());
        assert_eq!(
            counters.iter().map(|(number, counter)| (number, counter.get())).collect::<Vec<_>>(),
            [(1, 1)]
        );
    }

    #[test]
    fn a_gauge_is_absent_before_its_first_value() {
        let gauge = Gauge::default();
        assert_eq!(gauge.get(), None);
        gauge.set(0.0);
        assert_eq!(gauge.get(), Some(0.0));
    }
}
