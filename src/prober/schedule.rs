//! When probes are due: a grid of ticks, one interval apart.

use std::time::Duration;

use tokio::time::Instant;

/// The ticks of one target.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next: Instant,
}

/// A tick that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// How long after it was due it was noticed; of ticks that were missed, the first counts.
    pub(super) delay: Duration,
    /// How many ticks were noticed late: this one, if it was, and those that passed while the process did not run.
    pub(super) late: u64,
}

impl Schedule {
    pub(super) const fn new(interval: Duration, first: Instant) -> Self {
        Self { interval, next: first }
    }

    /// When the next tick is due.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// Returns the tick that is due. Ticks that were missed altogether (the machine slept, the process was stopped)
    /// are counted as late and skipped: a burst of probes says nothing about the time that passed.
    pub(super) fn take(&mut self, now: Instant) -> Tick {
        let behind = now.saturating_duration_since(self.next);
        let missed = behind.as_nanos() / self.interval.as_nanos();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        let due = self.next + self.interval.saturating_mul(missed);
        self.next = due + self.interval;
        let late = u64::from(missed) + u64::from(now - due > tolerance(self.interval));
        Tick { delay: behind, late }
    }
}

/// A tick is late when it is noticed more than a tenth of the interval after it was due, half a second at most.
fn tolerance(interval: Duration) -> Duration {
    (interval / 10).min(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn schedule() -> (Schedule, Instant) {
        let first = Instant::now();
        (Schedule::new(INTERVAL, first), first)
    }

    #[test]
    fn a_tick_on_time_is_followed_by_the_next_one_interval_later() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 2 * MS), Tick { delay: 2 * MS, late: 0 });
        assert_eq!(schedule.next(), first + INTERVAL);
    }

    #[test]
    fn a_tick_that_comes_late_is_counted_and_the_grid_stands() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 2000 * MS), Tick { delay: 2000 * MS, late: 1 });
        assert_eq!(schedule.next(), first + INTERVAL);
    }

    #[test]
    fn ticks_that_were_missed_are_counted_and_skipped() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 35_000 * MS), Tick { delay: 35_000 * MS, late: 4 });
        assert_eq!(schedule.next(), first + 4 * INTERVAL);
    }
}
