//! The JSON of `/status`. The names of the fields are an interface.
//!
//! Durations are in seconds. Lists have the newest entry first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::cluster::ClusterDocument;
use super::maintenance::MaintenanceDocument;
use super::outcome::{NewConnectionDocument, OutcomeDocument};
use super::sentinel::SentinelDocument;
use super::{ConnectionState, Filter, IdentityEntry, Record, Status, TargetEntry, TargetState, Verdict};
use crate::clock::Rfc3339;
use crate::lock::lock;
use crate::probe::ServerInfo;
use crate::target::TargetName;

/// The status at one moment.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusDocument {
    /// The agent's version.
    pub version: &'static str,
    /// The time of the status.
    pub time: Rfc3339,
    /// Whether the agent is ready.
    pub ready: bool,
    /// `ready`, or the reason why it is not.
    pub readiness: String,
    /// Why the last configuration was rejected. `None` if the last one is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_error: Option<ErrorDocument>,
    /// Why the last web configuration was rejected. `None` if the last one is in use, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_config_error: Option<ErrorDocument>,
    /// The invalid files with targets, by path. Each keeps the targets that it had when it was valid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_file_errors: Vec<TargetFileErrorDocument>,
    /// The targets, by name.
    pub targets: Vec<TargetDocument>,
    /// The identities, by label.
    pub identities: Vec<IdentityDocument>,
}

/// One target.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetDocument {
    /// The label `target`.
    pub target: String,
    /// Host and port.
    pub endpoint: String,
    /// The result of the last probe.
    pub state: Verdict,
    /// The start of this state.
    pub since: Rfc3339,
    /// The state of the connection.
    pub connection_state: ConnectionState,
    /// The time of the last success.
    pub last_success: Option<Rfc3339>,
    /// The last probe of a new connection. `None` before the first.
    pub new_connection: Option<NewConnectionDocument>,
    /// What the server says of itself. `None` before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerDocument>,
    /// The cluster. `None` for a target that is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterDocument>,
    /// What the sentinels say. `None` for a target without sentinels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<SentinelDocument>,
    /// What the cache has announced of maintenance. `None` where the agent does not ask for notices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceDocument>,
    /// The last outcomes.
    pub recent: Vec<OutcomeDocument>,
    /// The last failures, also those between two probes that made the target `down`. Later successes do not remove them.
    pub failures: Vec<OutcomeDocument>,
}

/// What a server says of itself in its reply to `HELLO`; `unknown` where it does not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServerDocument {
    /// The product, such as `redis` or `valkey`.
    pub server: String,
    /// Its version.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["standalone", "cluster", "sentinel", "unknown"])))]
    pub mode: &'static str,
    /// `primary` or `replica`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["primary", "replica", "unknown"])))]
    pub role: &'static str,
}

/// One identity.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IdentityDocument {
    /// The label `identity`.
    pub identity: Box<str>,
    /// The token's `oid`, which is also the Redis user name.
    pub object_id: Option<Box<str>>,
    /// The token's `appid`: the client id of the identity that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Box<str>>,
    /// The token's `xms_mirid`: the resource id of a managed identity, or of the host that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<Box<str>>,
    /// When the token in use was obtained.
    pub token_obtained: Option<Rfc3339>,
    /// When the token in use expires.
    pub token_expiry: Option<Rfc3339>,
    /// The duration of the last request that completed, successful or not.
    pub duration_seconds: Option<f64>,
    /// The last failed request. Later successes do not remove it.
    pub last_error: Option<ErrorDocument>,
}

/// A failed request for a token, or a rejected configuration.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorDocument {
    /// The time of the failure.
    pub time: Rfc3339,
    /// The error of the token source, or every problem of the configuration.
    pub detail: Box<str>,
}

impl ErrorDocument {
    pub(super) fn new((at, detail): (SystemTime, Box<str>)) -> Self {
        Self { time: Rfc3339(at), detail }
    }
}

/// An invalid file with targets.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetFileErrorDocument {
    /// The path, or a pattern whose folder cannot be read.
    pub file: Box<str>,
    /// Since when it has these problems.
    pub time: Rfc3339,
    /// The first problems. The log has all.
    pub detail: Box<str>,
}

/// What was rejected, when and why.
#[derive(Debug)]
pub(super) struct Rejections {
    pub(super) config_error: Option<ErrorDocument>,
    pub(super) web_config_error: Option<ErrorDocument>,
    pub(super) target_file_errors: Vec<TargetFileErrorDocument>,
}

impl Status {
    /// Returns the targets, the identities, and what was rejected.
    pub(super) fn entries(&self) -> (Vec<Arc<TargetEntry>>, Vec<Arc<IdentityEntry>>, Rejections) {
        let state = self.lock();
        let (targets, identities) = (state.targets.values(), state.identities.values());
        let of_files = state.target_file_errors.iter().map(|(file, (at, detail))| TargetFileErrorDocument {
            file: file.clone(),
            time: Rfc3339(*at),
            detail: detail.clone(),
        });
        let rejections = Rejections {
            config_error: state.config_error.clone().map(ErrorDocument::new),
            web_config_error: state.web_config_error.clone().map(ErrorDocument::new),
            target_file_errors: of_files.collect(),
        };
        (targets.cloned().collect(), identities.cloned().collect(), rejections)
    }

    /// Returns the current status. Targets are locked one at a time.
    #[must_use]
    pub fn document(&self) -> StatusDocument {
        let (targets, identities, rejections) = self.entries();
        let everything = Filter::default();
        StatusDocument {
            targets: targets.iter().filter_map(|entry| entry.selected(&everything)).collect(),
            identities: identities.iter().map(|entry| IdentityDocument::new(entry)).collect(),
            ..self.without_entries(rejections)
        }
    }

    /// Returns the current status without targets and identities.
    pub(super) fn without_entries(&self, rejections: Rejections) -> StatusDocument {
        let Rejections { config_error, web_config_error, target_file_errors } = rejections;
        let readiness = self.readiness();
        StatusDocument {
            version: env!("CARGO_PKG_VERSION"),
            time: Rfc3339(self.0.clock.now()),
            ready: readiness.is_ready(),
            readiness: readiness.to_string(),
            config_error,
            web_config_error,
            target_file_errors,
            targets: Vec::new(),
            identities: Vec::new(),
        }
    }
}

impl Status {
    /// Returns the status of the target called `name`, if there is one.
    #[must_use]
    pub fn target_document(&self, name: &str) -> Option<TargetDocument> {
        self.entry(name)?.selected(&Filter::default())
    }

    pub(super) fn entry(&self, name: &str) -> Option<Arc<TargetEntry>> {
        self.lock().targets.get(&TargetName::new(name)?).cloned()
    }
}

impl TargetEntry {
    pub(super) fn selected(&self, filter: &Filter) -> Option<TargetDocument> {
        if !filter.selects_text(self.name().as_str(), &self.endpoint) {
            return None;
        }
        // The lock is not held while the document is made.
        let state = lock(&self.state).clone();
        filter.selects_state(state.verdict).then(|| TargetDocument::new(self, &state))
    }
}

impl TargetDocument {
    pub(super) fn new(entry: &TargetEntry, state: &TargetState) -> Self {
        let newest_first = |records: &VecDeque<Record>| {
            let document = |it: &Record| OutcomeDocument::new(&it.outcome(), it.at(), Some(it.delay()));
            records.iter().rev().map(document).collect()
        };
        Self {
            target: entry.name().as_str().to_owned(),
            endpoint: entry.endpoint.to_string(),
            state: state.verdict,
            since: Rfc3339(state.since),
            connection_state: state.connection,
            last_success: state.last_success.map(Rfc3339),
            new_connection: state.new_connection.as_deref().map(NewConnectionDocument::new),
            server: state.server.as_deref().map(ServerDocument::new),
            cluster: state.cluster.as_deref().map(ClusterDocument::new),
            sentinel: state.sentinel.as_deref().map(SentinelDocument::new),
            maintenance: state.maintenance.as_deref().map(MaintenanceDocument::new),
            recent: newest_first(&state.recent),
            failures: newest_first(&state.past.failures),
        }
    }
}

impl ServerDocument {
    fn new(server: &ServerInfo) -> Self {
        Self {
            server: server.product().to_owned(),
            version: server.version().to_owned(),
            mode: server.mode(),
            role: server.role(),
        }
    }
}

impl fmt::Display for ServerDocument {
    /// Writes product, version, mode and role in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, version, mode, role } = self;
        write!(f, "{server} {version}, {mode}, {role}")
    }
}

impl IdentityDocument {
    pub(super) fn new(entry: &IdentityEntry) -> Self {
        let state = lock(&entry.state).clone();
        let token = state.token.as_ref();
        Self {
            identity: Box::from(&*entry.label),
            object_id: token.and_then(|token| token.object_id.as_deref().map(Box::from)),
            client_id: token.and_then(|token| token.client_id.as_deref().map(Box::from)),
            resource_id: token.and_then(|token| token.resource_id.as_deref().map(Box::from)),
            token_obtained: token.map(|token| Rfc3339(token.obtained_at)),
            token_expiry: token.map(|token| Rfc3339(token.expires_at)),
            duration_seconds: state.took.map(|took| took.as_secs_f64()),
            last_error: state.last_error.map(ErrorDocument::new),
        }
    }
}
