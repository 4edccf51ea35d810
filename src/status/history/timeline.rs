//! The axis of a history: time as people see it, which passes also while the machine sleeps, and never goes back.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The wall clock is ahead of the monotonic one by more than this: the machine has slept, or the clock was set.
const JUMP: Duration = Duration::from_secs(2);

/// Places instants on the axis, whose beginning is the creation of the timeline.
///
/// The monotonic clock of Linux stands still while the machine sleeps, the wall clock can be set. The time that only the wall
/// clock has seen was watched by nobody, whatever the cause. A wall clock that is set back is ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    origin: Instant,
    /// How long the machine has slept since then.
    slept: Duration,
    last: Instant,
    last_wall: SystemTime,
}

impl Timeline {
    pub(super) const fn new(now: Instant, at: SystemTime) -> Self {
        Self { origin: now, slept: Duration::ZERO, last: now, last_wall: at }
    }

    /// Returns the newest instant.
    pub(super) const fn last(&self) -> Instant {
        self.last
    }

    /// Compares the clocks. Returns whether time has passed that nobody watched.
    pub(super) fn advance(&mut self, now: Instant, at: SystemTime) -> bool {
        let awake = now.saturating_duration_since(self.last);
        let passed = at.duration_since(self.last_wall).unwrap_or_default();
        (self.last, self.last_wall) = (now, at);
        let slept = passed.saturating_sub(awake);
        let has_slept = slept > JUMP;
        if has_slept {
            self.slept = self.slept.saturating_add(slept);
        }
        has_slept
    }

    /// Returns the place of an instant. Those before the beginning are at the beginning.
    pub(super) fn place(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin).saturating_add(self.slept)
    }
}
