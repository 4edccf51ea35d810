//! The answers that are on their way to clients: few at a time, so that clients who ask and do not read take no
//! memory, and in turns, so that those who ask much do not keep the others waiting.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::stream::{Activity, Asked};

/// How long a client may read nothing while others wait for room.
const PATIENCE: Duration = Duration::from_millis(50);

/// The answers of one endpoint. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Arc<Semaphore>,
    /// Whose answers there are.
    held: Mutex<Vec<Arc<Activity>>>,
}

impl Answers {
    /// At most so many at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { room: Arc::new(Semaphore::new(limit)), held: Mutex::default() }))
    }

    /// Room for an answer on the connection of `activity`. While there is none, the connection that has been quiet
    /// longest of those that are sent an answer makes it, if its client has not read for a while.
    pub(super) async fn room(&self, activity: &Arc<Activity>) -> Room {
        let asked = Asked::new(activity);
        // One answer a turn.
        yield_now().await;
        let mut turn = pin!(Arc::clone(&self.0.room).acquire_owned());
        let permit = loop {
            if let Ok(permit) = timeout(PATIENCE, turn.as_mut()).await {
                break permit.expect("it is never closed");
            }
            // Whoever has read meanwhile is sent more first.
            yield_now().await;
            self.close_quietest();
        };
        self.0.held().push(Arc::clone(activity));
        Room { answers: self.clone(), asked, _permit: permit }
    }

    fn close_quietest(&self) {
        let mut held = self.0.held();
        let quiet = held.iter().enumerate().filter(|(_, activity)| activity.last().elapsed() >= PATIENCE);
        let quietest = quiet.min_by_key(|(_, activity)| activity.last()).map(|(at, _)| at);
        if let Some(at) = quietest {
            held.swap_remove(at).close();
        }
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        // The list is whole at every moment, also where a holder of the lock panicked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one answer, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    answers: Answers,
    asked: Asked,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = self.answers.0.held();
        if let Some(at) = held.iter().position(|activity| Arc::ptr_eq(activity, self.asked.activity())) {
            held.swap_remove(at);
        }
    }
}
