//! What a prober and its companion share: which connection is open, and a new one that is to replace it.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::opening::Opened;
use crate::lock::lock;

/// Hands a replacement from the companion to the prober.
#[derive(Debug)]
pub(super) struct Handover<S> {
    state: Mutex<State<S>>,
    offered: Notify,
}

#[derive(Debug)]
struct State<S> {
    open: Option<OpenConnection>,
    /// Whether it has ended because shards are watched instead. What is known of it stays.
    is_retired: bool,
    replacement: Option<Box<Opened<S>>>,
}

/// The connection that the prober has open, or is about to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenConnection {
    /// The address that it leads to. If the configured host has named another node, that of the host.
    pub(super) address: Option<SocketAddr>,
    /// When it was opened.
    pub(super) since: Instant,
}

impl<S> Default for Handover<S> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { open: None, is_retired: false, replacement: None }),
            offered: Notify::new(),
        }
    }
}

impl<S> Handover<S> {
    /// The prober opened or lost a connection. A replacement of another one is dropped.
    pub(super) fn changed(&self, open: Option<OpenConnection>) {
        *self.lock() = State { open, is_retired: false, replacement: None };
    }

    /// Returns the connection that the prober has open, or is about to take over.
    pub(super) fn open(&self) -> Option<OpenConnection> {
        let state = self.lock();
        state.open.filter(|_| !state.is_retired)
    }

    /// The connection ends, because shards are watched instead.
    pub(super) fn retire(&self) {
        let mut state = self.lock();
        (state.is_retired, state.replacement) = (true, None);
    }

    /// Returns the last connection to the configured host, if shards are watched instead.
    pub(super) fn retired(&self) -> Option<OpenConnection> {
        let state = self.lock();
        state.open.filter(|_| state.is_retired)
    }

    /// The host leads there now.
    pub(super) fn moved_to(&self, there: OpenConnection) {
        let mut state = self.lock();
        if state.is_retired {
            state.open = Some(there);
        }
    }

    /// Offers `opened` as the replacement of `open`. Drops it if that one is not open any more.
    pub(super) fn offer(&self, open: OpenConnection, opened: Box<Opened<S>>) {
        let mut state = self.lock();
        if state.open == Some(open) && !state.is_retired {
            let shown = opened.connection.shown();
            *state = State { open: Some(shown), is_retired: false, replacement: Some(opened) };
            self.offered.notify_one();
        }
    }

    /// Waits for a replacement of the open connection. Cancel safe.
    pub(super) async fn replacement(&self) -> Box<Opened<S>> {
        loop {
            let replacement = self.lock().replacement.take();
            match replacement {
                Some(opened) => return opened,
                None => self.offered.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        lock(&self.state)
    }
}
