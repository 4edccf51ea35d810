//! The status: each target's state and recent outcomes, each identity's token, and the agent's readiness. Kept in
//! memory for `/status`, `/readyz` and `/`; [`crate::metrics`] is for monitoring over time.
//!
//! Probers and refresh loops write through handles, which remove their entry when they are dropped. `document.rs` defines
//! the JSON of the status, `outcome.rs` that of one outcome, and `cluster.rs` what belongs to a cluster. `history.rs` is what
//! people see of a target's past. `filter.rs` selects targets.

mod cluster;
mod document;
mod filter;
mod history;
mod maintenance;
mod outcome;
mod overview;
mod schema;
mod sentinel;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use self::cluster::ClusterState;
pub use self::cluster::{
    ClusterCounts, ClusterDocument, ClusterNode, NodeDocument, NodeFailureDocument, Watch,
};
pub use self::document::{ErrorDocument, IdentityDocument, ServerDocument, StatusDocument, TargetDocument};
pub use self::filter::{Filter, StateFilter, UnknownState};
use self::history::History;
pub use self::history::{Availability, Cell, OUTCOMES, Quantiles, Summary};
pub use self::maintenance::{MaintenanceDocument, MaintenanceEventDocument, NOT_REQUESTED, NoticeState};
pub use self::outcome::{
    ClientDocument, ClientsDocument, FailureDocument, NewConnectionDocument, OutcomeDocument, PhaseDocument,
    StepDocument,
};
pub use self::overview::{Brief, Details, Overview};
pub use self::schema::SCHEMA;
#[cfg(feature = "schema")]
pub use self::schema::schema;
pub use self::sentinel::{Quorum, SentinelDocument, SentinelStatus};
use crate::clock::Clock;
use crate::identity::Token;
use crate::lock::lock;
use crate::probe::{Failure, Outcome, PhaseTimes, ServerInfo};
use crate::target::{Target, TargetName};

/// The number of outcomes kept per target.
const RECENT: usize = 10;

/// The number of failures kept per target, independent of later successes.
const FAILURES: usize = 20;

/// How long readiness waits for first outcomes: a target that never answers must not keep the others out of service.
const PATIENCE: Duration = Duration::from_secs(10);

/// The status of the agent. Clones share it.
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
    /// When and why the last configuration was rejected, unless one was accepted since.
    config_error: Option<(SystemTime, Box<str>)>,
    /// Likewise of the web configuration.
    web_config_error: Option<(SystemTime, Box<str>)>,
    targets: BTreeMap<TargetName, Arc<TargetEntry>>,
    /// The endpoint and the past of targets that a reload has removed. Those that it adds again take theirs back.
    past: BTreeMap<TargetName, (Arc<str>, Past)>,
    identities: BTreeMap<Arc<str>, Arc<IdentityEntry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    Starting,
    /// For a valid configuration.
    Waiting,
    Running {
        since: Instant,
    },
    Draining,
}

#[derive(Debug)]
struct TargetEntry {
    target: Arc<Target>,
    endpoint: Arc<str>,
    /// Whether readiness waits for its first outcome: true for the targets of the initial configuration.
    awaited: bool,
    state: Mutex<TargetState>,
}

#[derive(Clone, Debug)]
struct TargetState {
    verdict: Verdict,
    since: SystemTime,
    connection: ConnectionState,
    connection_info: Option<Box<ConnectionInfo>>,
    certificate_expiry: Option<SystemTime>,
    last_success: Option<SystemTime>,
    new_connection: Option<Arc<NewConnection>>,
    /// What the server said of itself; `None` before the first reply.
    server: Option<Arc<ServerInfo>>,
    /// `None` for a target that is no cluster.
    cluster: Option<Box<ClusterState>>,
    /// `None` where the agent does not ask for notices.
    maintenance: Option<Box<maintenance::Maintenance>>,
    /// `None` for a target without sentinels.
    sentinel: Option<Box<sentinel::SentinelState>>,
    /// Newest last. A failure may be in both lists, and is only in the second if no tick waited for it.
    recent: VecDeque<Arc<Record>>,
    past: Past,
}

/// What outlives a change of the target's settings.
#[derive(Clone, Debug)]
struct Past {
    history: Box<History>,
    /// Newest last.
    failures: VecDeque<Arc<Record>>,
}

impl TargetState {
    fn decide(&mut self, is_up: bool, at: SystemTime) {
        let verdict = if is_up { Verdict::Up } else { Verdict::Down };
        if self.verdict != verdict {
            self.verdict = verdict;
            self.since = at;
        }
        if is_up {
            self.last_success = Some(at);
        }
    }
}

impl Past {
    fn failed(&mut self, record: Arc<Record>) {
        make_room(&mut self.failures, FAILURES);
        self.failures.push_back(record);
    }
}

/// The last probe of a new connection.
#[derive(Debug)]
struct NewConnection {
    at: SystemTime,
    result: Result<(), Failure>,
    failed_in_a_row: u32,
    phases: PhaseTimes,
}

/// One outcome and its time.
#[derive(Debug)]
struct Record {
    at: SystemTime,
    /// How late its tick began.
    delay: Duration,
    outcome: Outcome,
}

/// The result of the last probe of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The last probe succeeded.
    Up,
    /// The last probe failed.
    Down,
    /// No probe has completed yet.
    Unknown,
}

impl Verdict {
    /// Whether the last probe succeeded.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Returns the word that the pages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of a target's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// There is no connection.
    Disconnected,
    /// The connection is being opened.
    Connecting,
    /// The connection is open and signed in.
    Connected,
}

/// An open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The address of the cache.
    pub address: Option<SocketAddr>,
    /// The version of TLS, such as `1.3`. `None` is plaintext.
    pub tls_version: Option<&'static str>,
    /// The user that is signed in. `None` without a sign-in.
    pub username: Option<Arc<str>>,
}

/// Whether the agent is ready, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Every target that the agent was started with has an outcome, or has had its time for one.
    Ready,
    /// There is no valid configuration yet, and that is no reason to take the pod out of service.
    Unconfigured,
    /// The initial configuration is not applied yet.
    Starting,
    /// This number of targets have no outcome yet.
    Waiting(usize),
    /// The agent is shutting down.
    Draining,
}

impl Readiness {
    /// Whether it is one of those that count as ready.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Unconfigured)
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Unconfigured => f.write_str("ready: waiting for a valid configuration"),
            Self::Starting => f.write_str("not ready: starting"),
            Self::Waiting(targets) => write!(f, "not ready: targets without an outcome yet: {targets}"),
            Self::Draining => f.write_str("not ready: shutting down"),
        }
    }
}

impl Status {
    /// Creates the status of an agent that is starting.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state = State {
            lifecycle: Lifecycle::Starting,
            config_error: None,
            web_config_error: None,
            targets: BTreeMap::new(),
            past: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        Self(Arc::new(Inner { clock, state: Mutex::new(state) }))
    }

    /// Adds an entry for `target` and returns its handle. The entry replaces an older one of the same name, whose handle
    /// then has no effect. A target whose entry was removed since [`Self::started`] keeps its history, unless it is another
    /// server.
    #[must_use]
    pub fn target(&self, target: &(impl Clone + Into<Arc<Target>>)) -> TargetStatus {
        let target: Arc<Target> = target.clone().into();
        let (since, now) = (self.0.clock.now(), Instant::now());
        let endpoint: Arc<str> = target.server.to_string().into();
        let mut state = self.lock();
        let past = match state.past.remove(&target.name) {
            Some((of, mut past)) if of == endpoint => {
                past.history.resume(target.interval, now, since);
                past
            }
            _ => Past {
                history: Box::new(History::new(target.interval, now, since)),
                failures: VecDeque::new(),
            },
        };
        let entry = Arc::new(TargetEntry {
            target: Arc::clone(&target),
            endpoint,
            awaited: state.lifecycle == Lifecycle::Starting,
            state: Mutex::new(TargetState {
                verdict: Verdict::Unknown,
                since,
                connection: ConnectionState::Disconnected,
                connection_info: None,
                certificate_expiry: None,
                last_success: None,
                new_connection: None,
                server: None,
                cluster: None,
                maintenance: None,
                sentinel: None,
                recent: VecDeque::with_capacity(RECENT),
                past,
            }),
        });
        state.targets.insert(entry.name().clone(), entry.clone());
        TargetStatus { status: self.clone(), entry }
    }

    /// Adds an entry for the identity with this label, likewise.
    #[must_use]
    pub fn identity(&self, label: &str) -> IdentityStatus {
        let entry = Arc::new(IdentityEntry { label: label.into(), state: Mutex::default() });
        self.lock().identities.insert(entry.label.clone(), entry.clone());
        IdentityStatus { status: self.clone(), entry }
    }

    /// Records that a configuration is applied and each of its targets has an entry. Readiness waits for the
    /// outcomes of the initial targets, but not for targets that a reload adds, nor for those of an agent that waited for a
    /// configuration: a new target must not make a ready agent (and its pod) unready.
    pub fn started(&self) {
        let mut state = self.lock();
        // The rest is not configured any more.
        state.past.clear();
        if matches!(state.lifecycle, Lifecycle::Starting | Lifecycle::Waiting) {
            state.lifecycle = Lifecycle::Running { since: Instant::now() };
        }
    }

    /// Records that a configuration was rejected. An agent that has none yet waits for a valid one. `detail` must be free of
    /// secrets; without it, the status does not say why.
    pub fn config_rejected(&self, detail: Option<&str>) {
        let at = self.0.clock.now();
        let mut state = self.lock();
        state.config_error = detail.map(|detail| (at, detail.into()));
        if state.lifecycle == Lifecycle::Starting {
            state.lifecycle = Lifecycle::Waiting;
        }
    }

    /// Records that a configuration is in use, and none was rejected since.
    pub fn config_accepted(&self) {
        self.lock().config_error = None;
    }

    /// Records that a changed web configuration was rejected, and the previous one stays in use. `detail` must be free of
    /// secrets.
    pub fn web_config_rejected(&self, detail: &str) {
        let at = self.0.clock.now();
        self.lock().web_config_error = Some((at, detail.into()));
    }

    /// Records that a web configuration is in use, and none was rejected since.
    pub fn web_config_accepted(&self) {
        self.lock().web_config_error = None;
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.clock.now()
    }

    /// Returns the names of the targets, in order.
    #[must_use]
    pub fn names(&self) -> Vec<TargetName> {
        self.lock().targets.keys().cloned().collect()
    }

    /// Returns why the last configuration was rejected, if it was and that may be shown.
    #[must_use]
    pub fn config_error(&self) -> Option<Box<str>> {
        self.lock().config_error.as_ref().map(|(_, detail)| detail.clone())
    }

    /// Whether the agent waits for its first valid configuration.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.lock().lifecycle == Lifecycle::Waiting
    }

    /// Records that the agent is shutting down, so it is not ready any more.
    pub fn drain(&self) {
        self.lock().lifecycle = Lifecycle::Draining;
    }

    /// Returns whether the agent is ready, independent of the health of the caches.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let state = self.lock();
        match state.lifecycle {
            Lifecycle::Starting => Readiness::Starting,
            Lifecycle::Waiting => Readiness::Unconfigured,
            Lifecycle::Draining => Readiness::Draining,
            Lifecycle::Running { since } if since.elapsed() >= PATIENCE => Readiness::Ready,
            Lifecycle::Running { .. } => {
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
        self.readiness().is_ready()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl TargetEntry {
    fn name(&self) -> &TargetName {
        &self.target.name
    }

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
    /// Records the outcome at `at` of `ticks` ticks, the newest of which was noticed `delay` late, and whether the target is
    /// up.
    pub fn record(&self, outcome: &Outcome, ticks: u64, delay: Duration, is_up: bool, at: SystemTime) {
        let record = Record { at, delay, outcome: outcome.clone() };
        let mut state = lock(&self.entry.state);
        state.decide(is_up, at);
        state.past.history.settled(ticks, outcome, delay, Instant::now(), at);
        let oldest = make_room(&mut state.recent, RECENT);
        let record = in_place_of(oldest, record);
        if outcome.result.is_err() {
            state.past.failed(Arc::clone(&record));
        }
        state.recent.push_back(record);
    }

    /// Records the failure at `at` of an attempt that belongs to no tick.
    pub fn failed(&self, outcome: &Outcome, at: SystemTime) {
        let record = Arc::new(Record { at, delay: Duration::ZERO, outcome: outcome.clone() });
        lock(&self.entry.state).past.failed(record);
    }

    /// Records that the target was unavailable for this time, of which no part was recorded before.
    pub fn unavailable(&self, from: Instant, until: Instant, at: SystemTime) {
        lock(&self.entry.state).past.history.unavailable(from, until, Instant::now(), at);
    }

    /// Records that the target is up or down since `at`, with or without a tick.
    pub fn verdict(&self, is_up: bool, at: SystemTime) {
        lock(&self.entry.state).decide(is_up, at);
    }

    /// Records the result at `at` of a probe of a new connection, how many of these probes have failed in a row, and the
    /// phases that completed.
    pub fn new_connection(
        &self,
        result: Result<(), Failure>,
        failed_in_a_row: u32,
        phases: PhaseTimes,
        at: SystemTime,
    ) {
        let probed = NewConnection { at, result, failed_in_a_row, phases };
        lock(&self.entry.state).new_connection = Some(Arc::new(probed));
    }

    /// Records what the server says of itself.
    pub fn server(&self, server: &ServerInfo) {
        lock(&self.entry.state).server = Some(Arc::new(server.clone()));
    }

    /// Records the state of the connection.
    pub fn connection(&self, connection: ConnectionState) {
        lock(&self.entry.state).connection = connection;
    }

    /// Records what is known of the open connection; of several, the first. `None` if there is none.
    pub fn connection_info(&self, info: Option<&ConnectionInfo>) {
        lock(&self.entry.state).connection_info = info.map(|info| Box::new(info.clone()));
    }

    /// Records the expiry of the certificate that the server has shown; of several, the earliest.
    pub fn certificate_expiry(&self, expiry: SystemTime) {
        lock(&self.entry.state).certificate_expiry = Some(expiry);
    }
}

impl Drop for TargetStatus {
    fn drop(&mut self) {
        let mut state = self.status.lock();
        // A newer entry of the same name stays.
        let name = self.entry.name();
        if state.targets.get(name).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            state.targets.remove(name);
            let past = lock(&self.entry.state).past.clone();
            state.past.insert(name.clone(), (Arc::clone(&self.entry.endpoint), past));
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
    token: Option<CurrentToken>,
    /// How long the last request took.
    took: Option<Duration>,
    last_error: Option<(SystemTime, Box<str>)>,
}

#[derive(Clone, Debug)]
struct CurrentToken {
    obtained_at: SystemTime,
    expires_at: SystemTime,
    object_id: Option<Arc<str>>,
    client_id: Option<Arc<str>>,
    resource_id: Option<Arc<str>>,
}

/// Writes the entry of one identity, and removes it when dropped.
#[derive(Debug)]
pub struct IdentityStatus {
    status: Status,
    entry: Arc<IdentityEntry>,
}

impl IdentityStatus {
    /// Records a new token. The request took `took`.
    pub fn token(&self, took: Duration, token: &Token) {
        let obtained_at = self.status.0.clock.now();
        let (object_id, (client_id, resource_id)) = (token.object_id.clone(), token.identity());
        let expires_at = token.expires_at;
        let mut state = lock(&self.entry.state);
        state.token = Some(CurrentToken { obtained_at, expires_at, object_id, client_id, resource_id });
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

/// Removes the oldest of `limit` records.
fn make_room(records: &mut VecDeque<Arc<Record>>, limit: usize) -> Option<Arc<Record>> {
    if records.len() == limit { records.pop_front() } else { None }
}

/// Puts `record` where the `oldest` was, unless somebody still reads that: a probe needs no new memory (see
/// `tests/allocations.rs`).
fn in_place_of(oldest: Option<Arc<Record>>, record: Record) -> Arc<Record> {
    if let Some(mut place) = oldest
        && let Some(oldest) = Arc::get_mut(&mut place)
    {
        *oldest = record;
        return place;
    }
    Arc::new(record)
}

#[cfg(test)]
mod tests;
