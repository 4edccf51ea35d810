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
        self.hour.add(span, |window| &mut window.watched);
        self.day.add(span, |window| &mut window.watched);
    }

    /// Counts a time as unavailable, of which no part is counted yet.
    pub(super) fn unavailable(&mut self, span: Span) {
        self.hour.add(span, Window::unavailable);
        self.day.add(span, Window::unavailable);
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
    /// How much of each slot was watched, at its number modulo `N`, in 60,000ths of it.
    watched: [u16; N],
    /// How much of that the cache was unavailable. `None` before it was: most caches never are.
    unavailable: Option<Box<[u16; N]>>,
}

/// The parts of a slot: as many as 16 bits can count, and a whole number of milliseconds.
const PARTS: u64 = 60_000;

impl<const N: usize, const LENGTH: u64> Default for Window<N, LENGTH> {
    fn default() -> Self {
        Self { newest: 0, watched: [0; N], unavailable: None }
    }
}

impl<const N: usize, const LENGTH: u64> Window<N, LENGTH> {
    fn unavailable(&mut self) -> &mut [u16; N] {
        self.unavailable.get_or_insert_with(|| Box::new([0; N]))
    }

    /// Adds a time to the `counts` of the slots that it overlaps. Its ends are rounded, not its length, so that times that
    /// follow each other add up.
    fn add(&mut self, span: Span, counts: impl FnOnce(&mut Self) -> &mut [u16; N]) {
        let (from, until) = (Self::parts(span.from), Self::parts(span.until));
        if until <= from {
            return;
        }
        let last = (until - 1) / PARTS;
        self.forward_to(last);
        let oldest = self.oldest();
        let counts = counts(self);
        for number in (from / PARTS).max(oldest)..=last {
            let begin = number * PARTS;
            let overlap = until.min(begin + PARTS) - from.max(begin);
            let count = &mut counts[Self::index(number)];
            *count = count.saturating_add(u16::try_from(overlap).unwrap_or(u16::MAX));
        }
    }

    fn availability(&mut self, now: Duration) -> Availability {
        let now = Self::parts(now);
        self.forward_to(now / PARTS);
        let sum = |counts: &[u16]| Self::duration(counts.iter().copied().map(u64::from).sum());
        let mut watched = self.watched;
        if let Some(unavailable) = &self.unavailable {
            // An outage may have been counted late, in a time for which nothing had vouched.
            watched
                .iter_mut()
                .zip(&**unavailable)
                .for_each(|(watched, other)| *watched = (*watched).max(*other));
        }
        Availability {
            window: Self::duration((N as u64 - 1) * PARTS + now % PARTS),
            watched: sum(&watched),
            unavailable: self.unavailable.as_deref().map_or(Duration::ZERO, |counts| sum(counts)),
        }
    }

    /// Makes `number` the newest slot, unless it is an older one.
    fn forward_to(&mut self, number: u64) {
        let first = (self.newest + 1).max((number + 1).saturating_sub(N as u64));
        for number in first..=number {
            self.watched[Self::index(number)] = 0;
            if let Some(unavailable) = &mut self.unavailable {
                unavailable[Self::index(number)] = 0;
            }
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
