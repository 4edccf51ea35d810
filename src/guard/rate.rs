//! The limit to the rate of requests: a token bucket for all clients together, as Go's `rate.Limiter`.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// Allows a burst of requests, and then one in each interval.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again.
    full: Mutex<Instant>,
}

impl RateLimit {
    /// Creates a limit of one request per `interval`, and `burst` at once. A burst of 0 denies every request.
    #[must_use]
    pub fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full: Mutex::new(Instant::now()) }
    }

    /// Whether one more request is allowed now.
    pub(super) fn allows(&self) -> bool {
        let now = Instant::now();
        let mut full = lock(&self.full);
        let Some(next) = (*full).max(now).checked_add(self.interval) else { return false };
        if next - now > self.interval.saturating_mul(self.burst) {
            return false;
        }
        *full = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn allowed(limit: &RateLimit, requests: usize) -> usize {
        (0..requests).filter(|_| limit.allows()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_and_then_one_request_per_interval() {
        let limit = RateLimit::new(SECOND, 3);
        assert_eq!(allowed(&limit, 10), 3);
        advance(SECOND / 2).await;
        assert_eq!(allowed(&limit, 10), 0);
        advance(SECOND / 2).await;
        assert_eq!(allowed(&limit, 10), 1);
        advance(100 * SECOND).await;
        assert_eq!(allowed(&limit, 10), 3, "the bucket does not overflow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_zero_allows_nothing() {
        let limit = RateLimit::new(SECOND, 0);
        advance(100 * SECOND).await;
        assert_eq!(allowed(&limit, 10), 0);
    }
}
