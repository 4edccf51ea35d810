//! How long PING took in each of the last minutes: the median and the 99th percentile.

use std::time::Duration;

/// The minutes that are kept, with the present one.
const MINUTES: usize = 60;
/// In milliseconds.
const MINUTE: u128 = 60_000;

/// Buckets of each doubling, of equal width: a duration is known to 7 %.
const PER_OCTAVE: u32 = 8;
/// Shorter durations count as this power of two in nanoseconds: 4 µs.
const SHORTEST: u32 = 12;
/// Longer durations count as this one: 34 s.
const LONGEST: u32 = 35;
const BUCKETS: usize = ((LONGEST - SHORTEST) * PER_OCTAVE) as usize;

const _: () = assert!(BUCKETS < u8::MAX as usize, "the number of a bucket is a byte");

/// The median and the 99th percentile of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// How long PING took in each of the last minutes.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    /// The number of the present minute since the beginning of the axis.
    newest: u64,
    /// How often each bucket was seen in the present minute.
    counts: [u16; BUCKETS],
    /// The minutes before, each at its number modulo [`MINUTES`].
    minutes: [Minute; MINUTES],
}

/// The buckets of the quantiles, counted from 1; 0 without any duration.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    p50: u8,
    p99: u8,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { newest: 0, counts: [0; BUCKETS], minutes: [Minute::default(); MINUTES] }
    }
}

impl Latencies {
    /// Records that PING took so long.
    pub(super) fn observe(&mut self, now: Duration, took: Duration) {
        self.forward_to(now);
        let count = &mut self.counts[bucket(took)];
        *count = count.saturating_add(1);
    }

    /// Returns the quantiles of each minute, the oldest first.
    pub(super) fn quantiles(&mut self, now: Duration) -> Vec<Option<Quantiles>> {
        self.forward_to(now);
        self.minutes[index(self.newest)] = self.present();
        (1..=MINUTES as u64).map(|place| self.minutes[index(self.newest + place)].quantiles()).collect()
    }

    /// Begins the minute of `now`, unless it has begun.
    fn forward_to(&mut self, now: Duration) {
        let number = u64::try_from(now.as_millis() / MINUTE).unwrap_or(u64::MAX);
        if number <= self.newest {
            return;
        }
        self.minutes[index(self.newest)] = self.present();
        let first = (self.newest + 1).max(number.saturating_sub(MINUTES as u64));
        (first..number).for_each(|silent| self.minutes[index(silent)] = Minute::default());
        (self.newest, self.counts) = (number, [0; BUCKETS]);
    }

    fn present(&self) -> Minute {
        Minute { p50: self.quantile(50), p99: self.quantile(99) }
    }

    /// Returns the first bucket up to which there are so many percent of the durations.
    fn quantile(&self, percent: u64) -> u8 {
        let total: u64 = self.counts.iter().copied().map(u64::from).sum();
        let mut missing = (total * percent).div_ceil(100);
        if total == 0 {
            return 0;
        }
        let mut numbers = (1..).zip(self.counts);
        let reaches = |(_, count): &(u8, u16)| {
            missing = missing.saturating_sub((*count).into());
            missing == 0
        };
        numbers.find(reaches).map_or(0, |(number, _)| number)
    }
}

impl Minute {
    fn quantiles(self) -> Option<Quantiles> {
        Some(Quantiles { p50: middle(self.p50)?, p99: middle(self.p99)? })
    }
}

fn index(minute: u64) -> usize {
    usize::try_from(minute % MINUTES as u64).expect("it is below the number of minutes")
}

/// Returns the place of the bucket of a duration: its power of two, and which eighth of the doubling.
fn bucket(duration: Duration) -> usize {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let nanoseconds = nanoseconds.clamp(1 << SHORTEST, (1 << LONGEST) - 1);
    let octave = nanoseconds.ilog2();
    let eighth = (nanoseconds >> (octave - PER_OCTAVE.ilog2())) % u64::from(PER_OCTAVE);
    let place = u64::from((octave - SHORTEST) * PER_OCTAVE) + eighth;
    usize::try_from(place).expect("there are only a few buckets")
}

/// Returns the duration in the middle of the bucket with this number, counted from 1.
fn middle(number: u8) -> Option<Duration> {
    let (octave, eighth) =
        (u32::from(number.checked_sub(1)?) / PER_OCTAVE, u32::from(number - 1) % PER_OCTAVE);
    let power = 1_u64 << (SHORTEST + octave);
    // In sixteenths, the middle of an eighth is odd.
    Some(Duration::from_nanos(power + power / u64::from(2 * PER_OCTAVE) * u64::from(2 * eighth + 1)))
}
