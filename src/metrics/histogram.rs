//! Histograms of durations. They record native buckets at schema 3, eight for each doubling; the bounds of classic
//! buckets are powers of two, so that their counts are sums of native ones.
//!
//! Source: "Native Histograms" in Prometheus' documentation.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::value::{Counter, Seconds};

/// Native buckets for each doubling.
const PER_OCTAVE: usize = 8;
/// The resolution that is recorded: bounds are powers of the 2^3rd root of two.
const SCHEMA: i32 = 3;
/// The largest number of native buckets that is exported. With more, the resolution is halved.
const MOST_BUCKETS: usize = 160;
/// Up to so many empty buckets between two others are written as such, because a new span takes more bytes.
const SHORT_GAP: i32 = 2;

/// The number of classic bounds.
pub(super) const BOUNDS: usize = 20;
/// The power of two that is the first bound: 2^-14 s is 61 µs, about the time of a command to a neighbouring host. The
/// last one is 2^5 s, longer than any sensible timeout.
const FIRST_BOUND: i32 = -14;

/// Returns a classic bound, inclusive, in seconds.
pub(super) fn bound(number: usize) -> f64 {
    2_f64.powi(bound_exponent(number))
}

/// Returns the power of two that is a classic bound.
fn bound_exponent(number: usize) -> i32 {
    FIRST_BOUND + i32::try_from(number).expect("there are only a few bounds")
}

/// A histogram of durations. Recording takes no lock: an octave is allocated when it is first used, and stays.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Durations of zero, which no octave contains.
    zeros: Counter,
    octaves: OnceLock<Box<Octave>>,
    sum: Seconds,
}

/// The buckets from one power of two, exclusive, to the next, inclusive. Each target has dozens of them.
#[derive(Debug)]
struct Octave {
    /// The power of two that is the upper bound.
    exponent: i32,
    /// After 2^32 observations, 13 years of ten in a second, a count begins anew as after a restart.
    counts: [AtomicU32; PER_OCTAVE],
    /// An octave that was first used later.
    next: OnceLock<Box<Octave>>,
}

impl Octave {
    fn new(exponent: i32) -> Self {
        Self { exponent, counts: Default::default(), next: OnceLock::new() }
    }
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        self.sum.add(duration);
        if duration.is_zero() {
            self.zeros.increment();
            return;
        }
        let (exponent, bucket) = place(duration.as_secs_f64());
        let mut next = &self.octaves;
        loop {
            let octave = next.get_or_init(|| Box::new(Octave::new(exponent)));
            if octave.exponent == exponent {
                octave.counts[bucket].fetch_add(1, Relaxed);
                return;
            }
            next = &octave.next;
        }
    }

    /// Whether there has been no observation.
    pub(super) fn is_empty(&self) -> bool {
        self.zeros.get() == 0 && self.octaves.get().is_none()
    }

    /// Returns the buckets as they are now. Every number that is exported derives from them, so that the count is that of
    /// the buckets, also while other threads record. Only the sum may be slightly older or newer.
    pub(super) fn snapshot(&self) -> Snapshot {
        let sum = self.sum.get();
        let mut octaves = Vec::with_capacity(4);
        let mut next = &self.octaves;
        while let Some(octave) = next.get() {
            octaves.push((
                octave.exponent,
                std::array::from_fn(|bucket| octave.counts[bucket].load(Relaxed).into()),
            ));
            next = &octave.next;
        }
        octaves.sort_unstable_by_key(|(exponent, _)| *exponent);
        Snapshot { zeros: self.zeros.get(), octaves, sum }
    }
}

/// Returns the octave and the bucket in it of a positive number.
///
/// The bounds are compared and not computed by logarithms, whose rounding puts numbers near a bound into the wrong bucket.
fn place(number: f64) -> (i32, usize) {
    /// The bounds in an octave, as fractions of its upper bound, without that.
    const WITHIN: [f64; PER_OCTAVE] = [
        0.5,
        0.545_253_866_332_628_8,
        0.594_603_557_501_360_5,
        0.648_419_777_325_504_8,
        0.707_106_781_186_547_5,
        0.771_105_412_703_970_4,
        0.840_896_415_253_714_4,
        0.917_004_043_204_671_1,
    ];
    const MANTISSA: u64 = (1 << 52) - 1;
    // The number is fraction * 2^exponent with a fraction from 0.5 to 1. Durations are never subnormal.
    let bits = number.to_bits();
    let exponent = (bits >> 52) as i32 - 1022;
    let fraction = f64::from_bits(bits & MANTISSA | 1022 << 52);
    match WITHIN.iter().take_while(|bound| **bound < fraction).count() {
        // A power of two is the upper bound of the octave below.
        0 => (exponent - 1, PER_OCTAVE - 1),
        above => (exponent, above - 1),
    }
}

/// The buckets of a histogram at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) zeros: u64,
    /// By exponent.
    pub(super) octaves: Vec<(i32, [u64; PER_OCTAVE])>,
    /// In seconds.
    pub(super) sum: f64,
}

impl Snapshot {
    /// Returns the number of observations.
    pub(super) fn count(&self) -> u64 {
        self.zeros + self.octaves.iter().flat_map(|(_, counts)| counts).sum::<u64>()
    }

    /// Returns the numbers of observations up to each classic bound.
    pub(super) fn cumulative(&self) -> [u64; BOUNDS] {
        let mut octaves = self.octaves.iter().peekable();
        let mut total = self.zeros;
        std::array::from_fn(|number| {
            let bound = bound_exponent(number);
            while let Some((_, counts)) = octaves.next_if(|(exponent, _)| *exponent <= bound) {
                total += counts.iter().sum::<u64>();
            }
            total
        })
    }

    /// Returns the native buckets at the best resolution that keeps their number.
    pub(super) fn native(&self) -> Native {
        let octave = |(exponent, counts): &(i32, [u64; PER_OCTAVE])| {
            let first = ((exponent - 1) << SCHEMA) + 1;
            (first..).zip(*counts).filter(|(_, count)| *count > 0)
        };
        let mut native = Native { schema: SCHEMA, buckets: self.octaves.iter().flat_map(octave).collect() };
        // Counts only grow, so that a resolution that was halved once is never seen again.
        while native.spans().map(|span| span.len()).sum::<usize>() > MOST_BUCKETS {
            native.halve();
        }
        native
    }
}

/// Native buckets.
#[derive(Debug)]
pub(super) struct Native {
    /// The upper bound of the bucket i is 2^(i / 2^schema).
    pub(super) schema: i32,
    /// Each index with its count, those without observations left out.
    buckets: Vec<(i32, u64)>,
}

impl Native {
    /// Unites each two buckets with the same bound at half the resolution.
    fn halve(&mut self) {
        self.schema -= 1;
        let mut halved: Vec<(i32, u64)> = Vec::with_capacity(self.buckets.len());
        for (index, count) in self.buckets.drain(..) {
            // Rounded up, also below zero.
            let index = (index + 1) >> 1;
            match halved.last_mut() {
                Some((last, total)) if *last == index => *total += count,
                _ => halved.push((index, count)),
            }
        }
        self.buckets = halved;
    }

    /// Iterates over the ranges of indices that are exported.
    pub(super) fn spans(&self) -> impl Iterator<Item = std::ops::Range<i32>> + Clone {
        let mut indices = self.buckets.iter().map(|(index, _)| *index).peekable();
        std::iter::from_fn(move || {
            let first = indices.next()?;
            let mut end = first + 1;
            while let Some(index) = indices.next_if(|index| index - end <= SHORT_GAP) {
                end = index + 1;
            }
            Some(first..end)
        })
    }

    /// Iterates over the counts of all indices in the spans, in their order.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        let mut buckets = self.buckets.iter().peekable();
        self.spans()
            .flatten()
            .map(move |index| buckets.next_if(|(next, _)| *next == index).map_or(0, |(_, count)| *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the index at schema 3.
    fn index(number: f64) -> i32 {
        let (exponent, bucket) = place(number);
        (exponent - 1) * 8 + 1 + i32::try_from(bucket).unwrap()
    }

    fn histogram(durations: impl IntoIterator<Item = Duration>) -> Histogram {
        let histogram = Histogram::default();
        durations.into_iter().for_each(|duration| histogram.observe(duration));
        histogram
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_next_number_to_the_next() {
        for power in -30..=40 {
            for eighth in 0..8 {
                let bound = 2_f64.powf(f64::from(eighth) / 8.0) * 2_f64.powi(power);
                let expected = power * 8 + eighth;
                if eighth == 0 {
                    assert_eq!(index(bound), expected, "2^{power}");
                    assert_eq!(index(bound.next_down()), expected, "2^{power}");
                    assert_eq!(index(bound.next_up()), expected + 1, "2^{power}");
                }
                // The root itself is rounded.
                assert_eq!(index(bound * (1.0 - 1e-15)), expected, "2^{power} and {eighth}/8");
                assert_eq!(index(bound * (1.0 + 1e-15)), expected + 1, "2^{power} and {eighth}/8");
            }
        }
    }

    #[test]
    fn classic_counts_are_those_of_the_durations_up_to_each_bound() {
        let exact = Duration::from_nanos(1_953_125); // 2^-9 s
        let nanosecond = Duration::from_nanos(1);
        let below = Duration::from_nanos(1_953_124);
        let durations = [Duration::ZERO, nanosecond, below, exact, exact + nanosecond]
            .into_iter()
            .chain([32, 33, 100_000].map(Duration::from_secs));
        let durations: Vec<_> = durations.collect();
        let snapshot = histogram(durations.iter().copied()).snapshot();
        for (number, count) in snapshot.cumulative().into_iter().enumerate() {
            let expected = durations.iter().filter(|it| it.as_secs_f64() <= bound(number)).count();
            assert_eq!(count, expected as u64, "{}", bound(number));
        }
        assert_eq!(snapshot.cumulative()[5], 4);
        assert_eq!(snapshot.count(), 8);
    }

    #[test]
    fn short_gaps_are_filled_and_long_ones_begin_a_span() {
        let native = Native { schema: 3, buckets: vec![(-20, 2), (-19, 1), (-15, 2), (-12, 7)] };
        assert_eq!(native.spans().collect::<Vec<_>>(), [-20..-18, -15..-11]);
        assert_eq!(native.counts().collect::<Vec<_>>(), [2, 1, 2, 0, 0, 7]);
    }

    #[test]
    fn the_resolution_is_halved_for_more_than_160_buckets_and_no_observation_is_lost() {
        // 25 octaves are 200 buckets.
        let durations =
            (0..25 * 8).map(|eighth| Duration::from_secs_f64(2e-6 * 2_f64.powf(f64::from(eighth) / 8.0)));
        let durations: Vec<_> = durations.collect();
        let snapshot = histogram(durations.iter().copied()).snapshot();
        let native = snapshot.native();
        assert_eq!(native.schema, 2);
        assert!(native.counts().count() <= MOST_BUCKETS, "{}", native.counts().count());
        assert_eq!(native.counts().sum::<u64>(), 200);
        for (index, count) in &native.buckets {
            let bound = |index: i32| 2_f64.powf(f64::from(index) / 4.0);
            let within =
                |it: &&Duration| it.as_secs_f64() > bound(index - 1) && it.as_secs_f64() <= bound(*index);
            assert_eq!(*count, durations.iter().filter(within).count() as u64, "{index}");
        }
        assert_eq!(
            *snapshot.cumulative().last().unwrap(),
            durations.iter().filter(|it| it.as_secs() < 32).count() as u64
        );
    }

    #[test]
    fn quantiles_of_native_buckets_are_within_5_percent_of_the_true_ones() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        // Round trips from 0.2 ms on, with a long tail.
        let mut durations: Vec<_> =
            (0..20_000).map(|_| Duration::from_secs_f64(2e-4 / (1.0 - random.f64()).powf(0.7))).collect();
        let native = histogram(durations.iter().copied()).snapshot().native();
        durations.sort();
        for percent in [50, 90, 99] {
            // As Prometheus computes it: the logarithm is interpolated within a bucket.
            let place = percent * durations.len() / 100;
            let (rank, mut below) = (place as f64, 0.0);
            let (index, share) = native
                .buckets
                .iter()
                .find_map(|(index, count)| {
                    let (start, count) = (below, *count as f64);
                    below += count;
                    (below >= rank).then(|| (*index, (rank - start) / count))
                })
                .unwrap();
            let estimate = 2_f64.powf((f64::from(index - 1) + share) / 8.0);
            let truth = durations[place].as_secs_f64();
            assert!(
                (estimate / truth - 1.0).abs() < 0.05,
                "{percent} %: {estimate} for {truth}, seed {seed}"
            );
        }
    }

    #[test]
    fn every_snapshot_is_consistent_while_eight_threads_record() {
        const EACH: u64 = 20_000;
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u64)
                .map(|thread| {
                    let histogram = &histogram;
                    // Different octaves are first used by different threads.
                    scope.spawn(move || {
                        (0..EACH).for_each(|it| {
                            histogram.observe(Duration::from_nanos((it * 7919 + thread) << (it % 20)));
                        });
                    })
                })
                .collect();
            let mut last = 0;
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let snapshot = histogram.snapshot();
                let native = snapshot.native();
                assert_eq!(snapshot.count(), snapshot.zeros + native.counts().sum::<u64>());
                assert!(
                    snapshot.count() >= last && *snapshot.cumulative().last().unwrap() <= snapshot.count()
                );
                last = snapshot.count();
            }
        });
        assert_eq!(histogram.snapshot().count(), 8 * EACH);
        let exponents: Vec<_> = histogram.snapshot().octaves.iter().map(|(exponent, _)| *exponent).collect();
        assert!(exponents.is_sorted_by(|one, other| one < other), "an octave exists twice: {exponents:?}");
    }
}
