//! The outage of a target: how long the cache has been unavailable, counted piece by piece.

use std::time::Duration;

use tokio::time::Instant;

/// A running outage is counted at least this often, so that every scrape sees it grow.
const STEP: Duration = Duration::from_secs(5);

/// A time that has passed; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prober) struct Span {
    pub(in crate::prober) from: Instant,
    pub(in crate::prober) until: Instant,
}

impl Span {
    /// Returns how long it is.
    pub(in crate::prober) fn length(self) -> Duration {
        self.until - self.from
    }
}

/// The outage of one target, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage(Option<Running>);

#[derive(Debug)]
struct Running {
    since: Instant,
    /// The outage is counted up to here. `None` while the agent itself is at fault.
    counted: Option<Instant>,
    /// A tick or a follow-up has failed: only a whole round ends the outage.
    confirmed: bool,
}

impl Outage {
    /// Begins at `since` unless one is running; a stopped clock resumes at `at`. Both may be yet to come.
    pub(super) const fn sign(&mut self, since: Instant, at: Instant) {
        match &mut self.0 {
            None => self.0 = Some(Running { since, counted: Some(since), confirmed: false }),
            Some(Running { counted, .. }) if counted.is_none() => *counted = Some(at),
            Some(_) => {}
        }
    }

    /// Notes that a tick or a follow-up has failed.
    pub(super) const fn confirm(&mut self) {
        if let Some(running) = &mut self.0 {
            running.confirmed = true;
        }
    }

    /// Whether only a whole round can end it.
    pub(super) fn is_confirmed(&self) -> bool {
        self.0.as_ref().is_some_and(|running| running.confirmed)
    }

    /// Returns how long it has lasted, if it has begun.
    pub(super) fn length(&self, now: Instant) -> Option<Duration> {
        now.checked_duration_since(self.0.as_ref()?.since)
    }

    /// When it is to be counted next.
    pub(super) fn next_count(&self) -> Option<Instant> {
        Some(self.0.as_ref()?.counted? + STEP)
    }

    /// Returns what has passed of the outage since the last call.
    pub(super) fn count(&mut self, now: Instant) -> Option<Span> {
        let counted = self.0.as_mut()?.counted.as_mut()?;
        (*counted < now).then(|| Span { from: std::mem::replace(counted, now), until: now })
    }

    /// Stops the clock, and returns what was not counted yet.
    pub(super) fn stop(&mut self, now: Instant) -> Option<Span> {
        let rest = self.count(now);
        if let Some(running) = &mut self.0 {
            running.counted = None;
        }
        rest
    }

    /// Ends the outage, and returns what was not counted yet.
    pub(super) fn end(&mut self, now: Instant) -> Option<Span> {
        let rest = self.count(now);
        self.0 = None;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn length(span: Option<Span>) -> Duration {
        span.map_or(Duration::ZERO, Span::length)
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_counted_piece_by_piece_from_its_first_sign_to_its_end() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert_eq!(length(outage.count(start + SECOND)), Duration::ZERO);
        outage.sign(start + SECOND, start + 2 * SECOND);
        outage.sign(start + 2 * SECOND, start + 2 * SECOND);
        assert_eq!(outage.next_count(), Some(start + SECOND + STEP));
        assert_eq!(length(outage.count(start + 3 * SECOND)), 2 * SECOND);
        assert_eq!(outage.length(start + 7 * SECOND), Some(6 * SECOND));
        assert_eq!(length(outage.end(start + 7 * SECOND)), 4 * SECOND);
        assert_eq!(length(outage.count(start + 9 * SECOND)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_is_yet_to_begin_counts_from_its_beginning() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.sign(start + 5 * SECOND, start + 5 * SECOND);
        assert_eq!(
            (length(outage.count(start + SECOND)), outage.length(start + SECOND)),
            (Duration::ZERO, None)
        );
        assert_eq!(length(outage.count(start + 6 * SECOND)), SECOND);
        assert_eq!(outage.length(start + 7 * SECOND), Some(2 * SECOND));
        assert_eq!(length(outage.end(start + 7 * SECOND)), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_while_the_agent_is_at_fault() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.sign(start, start);
        assert_eq!(length(outage.stop(start + SECOND)), SECOND);
        assert_eq!((length(outage.count(start + 5 * SECOND)), outage.next_count()), (Duration::ZERO, None));
        outage.sign(start + 5 * SECOND, start + 6 * SECOND);
        assert_eq!(length(outage.end(start + 7 * SECOND)), SECOND);
    }
}
