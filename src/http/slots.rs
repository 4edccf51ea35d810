//! Slots for responses. Only some responses are sent at a time, and only a few of them compressed, so that clients that do
//! not read use little memory; slots are given in turn, so that a client with many requests does not delay the others.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::stream::{Activity, PendingRequest};
use crate::lock::lock;

/// How long a client may read nothing while others wait for a slot. The system's buffers hide what a slow client reads for
/// some hundred milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How many responses are compressed at a time: each needs 300 KiB.
const COMPRESSORS: usize = 8;

/// The slots of one endpoint. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    compressors: Arc<Semaphore>,
    /// Given in turn to the responses, one piece at a time.
    turn: Arc<Semaphore>,
    /// The connections whose responses hold a slot.
    holders: Mutex<Vec<Arc<Activity>>>,
}

impl Slots {
    /// Creates `count` slots.
    pub(super) fn new(count: usize) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let (free, compressors, turn) = (places(count), places(COMPRESSORS), places(1));
        Self(Arc::new(Inner { free, compressors, turn, holders: Mutex::default() }))
    }

    /// Waits for a slot for a response on the connection of `activity`. While there is none, closes the connection
    /// that has been idle longest among those that hold a slot, if its client has not read for a while.
    pub(super) async fn slot(&self, activity: &Arc<Activity>) -> Slot {
        let request = PendingRequest::new(activity);
        // Pipelined requests take turns with those of other connections.
        yield_now().await;
        let mut turn = pin!(Arc::clone(&self.0.free).acquire_owned());
        let permit = loop {
            if let Ok(permit) = timeout(PATIENCE, turn.as_mut()).await {
                break permit.expect("the semaphore is never closed");
            }
            // Clients that have read in the meantime are sent more first.
            yield_now().await;
            self.close_idlest();
        };
        self.0.holders().push(Arc::clone(activity));
        Slot { slots: self.clone(), request, permit: Some(permit), compressor: None }
    }

    /// Returns a slot for a response that never waits for others: a short one, which needs no memory.
    pub(super) async fn without_waiting(&self, activity: &Arc<Activity>) -> Slot {
        let request = PendingRequest::new(activity);
        // As above.
        yield_now().await;
        Slot { slots: self.clone(), request, permit: None, compressor: None }
    }

    fn close_idlest(&self) {
        let mut holders = self.0.holders();
        let idle = holders.iter().enumerate().filter(|(_, activity)| activity.last().elapsed() >= PATIENCE);
        let idlest = idle.min_by_key(|(_, activity)| activity.last()).map(|(at, _)| at);
        if let Some(at) = idlest {
            holders.swap_remove(at).close();
        }
    }
}

impl Inner {
    fn holders(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        lock(&self.holders)
    }
}

/// A slot for one response, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    request: PendingRequest,
    /// `None` for a response that did not wait.
    permit: Option<OwnedSemaphorePermit>,
    compressor: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// Waits for the turn to write a piece of the response, until it is dropped. Only one response at a time is ready to
    /// write, so that a request which does not wait is never behind more than one piece.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.permit.as_ref()?;
        let turn = Arc::clone(&self.slots.0.turn).acquire_owned().await;
        yield_now().await;
        turn.ok()
    }

    /// Whether the response may be compressed.
    pub(super) fn may_compress(&mut self) -> bool {
        if self.compressor.is_none() {
            self.compressor = Arc::clone(&self.slots.0.compressors).try_acquire_owned().ok();
        }
        self.compressor.is_some()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.permit.is_none() {
            return;
        }
        let mut holders = self.slots.0.holders();
        if let Some(at) = holders.iter().position(|activity| Arc::ptr_eq(activity, self.request.activity())) {
            holders.swap_remove(at);
        }
    }
}
