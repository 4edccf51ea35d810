//! The lookups that are under way: at most one per name and family. An attempt joins one that runs, because a lookup
//! cannot be cancelled and takes its time where a name server is dead.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::Family;
use super::lanes::{Lanes, Pace, SLOW};
use crate::error::is_local;
use crate::lock::lock;

/// How long a lookup waits for its turn if its name was not slow the last time.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is remembered how the last lookup of a name went: longer than the longest interval.
const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

/// What a lookup function returns. The ports do not matter.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up; clones share their lookups.
#[derive(Clone)]
pub(super) struct Lookups {
    lookup: Arc<dyn Fn(Arc<str>, Family) -> Lookup + Send + Sync>,
    lanes: Lanes,
    /// The last lookup of each name that is in use.
    last: Arc<Mutex<HashMap<Key, Pending>>>,
    /// When a lookup was last answered in time.
    answered: watch::Sender<Option<Instant>>,
}

type Key = (Arc<str>, Family);

/// The addresses of one family, or why there are none.
pub(super) type Resolution = Result<Arc<[SocketAddr]>, Unresolved>;

/// A lookup that failed.
#[derive(Clone, Debug)]
pub(super) struct Unresolved {
    /// Whether the agent's own limits are the cause.
    pub(super) is_local: bool,
    /// Whether the answer was that there is no address, so that trying again will not help.
    pub(super) is_answer: bool,
    /// The system's words.
    pub(super) detail: Arc<str>,
}

/// How far a lookup is.
#[derive(Clone, Debug)]
enum Progress {
    /// It waits for a place.
    Waiting,
    Running,
    Ended(Resolution, Pace),
}

/// The last lookup of a name in one family.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    progress: watch::Receiver<Progress>,
    /// What the lookup before it says.
    last: Pace,
    started: Instant,
}

impl Lookups {
    pub(super) fn new(lookup: impl Fn(Arc<str>, Family) -> Lookup + Send + Sync + 'static) -> Self {
        Self {
            lookup: Arc::new(lookup),
            lanes: Lanes::default(),
            last: Arc::default(),
            answered: watch::Sender::new(None),
        }
    }

    /// Joins the lookup of `host` in `family`, or starts one.
    pub(super) fn join_or_start(&self, host: &Arc<str>, family: Family) -> Pending {
        let mut known = lock(&self.last);
        let key = (Arc::clone(host), family);
        let now = Instant::now();
        let pace = match known.get(&key) {
            None => {
                // Names that are not used any more: targets come and go.
                known.retain(|_, pending| pending.is_running() || now - pending.started < REMEMBERED);
                Pace::Unknown
            }
            Some(pending) => match &*pending.progress.borrow() {
                Progress::Ended(_, pace) => *pace,
                Progress::Waiting | Progress::Running if pending.is_running() => return pending.clone(),
                // Its task is gone: it panicked.
                Progress::Waiting | Progress::Running => Pace::Slow,
            },
        };
        let (sender, receiver) = watch::channel(Progress::Waiting);
        let pending = Pending { progress: receiver, last: pace, started: now };
        // Detached on purpose: it must outlive the attempt that started it, and ends when the system answers.
        tokio::spawn(self.clone().run(key.clone(), pace, sender));
        known.insert(key, pending.clone());
        pending
    }

    /// How many names are remembered, once for each family.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        lock(&self.last).len()
    }

    /// Whether any lookup was answered in time since `since`.
    pub(super) fn any_answered_since(&self, since: Instant) -> bool {
        self.answered.borrow().is_some_and(|answered| answered >= since)
    }

    /// Runs one lookup in its lane.
    async fn run(self, (host, family): Key, last: Pace, progress: watch::Sender<Progress>) {
        let mut place = self.lanes.start(last).await;
        progress.send_replace(Progress::Running);
        let mut lookup = (self.lookup)(host, family);
        let (answer, new) = match timeout(SLOW, &mut lookup).await {
            Ok(answer) => (answer, Pace::Prompt),
            Err(_) if last == Pace::Slow => (lookup.await, Pace::Slow),
            Err(_) => {
                let answer = tokio::select! {
                    biased;
                    answer = &mut lookup => answer,
                    slow = self.lanes.slow_down() => {
                        place = slow;
                        lookup.await
                    }
                };
                (answer, Pace::Slow)
            }
        };
        drop(place);
        if new == Pace::Prompt {
            self.answered.send_replace(Some(Instant::now()));
        }
        let resolution = answer.map(Into::into).map_err(|error| Unresolved {
            is_local: is_local(&error),
            is_answer: error.kind() == io::ErrorKind::NotFound,
            detail: error.to_string().into(),
        });
        progress.send_replace(Progress::Ended(resolution, new));
    }
}

impl Pending {
    /// Whether its task is there: it waits, or is looking up.
    fn is_running(&self) -> bool {
        self.progress.has_changed().is_ok()
    }

    /// Waits until the lookup runs: for a name that was slow, as long as it takes.
    ///
    /// # Errors
    /// If it does not run in time because other lookups hang.
    pub(super) async fn begun(&mut self) -> Result<(), Elapsed> {
        let patience = if self.last == Pace::Slow { Duration::MAX } else { PATIENCE };
        let begun = self.progress.wait_for(|progress| !matches!(progress, Progress::Waiting));
        // A task that is gone does not run any more: its answer says so.
        timeout(patience, begun).await.map(drop)
    }

    /// Waits for the answer.
    pub(super) async fn answer(&mut self) -> Resolution {
        let ended = self.progress.wait_for(|progress| matches!(progress, Progress::Ended(..))).await;
        match ended.as_deref() {
            Ok(Progress::Ended(resolution, _)) => resolution.clone(),
            _ => Err(Unresolved {
                is_local: false,
                is_answer: false,
                detail: "the lookup was abandoned".into(),
            }),
        }
    }
}
