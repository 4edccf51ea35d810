//! The status: each target's state and recent outcomes, each identity's token, and the agent's readiness. Kept in
//! memory for `/status`, `/readyz` and `/`; [`crate::metrics`] is for monitoring over time.
//!
//! Probers and refresh loops write through handles, which remove their entry when they are dropped: those of `target.rs`
//! and `identity.rs`. `document.rs` defines the JSON of the status, which `text.rs` writes, `outcome.rs` that of one
//! outcome, which `record.rs` keeps, and `cluster.rs` what belongs to a cluster. `history.rs` is what people see of a target's past. `filter.rs`
//! selects targets.

mod cluster;
mod document;
mod filter;
mod history;
mod identity;
mod maintenance;
mod outcome;
mod overview;
mod record;
mod schema;
mod sentinel;
mod target;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use self::cluster::{
    ClusterCounts, ClusterDocument, ClusterNode, NodeDocument, NodeFailureDocument, Watch,
};
pub use self::document::{
    ErrorDocument, IdentityDocument, ServerDocument, StatusDocument, TargetDocument, TargetFileErrorDocument,
};
pub use self::filter::{Filter, StateFilter, UnknownState};
pub use self::history::{Availability, Cell, OUTCOMES, Quantiles, Summary};
use self::identity::IdentityEntry;
pub use self::identity::IdentityStatus;
pub use self::maintenance::{MaintenanceDocument, MaintenanceEventDocument, NOT_REQUESTED, NoticeState};
pub use self::outcome::{
    ClientDocument, ClientsDocument, FailureDocument, NewConnectionDocument, OutcomeDocument, PhaseDocument,
    StepDocument,
};
pub use self::overview::{Brief, Details, Overview};
use self::record::Record;
pub use self::schema::SCHEMA;
#[cfg(feature = "schema")]
pub use self::schema::schema;
pub use self::sentinel::{Quorum, SentinelDocument, SentinelStatus};
pub use self::target::{ConnectionInfo, ConnectionState, TargetStatus, Verdict};
use self::target::{NewConnection, Past, TargetEntry, TargetState};
use crate::clock::Clock;
use crate::lock::lock;
use crate::target::{Target, TargetName};

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
    /// Likewise of each file with targets, by its path.
    target_file_errors: BTreeMap<Box<str>, (SystemTime, Box<str>)>,
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

/// What `/readyz` says while the agent waits for its first valid configuration. The health check knows such an agent by it.
pub(crate) const WAITING: &str = "ready: waiting for a valid configuration";

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Unconfigured => f.write_str(WAITING),
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
            target_file_errors: BTreeMap::new(),
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
            _ => Past::new(target.interval, now, since),
        };
        let awaited = state.lifecycle == Lifecycle::Starting;
        let entry = Arc::new(TargetEntry::new(target, endpoint, awaited, since, past));
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

    /// Records what is wrong with the file with targets at this path; `None` if it is valid or not used any more. `detail` must
    /// be free of secrets.
    pub fn target_file(&self, file: &str, detail: Option<&str>) {
        let at = self.0.clock.now();
        let errors = &mut self.lock().target_file_errors;
        match detail {
            Some(detail) if errors.get(file).is_none_or(|(_, last)| **last != *detail) => {
                errors.insert(file.into(), (at, detail.into()));
            }
            Some(_) => {}
            None => drop(errors.remove(file)),
        }
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

    /// Returns why the last configuration and the last web configuration were rejected, if they were and that may be shown.
    #[must_use]
    pub fn rejections(&self) -> [Option<Box<str>>; 2] {
        let state = self.lock();
        [&state.config_error, &state.web_config_error]
            .map(|error| error.as_ref().map(|(_, detail)| detail.clone()))
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

#[cfg(test)]
mod tests;
