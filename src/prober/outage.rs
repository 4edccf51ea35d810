//! How long a target has been unavailable.

use std::time::Duration;

use tokio::time::Instant;

/// The outage of one target, if there is one: it runs from the first sign of a failure to the next success.
///
/// A probe that failed is over with a probe that succeeds. A connection that was lost between probes is over when a
/// new one has signed in and answered a PING: waiting for the next tick would count an interval for every blink.
#[derive(Debug, Default)]
pub(super) struct Outage(Option<Running>);

#[derive(Debug)]
struct Running {
    since: Instant,
    /// Up to here the outage has been counted.
    counted: Instant,
    a_probe_failed: bool,
}

impl Outage {
    /// Notes the first sign of a failure; later ones change nothing.
    pub(super) const fn begin(&mut self, at: Instant) {
        if self.0.is_none() {
            self.0 = Some(Running { since: at, counted: at, a_probe_failed: false });
        }
    }

    /// Whether there is one.
    pub(super) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// How long it has lasted, if there is one.
    pub(super) fn length(&self, now: Instant) -> Option<Duration> {
        self.0.as_ref().map(|running| now.saturating_duration_since(running.since))
    }

    /// Notes that a probe failed: only a probe can end the outage now.
    pub(super) const fn probe_failed(&mut self) {
        if let Some(running) = &mut self.0 {
            running.a_probe_failed = true;
        }
    }

    /// What has passed of the outage since this was asked last.
    pub(super) fn elapsed(&mut self, now: Instant) -> Duration {
        self.0.as_mut().map_or(Duration::ZERO, |running| {
            let elapsed = now.saturating_duration_since(running.counted);
            running.counted = now;
            elapsed
        })
    }

    /// A probe succeeded: the outage is over. Returns what was not yet counted of it.
    pub(super) fn end(&mut self, now: Instant) -> Duration {
        let rest = self.elapsed(now);
        self.0 = None;
        rest
    }

    /// A connection was opened anew and answers: over, if no probe has failed meanwhile.
    pub(super) fn reopened(&mut self, now: Instant) -> Duration {
        if self.0.as_ref().is_some_and(|running| running.a_probe_failed) {
            self.elapsed(now)
        } else {
            self.end(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_counted_piece_by_piece_from_its_first_sign_to_its_end() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert_eq!(outage.elapsed(start + SECOND), Duration::ZERO);
        outage.begin(start + SECOND);
        outage.begin(start + 2 * SECOND);
        outage.probe_failed();
        assert_eq!(outage.elapsed(start + 3 * SECOND), 2 * SECOND);
        assert_eq!(outage.length(start + 7 * SECOND), Some(6 * SECOND));
        assert_eq!(outage.end(start + 7 * SECOND), 4 * SECOND);
        assert_eq!(outage.elapsed(start + 9 * SECOND), Duration::ZERO);
        assert_eq!(outage.length(start + 9 * SECOND), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_blink_between_probes_ends_with_the_new_connection() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.begin(start);
        assert_eq!(outage.reopened(start + SECOND), SECOND);
        assert_eq!(outage.end(start + 9 * SECOND), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_probe_a_new_connection_is_not_enough() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.begin(start);
        outage.probe_failed();
        assert_eq!(outage.reopened(start + SECOND), SECOND);
        assert_eq!(outage.end(start + 3 * SECOND), 2 * SECOND);
    }
}
