//! What the agent knows right now: each target's state and recent outcomes, each identity's token, and whether the
//! agent is ready. Kept in memory for `/status`, `/readyz` and `/`; what must last is in [`crate::metrics`].
//!
//! Probers and refresh loops write through handles, which take their entry with them when they are dropped. How it
//! looks as JSON is in `document.rs`, and one outcome in `outcome.rs`.

mod document;
mod outcome;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use self::document::{ErrorDocument, IdentityDocument, StatusDocument, TargetDocument};
pub use self::outcome::{
    ClientDocument, ClientsDocument, FailureDocument, OutcomeDocument, PhaseDocument, StepDocument,
};
use crate::clock::Clock;
use crate::probe::Outcome;
use crate::target::{Target, TargetName};

/// How many outcomes of a target are kept.
const RECENT: usize = 10;

/// How many failures of a target are kept, however many successes came after them.
const FAILURES: usize = 5;

/// What the agent knows right now. Clones share it.
#[derive(Clone, Debug)]
pub struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lifecycle: Lifecycle,
    targets: BTreeMap<TargetName, Arc<TargetEntry>>,
    identities: BTreeMap<Arc<str>, Arc<IdentityEntry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    Starting,
    Running,
    Draining,
}

#[derive(Debug)]
struct TargetEntry {
    name: TargetName,
    endpoint: String,
    /// Readiness waits for its first outcome: it belongs to the configuration that the agent was started with.
    awaited: bool,
    state: Mutex<TargetState>,
}

#[derive(Clone, Debug)]
struct TargetState {
    verdict: Verdict,
    since: SystemTime,
    connection: ConnectionState,
    last_success: Option<SystemTime>,
    /// Newest last. A failure may stand in both lists.
    recent: VecDeque<Arc<Record>>,
    failures: VecDeque<Arc<Record>>,
}

/// One outcome and when it was.
#[derive(Debug)]
struct Record {
    at: SystemTime,
    /// How long after it was due its tick began.
    delay: Duration,
    outcome: Outcome,
}

/// What the last probe of a target said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It succeeded.
    Up,
    /// It failed.
    Down,
    /// There was none yet.
    Unknown,
}

impl Verdict {
    /// The word for it on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// How a target's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// There is none.
    Disconnected,
    /// It is being opened.
    Connecting,
    /// It is open and signed in.
    Connected,
}

/// Whether the agent is ready, and if not why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Every target that the agent was started with has an outcome.
    Ready,
    /// The first configuration is not in use yet.
    Starting,
    /// So many targets have no outcome yet.
    Waiting(usize),
    /// The agent is shutting down.
    Draining,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Starting => f.write_str("not ready: starting"),
            Self::Waiting(targets) => write!(f, "not ready: targets without an outcome yet: {targets}"),
            Self::Draining => f.write_str("not ready: shutting down"),
        }
    }
}

impl Status {
    /// Of an agent that starts now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state =
            State { lifecycle: Lifecycle::Starting, targets: BTreeMap::new(), identities: BTreeMap::new() };
        Self(Arc::new(Inner { clock, state: Mutex::new(state) }))
    }

    /// The entry of `target`. It takes the place of an older one of the same name, whose handle then writes into
    /// the void.
    #[must_use]
    pub fn target(&self, target: &Target) -> TargetStatus {
        let since = self.0.clock.now();
        let mut state = self.lock();
        let entry = Arc::new(TargetEntry {
            name: target.name.clone(),
            endpoint: target.endpoint.to_string(),
            awaited: state.lifecycle == Lifecycle::Starting,
            state: Mutex::new(TargetState {
                verdict: Verdict::Unknown,
                since,
                connection: ConnectionState::Disconnected,
                last_success: None,
                recent: VecDeque::with_capacity(RECENT),
                failures: VecDeque::new(),
            }),
        });
        state.targets.insert(target.name.clone(), entry.clone());
        TargetStatus { status: self.clone(), entry }
    }

    /// The entry of the identity with this label, likewise.
    #[must_use]
    pub fn identity(&self, label: &str) -> IdentityStatus {
        let entry = Arc::new(IdentityEntry { label: label.into(), state: Mutex::default() });
        self.lock().identities.insert(entry.label.clone(), entry.clone());
        IdentityStatus { status: self.clone(), entry }
    }

    /// The first configuration is in use: every target of it has its entry. Readiness waits for their outcomes,
    /// and not for those of targets that a reload brings later: a new target is no reason to take a running agent
    /// (and the pod around it) out of service.
    pub fn started(&self) {
        let mut state = self.lock();
        if state.lifecycle == Lifecycle::Starting {
            state.lifecycle = Lifecycle::Running;
        }
    }

    /// The agent shuts down, and is not ready any more.
    pub fn drain(&self) {
        self.lock().lifecycle = Lifecycle::Draining;
    }

    /// Whether the agent is ready. Says nothing about the health of any cache.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let state = self.lock();
        match state.lifecycle {
            Lifecycle::Starting => Readiness::Starting,
            Lifecycle::Draining => Readiness::Draining,
            Lifecycle::Running => {
                match state.targets.values().filter(|entry| entry.awaited && entry.is_unknown()).count() {
                    0 => Readiness::Ready,
                    waiting => Readiness::Waiting(waiting),
                }
            }
        }
    }

    /// Whether the agent is ready; see [`Self::readiness`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness() == Readiness::Ready
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl TargetEntry {
    fn is_unknown(&self) -> bool {
        lock(&self.state).verdict == Verdict::Unknown
    }
}

/// Writes the entry of one target, and removes it when dropped.
#[derive(Debug)]
pub struct TargetStatus {
    status: Status,
    entry: Arc<TargetEntry>,
}

impl TargetStatus {
    /// A tick that began `delay` after it was due had its outcome at `at`.
    pub fn record(&self, outcome: &Outcome, delay: Duration, at: SystemTime) {
        let record = Arc::new(Record { at, delay, outcome: outcome.clone() });
        let mut state = lock(&self.entry.state);
        let verdict = if outcome.result.is_ok() { Verdict::Up } else { Verdict::Down };
        if state.verdict != verdict {
            state.verdict = verdict;
            state.since = at;
        }
        match verdict {
            Verdict::Up => state.last_success = Some(at),
            Verdict::Down | Verdict::Unknown => push(&mut state.failures, record.clone(), FAILURES),
        }
        push(&mut state.recent, record, RECENT);
    }

    /// The connection now stands so.
    pub fn connection(&self, connection: ConnectionState) {
        lock(&self.entry.state).connection = connection;
    }
}

impl Drop for TargetStatus {
    fn drop(&mut self) {
        let mut state = self.status.lock();
        // A successor of the same name stays.
        if state.targets.get(&self.entry.name).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            state.targets.remove(&self.entry.name);
        }
    }
}

#[derive(Debug)]
struct IdentityEntry {
    label: Arc<str>,
    state: Mutex<IdentityState>,
}

#[derive(Clone, Debug, Default)]
struct IdentityState {
    token: Option<TokenState>,
    /// How long the last request took.
    took: Option<Duration>,
    last_error: Option<(SystemTime, Box<str>)>,
}

#[derive(Clone, Debug)]
struct TokenState {
    obtained_at: SystemTime,
    expires_at: SystemTime,
    object_id: Option<Arc<str>>,
}

/// Writes the entry of one identity, and removes it when dropped.
#[derive(Debug)]
pub struct IdentityStatus {
    status: Status,
    entry: Arc<IdentityEntry>,
}

impl IdentityStatus {
    /// Records a new token, valid until `expires_at`, that the identity took `took` to bring.
    pub fn token(&self, took: Duration, expires_at: SystemTime, object_id: Option<Arc<str>>) {
        let obtained_at = self.status.0.clock.now();
        let mut state = lock(&self.entry.state);
        state.token = Some(TokenState { obtained_at, expires_at, object_id });
        state.took = Some(took);
    }

    /// Records a request that failed after `took`. `detail` must be free of secrets. It remains visible after later
    /// successes, with its time.
    pub fn failed(&self, took: Duration, detail: &str) {
        let at = self.status.0.clock.now();
        let mut state = lock(&self.entry.state);
        state.last_error = Some((at, detail.into()));
        state.took = Some(took);
    }
}

impl Drop for IdentityStatus {
    fn drop(&mut self) {
        let mut state = self.status.lock();
        if state.identities.get(&self.entry.label).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            state.identities.remove(&self.entry.label);
        }
    }
}

fn push(records: &mut VecDeque<Arc<Record>>, record: Arc<Record>, limit: usize) {
    if records.len() == limit {
        records.pop_front();
    }
    records.push_back(record);
}

/// The states are whole at every moment, also where a holder of the lock panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
