//! How much of the last hour and the last day was watched, and how much of that the cache was unavailable.

use std::time::Duration;

use super::span::Span;

/// How much of a window was watched, and how much of that the cache was unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// The length of the window.
    pub window: Duration,
    /// How much of it was watched.
    pub watched: Duration,
    /// How much of that the cache was unavailable.
    pub unavailable: Duration,
}

impl Availability {
    /// Returns the share of the watched time in which the cache was available, from 0 to 1. `None` if nothing was watched.
    #[must_use]
    pub fn available(&self) -> Option<f64> {
        (!self.watched.is_zero()).then(|| 1.0 - self.unavailable.as_secs_f64() / self.watched.as_secs_f64())
    }

    /// Returns the share of the window that was watched, from 0 to 1.
    #[must_use]
    pub fn watched_share(&self) -> f64 {
        self.watched.as_secs_f64() / self.window.as_secs_f64()
    }
}

/// The last hour and the last day.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// Slots of a minute.
    hour: Window<60, 60_000>,
    /// Slots of a quarter of an hour.
    day: Window<96, 900_000>,
}

impl Windows {
    /// Counts a time as watched, of which no part is counted yet.
    pub(super) fn watched(&mut self, span: Span) {
        self.hour.add(span, |slot| &mut slot.watched);
        self.day.add(span, |slot| &mut slot.watched);
    }

    /// Counts a time as unavailable, of which no part is counted yet.
    pub(super) fn unavailable(&mut self, span: Span) {
        self.hour.add(span, |slot| &mut slot.unavailable);
        self.day.add(span, |slot| &mut slot.unavailable);
    }

    /// Returns what is known of the hour and the day that end now.
    pub(super) fn availability(&mut self, now: Duration) -> (Availability, Availability) {
        (self.hour.availability(now), self.day.availability(now))
    }
}

/// `N` slots of `LENGTH` milliseconds; the last one is that of the present.
#[derive(Clone, Debug)]
struct Window<const N: usize, const LENGTH: u64> {
    /// The number of the newest slot since the beginning of the axis.
    newest: u64,
    /// Each slot at its number modulo `N`.
    slots: [Slot; N],
}

/// What is known of a slot, in 60,000ths of it.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    watched: u16,
    unavailable: u16,
}

/// The parts of a slot: as many as 16 bits can count, and a whole number of milliseconds.
const PARTS: u64 = 60_000;

impl<const N: usize, const LENGTH: u64> Default for Window<N, LENGTH> {
    fn default() -> Self {
        Self { newest: 0, slots: [Slot::default(); N] }
    }
}

impl<const N: usize, const LENGTH: u64> Window<N, LENGTH> {
    /// Adds a time to the `field` of each slot that it overlaps. Its ends are rounded, not its length, so that times that
    /// follow each other add up.
    fn add(&mut self, span: Span, field: impl Fn(&mut Slot) -> &mut u16) {
        let (from, until) = (Self::parts(span.from), Self::parts(span.until));
        if until <= from {
            return;
        }
        let last = (until - 1) / PARTS;
        self.forward_to(last);
        for number in (from / PARTS).max(self.oldest())..=last {
            let begin = number * PARTS;
            let overlap = until.min(begin + PARTS) - from.max(begin);
            let count = field(&mut self.slots[Self::index(number)]);
            *count = count.saturating_add(u16::try_from(overlap).unwrap_or(u16::MAX));
        }
    }

    fn availability(&mut self, now: Duration) -> Availability {
        let now = Self::parts(now);
        self.forward_to(now / PARTS);
        let sum = |count: fn(&Slot) -> u16| {
            Self::duration(self.slots.iter().map(|slot| u64::from(count(slot))).sum())
        };
        Availability {
            window: Self::duration((N as u64 - 1) * PARTS + now % PARTS),
            // An outage may have been counted late, in a time for which nothing had vouched.
            watched: sum(|slot| slot.watched.max(slot.unavailable)),
            unavailable: sum(|slot| slot.unavailable),
        }
    }

    /// Makes `number` the newest slot, unless it is an older one.
    fn forward_to(&mut self, number: u64) {
        let first = (self.newest + 1).max((number + 1).saturating_sub(N as u64));
        for number in first..=number {
            self.slots[Self::index(number)] = Slot::default();
        }
        self.newest = self.newest.max(number);
    }

    fn oldest(&self) -> u64 {
        (self.newest + 1).saturating_sub(N as u64)
    }

    fn index(number: u64) -> usize {
        usize::try_from(number % N as u64).expect("it is below N")
    }

    fn parts(place: Duration) -> u64 {
        u64::try_from(place.as_millis()).unwrap_or(u64::MAX) / (LENGTH / PARTS)
    }

    fn duration(parts: u64) -> Duration {
        Duration::from_millis(parts * (LENGTH / PARTS))
    }
}
