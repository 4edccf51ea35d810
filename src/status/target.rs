//! A target's state and recent outcomes, and the handle through which its prober writes them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Status;
use super::cluster::ClusterState;
use super::history::History;
use super::maintenance::Maintenance;
use super::record::Record;
use super::sentinel::SentinelState;
use crate::lock::lock;
use crate::probe::{Failure, Outcome, PhaseTimes, ServerInfo};
use crate::target::{Target, TargetName};

/// The number of outcomes kept per target.
pub(super) const RECENT: usize = 10;

/// The number of failures kept per target, independent of later successes.
const FAILURES: usize = 20;

#[derive(Debug)]
pub(super) struct TargetEntry {
    pub(super) target: Arc<Target>,
    pub(super) endpoint: Arc<str>,
    /// Whether readiness waits for its first outcome: true for the targets of the initial configuration.
    pub(super) awaited: bool,
    pub(super) state: Mutex<TargetState>,
}

#[derive(Clone, Debug)]
pub(super) struct TargetState {
    pub(super) verdict: Verdict,
    pub(super) since: SystemTime,
    pub(super) connection: ConnectionState,
    pub(super) connection_info: Option<Box<ConnectionInfo>>,
    pub(super) certificate_expiry: Option<SystemTime>,
    pub(super) last_success: Option<SystemTime>,
    pub(super) new_connection: Option<Arc<NewConnection>>,
    /// What the server said of itself; `None` before the first reply.
    pub(super) server: Option<Arc<ServerInfo>>,
    /// `None` for a target that is no cluster.
    pub(super) cluster: Option<Box<ClusterState>>,
    /// `None` where the agent does not ask for notices.
    pub(super) maintenance: Option<Box<Maintenance>>,
    /// `None` for a target without sentinels.
    pub(super) sentinel: Option<Box<SentinelState>>,
    /// Newest last. A failure may be in both lists, and is only in the second if no tick waited for it.
    pub(super) recent: VecDeque<Record>,
    pub(super) past: Past,
}

/// What outlives a change of the target's settings.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) history: Box<History>,
    /// Newest last.
    pub(super) failures: VecDeque<Record>,
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
    /// Creates the past of a target that is probed every `interval` from now on.
    pub(super) fn new(interval: Duration, now: Instant, at: SystemTime) -> Self {
        Self { history: Box::new(History::new(interval, now, at)), failures: VecDeque::new() }
    }

    fn failed(&mut self, record: Record) {
        push(&mut self.failures, FAILURES, record);
    }
}

/// The last probe of a new connection.
#[derive(Debug)]
pub(super) struct NewConnection {
    pub(super) at: SystemTime,
    pub(super) result: Result<(), Failure>,
    pub(super) failed_in_a_row: u32,
    pub(super) phases: PhaseTimes,
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

impl TargetEntry {
    pub(super) fn new(
        target: Arc<Target>,
        endpoint: Arc<str>,
        awaited: bool,
        since: SystemTime,
        past: Past,
    ) -> Self {
        let state = TargetState {
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
        };
        Self { target, endpoint, awaited, state: Mutex::new(state) }
    }

    pub(super) fn name(&self) -> &TargetName {
        &self.target.name
    }

    pub(super) fn is_unknown(&self) -> bool {
        lock(&self.state).verdict == Verdict::Unknown
    }
}

/// Writes the entry of one target, and removes it when dropped.
#[derive(Debug)]
pub struct TargetStatus {
    pub(super) status: Status,
    pub(super) entry: Arc<TargetEntry>,
}

impl TargetStatus {
    /// Records the outcome at `at` of `ticks` ticks, the newest of which was noticed `delay` late, and whether the target is
    /// up.
    pub fn record(&self, outcome: &Outcome, ticks: u64, delay: Duration, is_up: bool, at: SystemTime) {
        let record = Record::new(outcome, delay, at);
        let mut state = lock(&self.entry.state);
        state.decide(is_up, at);
        state.past.history.settled(ticks, outcome, delay, Instant::now(), at);
        if outcome.result.is_err() {
            state.past.failed(record.clone());
        }
        push(&mut state.recent, RECENT, record);
    }

    /// Records the failure at `at` of an attempt that belongs to no tick.
    pub fn failed(&self, outcome: &Outcome, at: SystemTime) {
        let record = Record::new(outcome, Duration::ZERO, at);
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

/// Adds `record` to `records`, of which the oldest makes room if there are `limit` of them.
fn push(records: &mut VecDeque<Record>, limit: usize, record: Record) {
    if records.len() == limit {
        records.pop_front();
    }
    records.push_back(record);
}
