//! `/livez` asks the agent's main loop to respond, so that it shows that probing goes on and not only that a thread
//! runs. It depends on nothing outside the process.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the loop may take to respond. It responds in microseconds unless it is stuck.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many requests may wait for a response. The loop is stuck if there are more.
const CAPACITY: usize = 16;

/// Asks the loop to respond.
#[derive(Clone, Debug)]
pub struct Liveness(mpsc::Sender<oneshot::Sender<()>>);

/// Responds; owned by the loop that must not stop.
#[derive(Debug)]
pub struct Heartbeats(mpsc::Receiver<oneshot::Sender<()>>);

impl Liveness {
    /// Creates the side that asks and the side that responds.
    #[must_use]
    pub fn new() -> (Self, Heartbeats) {
        let (requests, pending) = mpsc::channel(CAPACITY);
        (Self(requests), Heartbeats(pending))
    }

    /// Whether the loop responds in time.
    pub(crate) async fn is_alive(&self) -> bool {
        let respond = async {
            let (respond, responded) = oneshot::channel();
            self.0.send(respond).await.is_ok() && responded.await.is_ok()
        };
        timeout(TIMEOUT, respond).await.unwrap_or(false)
    }
}

impl Heartbeats {
    /// Waits for the next request and responds to it. Dropping the future loses no request. Waits forever once no
    /// [`Liveness`] is left.
    pub async fn respond(&mut self) {
        // The requester may have timed out.
        let _ = self.request().await.send(());
    }

    pub(crate) async fn request(&mut self) -> oneshot::Sender<()> {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_running_loop_is_alive_and_a_stuck_or_ended_one_is_not() {
        let (liveness, mut heartbeats) = Liveness::new();
        let running = tokio::spawn(async move {
            heartbeats.respond().await;
            heartbeats
        });
        assert!(liveness.is_alive().await);
        let mut heartbeats = running.await.unwrap();
        for _ in 0..2 * CAPACITY {
            assert!(!liveness.is_alive().await, "nothing responds");
        }
        let running = tokio::spawn(async move {
            loop {
                heartbeats.respond().await;
            }
        });
        assert!(liveness.is_alive().await, "requests that timed out do not block new ones");
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert!(!liveness.is_alive().await, "the loop has ended");
    }
}
