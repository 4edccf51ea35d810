//! The replicas of one shard, as one: what their links find becomes the shard's series of the role `replica`.
//!
//! The links compose as those of a target do, in a [`Whole`] of their own, so that they never decide the target's verdict.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::written::{Behind, Expected, Written};
use crate::lock::lock;
use crate::probe::{Failure, Role};
use crate::prober::ledger::{Effect, Out};
use crate::prober::link_record::Series;
use crate::prober::whole::{Deciding, LinkId, Whole};
use crate::status::Watch;

/// What the links to the nodes of one shard share.
#[derive(Debug)]
pub(in crate::prober) struct Group {
    series: Series,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    whole: Whole,
    written: Written,
    /// For how long each replica that answers has lacked a write.
    behind: Vec<(LinkId, Duration)>,
    /// The replicas that have refused to be read since this was asked for, and how.
    denied: Vec<(LinkId, Failure)>,
}

impl Group {
    /// Creates the group of a shard that has these `series`.
    pub(in crate::prober) fn new(series: Series) -> Self {
        let (written, behind) = (Written::default(), Vec::new());
        Self { series, state: Mutex::new(State { whole: whole(), written, behind, denied: Vec::new() }) }
    }

    /// Lets `note` enter something in the whole of the replicas. What follows is counted.
    pub(in crate::prober) fn note<T>(&self, note: impl FnOnce(&mut Whole, Out<'_>) -> T) -> T {
        let mut state = self.lock();
        let noted = note(&mut state.whole, &mut |effect| self.count(&effect));
        let State { whole, behind, .. } = &mut *state;
        let before = behind.len();
        behind.retain(|(id, _)| whole.watch_of(*id) != Watch::Down);
        if behind.len() < before {
            self.show(behind);
        }
        noted
    }

    /// Whether all replicas are up, as far as that is known.
    pub(in crate::prober) fn verdict(&self) -> Option<bool> {
        self.lock().whole.verdict()
    }

    /// The link to the primary begins to write.
    pub(in crate::prober) fn writing(&self, key: &str, value: &str) {
        self.lock().written.begin(key, value);
    }

    /// The primary has taken what was written last.
    pub(in crate::prober) fn written(&self, at: Instant, expiry: Duration) {
        self.lock().written.taken(at, expiry);
    }

    /// Returns for how long the replica of link `id` has lacked a write, as far as that is known.
    pub(in crate::prober) fn staleness(&self, id: LinkId) -> Option<Duration> {
        self.lock().behind.iter().find(|(other, _)| *other == id).map(|(_, age)| *age)
    }

    /// Reading this replica is forbidden.
    pub(in crate::prober) fn denied(&self, id: LinkId, failure: Failure) {
        let denied = &mut self.lock().denied;
        denied.retain(|(other, _)| *other != id);
        denied.push((id, failure));
    }

    /// Takes which replicas may not be read, and why.
    pub(in crate::prober) fn take_denied(&self) -> Vec<(LinkId, Failure)> {
        std::mem::take(&mut self.lock().denied)
    }

    /// The link to a replica leaves.
    pub(super) fn leave(&self, id: LinkId, at: Instant) {
        {
            let behind = &mut self.lock().behind;
            behind.retain(|(other, _)| *other != id);
            self.show(behind);
        }
        self.note(|whole, out| whole.leave(id, at, out));
    }

    /// A replica is missing, or none is any more.
    pub(super) fn miss(&self, failure: Option<Failure>, at: Instant) {
        self.note(|whole, out| whole.uncover(failure, at, out));
    }

    /// There are no replicas any more.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        (state.whole, state.denied) = (whole(), Vec::new());
        state.behind.clear();
        if let Some(series) = &*self.series() {
            series.no_replicas();
        }
    }

    /// Shows how far the slowest replica is behind of those that answer.
    fn show(&self, behind: &[(LinkId, Duration)]) {
        if let Some(series) = &*self.series() {
            series.replica_staleness(behind.iter().map(|(_, age)| *age).max());
        }
    }

    fn count(&self, effect: &Effect) {
        let series = self.series();
        let Some(series) = &*series else { return };
        match effect {
            Effect::Settled { ticks, outcome } => {
                series.probe(Role::Replica, outcome.result.as_ref().map_or(Err(()), |()| Ok(())), *ticks);
            }
            Effect::Up { .. } => series.verdict(Role::Replica, true),
            Effect::Down(_) => series.verdict(Role::Replica, false),
            Effect::Unavailable(span) => series.unavailable(Role::Replica, span.length()),
            Effect::FailedBetweenTicks(_) | Effect::Lost(_) | Effect::Reopened(_) => {}
        }
    }

    /// Only taken after the state, never before it.
    fn series(&self) -> MutexGuard<'_, Option<crate::metrics::ShardMetrics>> {
        lock(&self.series)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn whole() -> Whole {
    let mut whole = Whole::default();
    whole.decide_by(Deciding::Shards, Instant::now(), &mut |_| {});
    whole
}

/// What one link reads of its replica.
#[derive(Debug)]
pub(in crate::prober) struct Reader {
    group: Arc<Group>,
    id: LinkId,
    behind: Behind,
}

impl Reader {
    pub(in crate::prober) fn new(group: Arc<Group>, id: LinkId) -> Self {
        Self { group, id, behind: Behind::default() }
    }

    /// Returns what the replica is expected to return at `at`. `None` if nothing was written yet.
    pub(in crate::prober) fn expected(&self, at: Instant) -> Option<Expected> {
        self.group.lock().written.expected(at)
    }

    /// The replica was asked at `at` and returned this `value`.
    pub(in crate::prober) fn returned(&mut self, value: Option<&str>, expected: &Expected, at: Instant) {
        let mut state = self.group.lock();
        let Some(age) = self.behind.returned(value, expected, &state.written, at) else { return };
        state.behind.retain(|(id, _)| *id != self.id);
        state.behind.push((self.id, age));
        self.group.show(&state.behind);
    }
}
