//! `/livez` asks the agent's main loop for a sign of life, so that it proves that probing goes on and not only that
//! a thread answers. Nothing outside the process takes part.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the loop may take to answer. It answers in microseconds unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions that wait. Where so many do, one more learns nothing new.
const CAPACITY: usize = 16;

/// Asks for a sign of life.
#[derive(Clone, Debug)]
pub struct Liveness(mpsc::Sender<oneshot::Sender<()>>);

/// Gives the sign of life; belongs into the loop that must not stop.
#[derive(Debug)]
pub struct Heartbeats(mpsc::Receiver<oneshot::Sender<()>>);

impl Liveness {
    /// The side that asks and the side that answers.
    #[must_use]
    pub fn new() -> (Self, Heartbeats) {
        let (questions, answers) = mpsc::channel(CAPACITY);
        (Self(questions), Heartbeats(answers))
    }

    /// Whether the loop answers in time.
    pub(super) async fn is_alive(&self) -> bool {
        let ask = async {
            let (answer, answered) = oneshot::channel();
            self.0.send(answer).await.is_ok() && answered.await.is_ok()
        };
        timeout(PATIENCE, ask).await.unwrap_or(false)
    }
}

impl Heartbeats {
    /// Waits for the next question and answers it. Nothing is lost when the future is dropped; where nobody can
    /// ask any more it waits for ever.
    pub async fn answer(&mut self) {
        // The one who asked may have given up.
        let _ = self.question().await.send(());
    }

    pub(super) async fn question(&mut self) -> oneshot::Sender<()> {
        match self.0.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_turns_is_alive_and_one_that_is_stuck_or_gone_is_not() {
        let (liveness, mut heartbeats) = Liveness::new();
        let turning = tokio::spawn(async move {
            heartbeats.answer().await;
            heartbeats
        });
        assert!(liveness.is_alive().await);
        let mut heartbeats = turning.await.unwrap();
        for _ in 0..2 * CAPACITY {
            assert!(!liveness.is_alive().await, "nobody answers");
        }
        let turning = tokio::spawn(async move {
            loop {
                heartbeats.answer().await;
            }
        });
        assert!(liveness.is_alive().await, "old questions are not in the way");
        turning.abort();
        assert!(turning.await.unwrap_err().is_cancelled());
        assert!(!liveness.is_alive().await, "the loop is gone");
    }
}
