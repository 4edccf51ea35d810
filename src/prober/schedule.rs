//! When probes are due: a grid of ticks, one interval apart.

use std::time::Duration;

use tokio::time::Instant;

use crate::alarm;

/// The longest time over which the beginnings of those that start together are spread.
const SPREAD: Duration = Duration::from_secs(10);

/// Those that begin within this time begin together, so that one wake-up of the agent serves them all. With a thousand
/// targets a second these are groups of four, which saves a third to a half of the CPU of each probe. Larger groups save
/// less on top, and their commands wait for each other.
const GRAIN: Duration = Duration::from_millis(4);

/// The instants at which the ticks of one target come due, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) interval: Duration,
    /// When tick 0 is due.
    pub(super) first: Instant,
}

/// The ticks of one link, which are those of its target.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval: Duration,
    next: Instant,
    /// The number of the tick that is due next.
    number: u64,
}

/// A tick that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) number: u64,
    /// How long after it was due it was noticed; of ticks that were missed, the first counts.
    pub(super) delay: Duration,
    /// How many ticks were noticed late: this one, if it was, and those that passed while the process did not run.
    pub(super) late: u64,
}

/// Returns how long after the first of `count` the one at `place` begins: they are a steady flow, but those that would begin
/// within the same [`GRAIN`] begin together.
pub(crate) fn offset(interval: Duration, place: usize, count: usize) -> Duration {
    let even = interval.min(SPREAD).mul_f64(place as f64 / count as f64);
    let grains = even.as_nanos() / GRAIN.as_nanos();
    GRAIN.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}

/// Waits until `time`, or for ever.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => alarm::until(time).await,
        None => std::future::pending().await,
    }
}

impl Schedule {
    /// Returns all ticks of `grid`, also those that are already due.
    pub(super) const fn starting(grid: Grid) -> Self {
        Self { interval: grid.interval, next: grid.first, number: 0 }
    }

    /// Returns the ticks of `grid` after `now`.
    pub(super) fn after(grid: Grid, now: Instant) -> Self {
        let Grid { interval, first } = grid;
        let Some(passed) = now.checked_duration_since(first) else {
            return Self { interval, next: first, number: 0 };
        };
        let number = u64::try_from(passed.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX - 1) + 1;
        let rest = passed.as_nanos() % interval.as_nanos();
        let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
        Self { interval, next: now - rest + interval, number }
    }

    /// Returns the number of the tick that is due next.
    pub(super) const fn number(&self) -> u64 {
        self.number
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
        self.number += u64::from(missed) + 1;
        let late = u64::from(missed) + u64::from(now - due > tolerance(self.interval));
        Tick { number: self.number - 1, delay: behind, late }
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
        (Schedule::starting(Grid { interval: INTERVAL, first }), first)
    }

    #[test]
    fn targets_begin_in_a_steady_flow_and_those_a_few_milliseconds_apart_together() {
        let offsets = |interval, count| (0..count).map(move |place| offset(interval, place, count));
        let few: Vec<_> = offsets(INTERVAL, 4).collect();
        assert_eq!(few, [Duration::ZERO, INTERVAL / 4, INTERVAL / 2, INTERVAL * 3 / 4]);
        assert_eq!(offset(Duration::from_secs(3600), 1, 2), SPREAD / 2, "none waits long for its first tick");
        let second = Duration::from_secs(1);
        for begin in (0..1000).step_by(4) {
            let together = offsets(second, 1000).filter(|offset| *offset == begin * MS);
            assert_eq!(together.count(), 4, "{begin} ms");
        }
    }

    #[test]
    fn a_tick_on_time_is_followed_by_the_next_one_interval_later() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 2 * MS), Tick { number: 0, delay: 2 * MS, late: 0 });
        assert_eq!(schedule.next(), first + INTERVAL);
    }

    #[test]
    fn a_tick_that_comes_late_is_counted_and_the_grid_stands() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 2000 * MS), Tick { number: 0, delay: 2000 * MS, late: 1 });
        assert_eq!(schedule.next(), first + INTERVAL);
    }

    #[test]
    fn ticks_that_were_missed_are_counted_and_skipped() {
        let (mut schedule, first) = schedule();
        assert_eq!(schedule.take(first + 35_000 * MS), Tick { number: 3, delay: 35_000 * MS, late: 4 });
        assert_eq!(schedule.next(), first + 4 * INTERVAL);
    }

    #[test]
    fn who_joins_later_has_the_ticks_to_come_under_the_numbers_of_the_others() {
        let first = Instant::now();
        let grid = Grid { interval: INTERVAL, first };
        for (now, number) in [(0, 1), (1, 1), (9_999, 1), (10_000, 2), (34_000, 4)] {
            let mut schedule = Schedule::after(grid, first + now * MS);
            let next = first + INTERVAL * number;
            assert_eq!((schedule.next(), schedule.number()), (next, u64::from(number)), "{now} ms");
            assert_eq!(schedule.take(next).number, u64::from(number));
        }
        let early = Schedule::after(Grid { interval: INTERVAL, first: first + INTERVAL }, first);
        assert_eq!((early.next(), early.number()), (first + INTERVAL, 0));
    }
}
