//! `/-/reload` asks the agent's main loop to load the configuration again, and waits for the result.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a request waits for its result. A load takes milliseconds, unless a file system hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many requests may wait for their turn.
const CAPACITY: usize = 4;

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The configuration is in use.
    Accepted,
    /// The configuration cannot be used.
    Rejected,
    /// There is no configuration file.
    NoFile,
}

/// Requests reloads, once that is allowed.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    is_enabled: Arc<AtomicBool>,
    requests: mpsc::Sender<oneshot::Sender<Reloaded>>,
}

/// The requests; owned by the loop that reloads.
#[derive(Debug)]
pub struct Reloads {
    requests: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    /// The request whose reload runs.
    current: Option<oneshot::Sender<Reloaded>>,
}

impl Lifecycle {
    /// Creates the side that requests and the side that reloads.
    #[must_use]
    pub fn new() -> (Self, Reloads) {
        let (requests, pending) = mpsc::channel(CAPACITY);
        (Self { is_enabled: Arc::default(), requests }, Reloads { requests: pending, current: None })
    }

    /// Allows requests, or forbids them.
    pub fn enable(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    /// Whether requests are allowed.
    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Requests a reload and waits for its result; `None` if there is none in time.
    pub(super) async fn reload(&self) -> Option<Reloaded> {
        let reload = async {
            let (finish, finished) = oneshot::channel();
            self.requests.send(finish).await.ok()?;
            finished.await.ok()
        };
        timeout(TIMEOUT, reload).await.ok().flatten()
    }
}

impl Reloads {
    /// Waits for the next request; there is none before [`Self::finish`] has ended the previous one. Dropping the future
    /// loses no request. Waits forever once no [`Lifecycle`] is left.
    pub async fn next(&mut self) {
        if self.current.is_some() {
            return pending().await;
        }
        match self.requests.recv().await {
            Some(request) => self.current = Some(request),
            None => pending().await,
        }
    }

    /// Ends the request whose reload runs, if there is one.
    pub fn finish(&mut self, result: Reloaded) {
        if let Some(current) = self.current.take() {
            // The requester may have timed out.
            let _ = current.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_served_one_at_a_time_each_with_its_own_result() {
        let (lifecycle, mut reloads) = Lifecycle::new();
        let request = || {
            let lifecycle = lifecycle.clone();
            tokio::spawn(async move { lifecycle.reload().await })
        };
        let (first, second) = (request(), request());
        reloads.next().await;
        assert!(timeout(TIMEOUT / 3, reloads.next()).await.is_err(), "one runs");
        reloads.finish(Reloaded::Accepted);
        assert_eq!(first.await.unwrap(), Some(Reloaded::Accepted));
        reloads.next().await;
        reloads.finish(Reloaded::Rejected);
        reloads.finish(Reloaded::Accepted);
        assert_eq!(second.await.unwrap(), Some(Reloaded::Rejected));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_limited_time() {
        let (lifecycle, mut reloads) = Lifecycle::new();
        assert_eq!(lifecycle.reload().await, None, "nothing takes it");
        reloads.next().await;
        reloads.finish(Reloaded::Accepted);
        drop(reloads);
        assert_eq!(lifecycle.reload().await, None, "the loop has ended");
    }
}
