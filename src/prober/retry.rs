//! Something that a prober tries again, later and later: opening its connection, or presenting a token on it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;

/// Something that is to be tried again, and when.
#[derive(Debug)]
pub(super) struct Retry {
    /// `None`: nothing is to be tried.
    pub(super) at: Option<Instant>,
    pub(super) backoff: Backoff,
}

impl Retry {
    pub(super) const fn new(first: Duration) -> Self {
        Self { at: None, backoff: Backoff::new(first) }
    }

    /// Plans the next try, after a pause that grows up to `cap`.
    pub(super) fn schedule(&mut self, cap: Duration, rng: &mut fastrand::Rng) {
        self.at = Some(Instant::now() + self.backoff.next(cap, rng));
    }

    /// Waits until `at`; for ever if nothing is to be tried.
    pub(super) async fn due(at: Option<Instant>) {
        match at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
