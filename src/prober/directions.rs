//! Where the coordinator sends a shard's link: to the node that has the shard's slots now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::target::Endpoint;
use crate::topology::SlotSet;

/// The newest direction of one link.
#[derive(Debug, Default)]
pub(super) struct Directions {
    newest: Mutex<Option<Direction>>,
    given: Notify,
}

/// Which slots a link probes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) endpoint: Endpoint,
    pub(super) slots: Arc<SlotSet>,
}

impl Directions {
    /// Gives a direction, which replaces one that the link has not taken yet.
    pub(super) fn give(&self, direction: Direction) {
        *self.lock() = Some(direction);
        self.given.notify_one();
    }

    /// Waits for a direction. Cancel safe.
    pub(super) async fn next(&self) -> Direction {
        loop {
            let newest = self.lock().take();
            match newest {
                Some(direction) => return direction,
                None => self.given.notified().await,
            }
        }
    }

    /// Waits for a direction that leads away from `endpoint`. Cancel safe.
    pub(super) async fn away_from(&self, endpoint: &Endpoint) -> Direction {
        loop {
            let newest = self.lock().take_if(|newest| newest.endpoint != *endpoint);
            match newest {
                Some(direction) => return direction,
                None => self.given.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Direction>> {
        // Every change leaves a valid state.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
