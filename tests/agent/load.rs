//! The delay that a busy machine adds, measured where it arises and while it does: no bound of a test then depends on
//! how fast the machine is.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::program::Running;

/// How often the clock of this process is looked at.
const BEAT: Duration = Duration::from_millis(10);
/// By how much a timer is late on an idle machine.
const PRECISION: Duration = Duration::from_millis(2);

/// The delay in this process, which contains the cache's front and the path to it.
pub(crate) struct Beats {
    late: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Beats {
    pub(crate) fn start() -> Self {
        let late = Arc::new(AtomicU64::new(0));
        let mut task = JoinSet::new();
        task.spawn(beat(Arc::clone(&late)));
        Self { late, _task: task }
    }

    /// Returns by how much timers were late so far.
    pub(crate) fn late(&self) -> Duration {
        Duration::from_nanos(self.late.load(Ordering::Relaxed))
    }
}

/// The delay in this process and in one agent.
pub(crate) struct Load<'a> {
    agent: &'a Running,
    beats: Beats,
}

impl<'a> Load<'a> {
    pub(crate) fn on(agent: &'a Running) -> Self {
        Self { agent, beats: Beats::start() }
    }

    /// Returns by how much timers of this process were late so far, and how long the agent waited for a processor.
    pub(crate) fn so_far(&self) -> Duration {
        self.beats.late() + self.agent.run_delay()
    }

    /// Waits for `happens`, for `limit` and what the load adds meanwhile. `None` if it takes longer.
    pub(crate) async fn within<T>(&self, limit: Duration, happens: impl Future<Output = T>) -> Option<T> {
        let (began, before) = (Instant::now(), self.so_far());
        let mut happens = pin!(happens);
        loop {
            let until = began + limit + self.since(before);
            match timeout_at(until, &mut happens).await {
                Ok(happened) => return Some(happened),
                Err(_) if began + limit + self.since(before) <= Instant::now() => return None,
                Err(_) => {}
            }
        }
    }

    /// Returns the delay since it was `before`.
    pub(crate) fn since(&self, before: Duration) -> Duration {
        self.so_far().saturating_sub(before)
    }
}

async fn beat(late: Arc<AtomicU64>) {
    loop {
        let due = Instant::now() + BEAT;
        sleep_until(due).await;
        let delay = due.elapsed().saturating_sub(PRECISION);
        late.fetch_add(delay.as_nanos().try_into().unwrap(), Ordering::Relaxed);
    }
}
