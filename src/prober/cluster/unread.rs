//! Readings of the topology that fail one after another, and what is said of it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Coordinator;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, Stage};

/// So many failures in a row, over so long a time, are logged: one reading is repeated at once.
const LOGGED: u32 = 3;
const LOGGED_AFTER: Duration = Duration::from_secs(10);

/// The failures since the topology was read the last time.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// When the first one was, and how many there were.
    failures: Option<(Instant, u32)>,
    is_logged: bool,
}

impl Unread {
    pub(super) fn in_a_row(&self) -> u32 {
        self.failures.map_or(0, |(_, count)| count)
    }

    /// The topology was not read at `now`. Returns whether that is to be logged, if ever.
    fn failed(&mut self, now: Instant) -> bool {
        let (since, count) = self.failures.unwrap_or((now, 0));
        self.failures = Some((since, count.saturating_add(1)));
        !self.is_logged && count + 1 >= LOGGED && now >= since + LOGGED_AFTER
    }
}

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Shows that the topology was not read because of `failure`; `None` if all nodes that are connected have refused before,
    /// which is shown.
    pub(super) fn show_unread(&mut self, failure: Option<&Failure>) {
        let is_due = self.unread.failed(Instant::now());
        if let Some(failure) = failure
            && (self.metrics.is_some() || self.unread.in_a_row() >= LOGGED)
        {
            self.show_failure(failure);
        }
        // Where no node can be connected to, the cache is away, which is said elsewhere.
        let is_asked = failure.is_some_and(|failure| failure.stage == Stage::Topology)
            || self.links.shared.signals.are_connected_beside(&[]);
        if is_due && is_asked {
            self.unread.is_logged = true;
            let target = &self.links.target.name;
            let (reason, stage) =
                failure.map(|failure| (failure.reason.as_str(), failure.stage.as_str())).unzip();
            let detail = failure.map_or("the connected nodes have refused", |failure| &failure.detail);
            warn!(%target, reason, stage, detail, "topology not read");
        }
    }

    /// The topology was read.
    pub(super) fn show_read(&mut self) {
        if std::mem::take(&mut self.unread).is_logged {
            info!(target = %self.links.target.name, "topology read again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_if_others_came_before_it_over_some_time() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        let failed = [0, 0, 1, 9, 10].map(|seconds| unread.failed(now + Duration::from_secs(seconds)));
        assert_eq!((failed, unread.in_a_row()), ([false, false, false, false, true], 5));
        let mut unread = Unread::default();
        let failed = [0, 60, 120].map(|seconds| unread.failed(now + Duration::from_secs(seconds)));
        assert_eq!(failed, [false, false, true]);
    }
}
