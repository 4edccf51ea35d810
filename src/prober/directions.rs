//! Where the coordinator sends a shard's link: to the node that has the shard's slots now.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::doubled;
use crate::lock::lock;
use crate::target::Endpoint;
use crate::topology::SlotSet;

/// How long a redirection is believed although the topology says otherwise: twice as long after each that has served, up to
/// the longest time, so that two nodes that contradict each other for good do not send the link back and forth.
const BELIEVED: Duration = Duration::from_secs(1);
const LONGEST_BELIEVED: Duration = Duration::from_secs(60);

/// The newest direction of one link.
#[derive(Debug, Default)]
pub(super) struct Directions {
    newest: Mutex<Option<Direction>>,
    given: Notify,
    /// Whether the name of the endpoint leads to another address than before.
    is_renewed: AtomicBool,
    /// Where a redirection has led the link since.
    detour: Mutex<Option<Detour>>,
    /// How many redirections in a row have served although the topology said otherwise.
    contradictions: AtomicU32,
}

/// Where a redirection has led a link. Nodes know of a failover at different times, so it is believed for a moment.
#[derive(Debug)]
struct Detour {
    to: Endpoint,
    since: Instant,
    has_failed: bool,
}

/// Whether a link is where the topology says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Right,
    /// A redirection led it elsewhere a moment ago: the topology may not be as new.
    Ahead,
    /// A redirection led it elsewhere, and the topology does not say so.
    Astray,
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
        *self.detour() = None;
        *self.lock() = Some(direction);
        self.given.notify_one();
    }

    /// Gives the same direction anew, because the name of the endpoint leads to another address than before. The link opens
    /// a connection there, which takes over.
    pub(super) fn renew(&self, direction: Direction) {
        self.is_renewed.store(true, Ordering::Relaxed);
        self.give(direction);
    }

    /// Takes whether the direction was given anew.
    pub(super) fn take_renewal(&self) -> bool {
        self.is_renewed.swap(false, Ordering::Relaxed)
    }

    /// A redirection leads the link to `to`.
    pub(super) fn redirected(&self, to: Endpoint) {
        *self.detour() = Some(Detour { to, since: Instant::now(), has_failed: false });
    }

    /// The link has failed where it is now.
    pub(super) fn failed(&self) {
        if let Some(detour) = &mut *self.detour() {
            detour.has_failed = true;
        }
    }

    /// Returns whether the link is at `endpoint`, where the topology says at `now` that it should be.
    pub(super) fn place(&self, endpoint: &Endpoint, now: Instant) -> Place {
        let mut detour = self.detour();
        match &*detour {
            Some(it) if it.to == *endpoint => {
                *detour = None;
                self.contradictions.store(0, Ordering::Relaxed);
                Place::Right
            }
            Some(it) if it.has_failed => Place::Astray,
            Some(it) if it.since + self.believed() <= now => {
                self.contradictions.fetch_add(1, Ordering::Relaxed);
                Place::Astray
            }
            Some(_) => Place::Ahead,
            None => Place::Right,
        }
    }

    /// Returns how long a redirection is believed.
    fn believed(&self) -> Duration {
        doubled(BELIEVED, self.contradictions.load(Ordering::Relaxed), LONGEST_BELIEVED)
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

    fn detour(&self) -> MutexGuard<'_, Option<Detour>> {
        lock(&self.detour)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Direction>> {
        lock(&self.newest)
    }
}
