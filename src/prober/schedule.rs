//! When probes are due: a grid of ticks, one interval apart.

use std::time::Duration;

use tokio::time::Instant;

/// The ticks of one target.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next: Instant,
}

/// A tick that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// When the next one is due: the probe's deadline.
    pub(super) deadline: Instant,
    /// How long after it was due it began; of ticks that were missed, the first counts.
    pub(super) delay: Duration,
    /// How many ticks came late: this one, if it did, and those that passed without a chance to run.
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

    /// Begins the tick that is due. Ticks that were missed altogether (the machine slept, the process was stopped)
    /// are counted as late and not made up for: a burst of probes would tell nothing about the time that passed.
    pub(super) fn begin(&mut self, now: Instant) -> Tick {
        let behind = now.saturating_duration_since(self.next);
        let missed = behind.as_nanos() / self.interval.as_nanos();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        let due = self.next + self.interval.saturating_mul(missed);
        self.next = due + self.interval;
        let late = u64::from(missed) + u64::from(now - due > tolerance(self.interval));
        Tick { deadline: self.next, delay: behind, late }
    }
}

/// A tick is late when it begins more than a tenth of the interval after it was due, half a second at most.
fn tolerance(interval: Duration) -> Duration {
    (interval / 10).min(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn schedule() -> (Schedule, Instant) {
        let first = Instant::now();
        (Schedule::new(INTERVAL, first), first)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_on_time_leaves_the_probe_until_the_next() {
        let (mut schedule, first) = schedule();
        let tick = schedule.begin(first + Duration::from_millis(2));
        assert_eq!(tick, Tick { deadline: first + INTERVAL, delay: Duration::from_millis(2), late: 0 });
        assert_eq!(schedule.next(), first + INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_that_comes_late_is_counted_and_the_grid_stands() {
        let (mut schedule, first) = schedule();
        let tick = schedule.begin(first + Duration::from_secs(2));
        assert_eq!(tick, Tick { deadline: first + INTERVAL, delay: Duration::from_secs(2), late: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_that_were_missed_are_counted_and_not_made_up_for() {
        let (mut schedule, first) = schedule();
        let tick = schedule.begin(first + Duration::from_secs(35));
        assert_eq!(
            tick,
            Tick { deadline: first + Duration::from_secs(40), delay: Duration::from_secs(35), late: 4 }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_used_its_whole_interval_does_not_make_the_next_tick_late() {
        let (mut schedule, first) = schedule();
        let deadline = schedule.begin(first).deadline;
        assert_eq!(schedule.begin(deadline + Duration::from_millis(3)).late, 0);
    }
}
