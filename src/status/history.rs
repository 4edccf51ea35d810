//! The history of a target, for people: its last outcomes, the share of the last hour and day in which it was available, and how
//! long PING took. In little memory; recording a success allocates nothing.
//!
//! Pure: instants and wall-clock times are arguments. A time counts as watched if a success vouches for it, or if it counts
//! as unavailable; so time in which the agent or its machine did not run is neither available nor unavailable.

mod latency;
mod span;
mod strip;
mod timeline;
mod windows;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use self::latency::Latencies;
pub use self::latency::Quantiles;
use self::span::Span;
use self::strip::Strip;
pub use self::strip::{Cell, OUTCOMES};
use self::timeline::Timeline;
pub use self::windows::Availability;
use self::windows::Windows;
use crate::probe::{Outcome, Step, StepResult};

/// The history of one target.
#[derive(Clone, Debug)]
pub(super) struct History {
    timeline: Timeline,
    interval: Duration,
    windows: Windows,
    strip: Strip,
    pings: Latencies,
    /// What is earlier is counted as watched, or never will be.
    watched_until: Duration,
    /// The last outcome, if it was a success, vouches for the time up to here: one interval. Zero if it was none.
    vouched_until: Duration,
    /// When the last outcome came.
    last_outcome: Duration,
    /// Whether the machine has slept since then.
    has_slept: bool,
}

impl History {
    /// Creates the empty history of a target that is probed every `interval` from now on.
    pub(super) fn new(interval: Duration, now: Instant, at: SystemTime) -> Self {
        Self {
            timeline: Timeline::new(now, at),
            interval,
            windows: Windows::default(),
            strip: Strip::default(),
            pings: Latencies::default(),
            watched_until: Duration::ZERO,
            vouched_until: Duration::ZERO,
            last_outcome: Duration::ZERO,
            has_slept: false,
        }
    }

    /// Another prober continues the history: the target is probed every `interval` from now on.
    pub(super) fn resume(&mut self, interval: Duration, now: Instant, at: SystemTime) {
        let now = self.advance(now, at);
        self.interval = interval;
        self.skip_to(now);
        self.vouched_until = Duration::ZERO;
        self.last_outcome = now;
        self.has_slept = false;
    }

    /// Records that `ticks` ticks, the newest of which was noticed `delay` late, were settled by this outcome.
    pub(super) fn settled(
        &mut self,
        ticks: u64,
        outcome: &Outcome,
        delay: Duration,
        now: Instant,
        at: SystemTime,
    ) {
        let now = self.advance(now, at);
        let covered = self.interval.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        // A probe may take longer than the interval. Only a late tick or a sleep shows that nobody probed.
        let has_paused = self.has_slept || delay >= self.interval;
        if has_paused && now.saturating_sub(self.last_outcome) > covered + self.interval {
            self.strip.push(Cell::Gap, 1);
        }
        self.last_outcome = now;
        self.has_slept = false;
        match &outcome.result {
            Ok(()) => {
                self.strip.push(Cell::Success, ticks);
                self.skip_to(now.saturating_sub(covered));
                self.watch_until(now);
                self.vouched_until = now + self.interval;
            }
            Err(failure) => {
                self.strip.push(Cell::Failure(failure.reason), ticks);
                self.vouched_until = Duration::ZERO;
            }
        }
        if let Some((StepResult::Success, took)) = outcome.steps.get(Step::Ping) {
            self.pings.observe(now, took);
        }
    }

    /// Records that the cache was unavailable for this time, of which no part was recorded before.
    pub(super) fn unavailable(&mut self, from: Instant, until: Instant, now: Instant, at: SystemTime) {
        self.advance(now, at);
        let span = Span { from: self.timeline.place(from), until: self.timeline.place(until) };
        self.skip_to(span.from);
        self.watch_until(span.until);
        self.windows.unavailable(span);
    }

    /// Returns the history up to now.
    pub(super) fn summary(&self, now: Instant, at: SystemTime) -> Summary {
        let mut history = self.clone();
        let now = history.advance(now, at);
        let (hour, day) = history.windows.availability(now);
        Summary { hour, day, outcomes: history.strip.cells(), pings: history.pings.quantiles(now) }
    }

    /// Lets the time pass up to now, and returns its place.
    fn advance(&mut self, now: Instant, at: SystemTime) -> Duration {
        // A reader may have looked at its clock a little earlier.
        let now = now.max(self.timeline.last());
        let awake = self.timeline.place(now);
        self.watch_until(awake.min(self.vouched_until));
        if self.timeline.advance(now, at) {
            // Nobody watched while the machine slept.
            self.skip_to(self.timeline.place(now));
            self.vouched_until = Duration::ZERO;
            self.has_slept = true;
        }
        self.timeline.place(now)
    }

    /// What is before `place` and not watched yet never will be.
    fn skip_to(&mut self, place: Duration) {
        self.watched_until = self.watched_until.max(place);
    }

    fn watch_until(&mut self, place: Duration) {
        if self.watched_until < place {
            self.windows.watched(Span { from: self.watched_until, until: place });
            self.watched_until = place;
        }
    }
}

/// The history of a target at one moment.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of the last hour, to the minute.
    pub hour: Availability,
    /// Of the last day, to a quarter of an hour.
    pub day: Availability,
    /// The last outcomes, the oldest first.
    pub outcomes: Vec<Cell>,
    /// How long PING took in each of the last 60 minutes, the oldest first. `None` where none was answered.
    pub pings: Vec<Option<Quantiles>>,
}

#[cfg(test)]
mod tests;
