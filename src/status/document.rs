//! The status as JSON: what `/status` shows. The names of the fields are an interface.
//!
//! Durations are seconds, with fractions. Lists have the newest entry first.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::outcome::OutcomeDocument;
use super::{ConnectionState, IdentityEntry, Readiness, Record, Status, TargetEntry, Verdict, lock};
use crate::clock::Rfc3339;

/// The status at one moment.
#[derive(Debug, Serialize)]
pub struct StatusDocument {
    /// The agent's version.
    pub version: &'static str,
    /// Which moment that is.
    pub time: Rfc3339,
    /// Whether the agent is ready.
    pub ready: bool,
    /// Why it is not, or `ready`.
    pub readiness: String,
    /// By name.
    pub targets: Vec<TargetDocument>,
    /// By label.
    pub identities: Vec<IdentityDocument>,
}

/// One target.
#[derive(Debug, Serialize)]
pub struct TargetDocument {
    /// The label `target`.
    pub target: String,
    /// Host and port.
    pub endpoint: String,
    /// What the last probe said.
    pub state: Verdict,
    /// Since when it is in this state.
    pub since: Rfc3339,
    /// How the connection stands.
    pub connection_state: ConnectionState,
    /// When a probe last succeeded.
    pub last_success: Option<Rfc3339>,
    /// The last outcomes.
    pub recent: Vec<OutcomeDocument>,
    /// The last failures, which outlive the successes after them.
    pub failures: Vec<OutcomeDocument>,
}

/// One identity.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityDocument {
    /// The label `identity`.
    pub identity: Box<str>,
    /// The token's `oid`, which is the Redis user name.
    pub object_id: Option<Box<str>>,
    /// When the token in use was obtained.
    pub token_obtained: Option<Rfc3339>,
    /// When the token in use expires.
    pub token_expiry: Option<Rfc3339>,
    /// How long the last request took that was answered, with a token or without.
    pub duration_seconds: Option<f64>,
    /// The last request that failed, however long ago.
    pub last_error: Option<ErrorDocument>,
}

/// A request for a token that failed.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorDocument {
    /// When it was.
    pub time: Rfc3339,
    /// What the source of tokens said.
    pub detail: Box<str>,
}

impl Status {
    /// Describes the status now. Each target is locked for a moment only, one after the other.
    #[must_use]
    pub fn document(&self) -> StatusDocument {
        let readiness = self.readiness();
        let (targets, identities): (Vec<_>, Vec<_>) = {
            let state = self.lock();
            (state.targets.values().cloned().collect(), state.identities.values().cloned().collect())
        };
        StatusDocument {
            version: env!("CARGO_PKG_VERSION"),
            time: Rfc3339(self.0.clock.now()),
            ready: readiness == Readiness::Ready,
            readiness: readiness.to_string(),
            targets: targets.iter().map(|entry| TargetDocument::new(entry)).collect(),
            identities: identities.iter().map(|entry| IdentityDocument::new(entry)).collect(),
        }
    }
}

impl TargetDocument {
    fn new(entry: &TargetEntry) -> Self {
        let state = lock(&entry.state).clone();
        let newest_first = |records: &VecDeque<Arc<Record>>| {
            let document =
                |Record { at, delay, outcome }: &Record| OutcomeDocument::new(outcome, *at, Some(*delay));
            records.iter().rev().map(|record| document(record)).collect()
        };
        Self {
            target: entry.name.as_str().to_owned(),
            endpoint: entry.endpoint.clone(),
            state: state.verdict,
            since: Rfc3339(state.since),
            connection_state: state.connection,
            last_success: state.last_success.map(Rfc3339),
            recent: newest_first(&state.recent),
            failures: newest_first(&state.failures),
        }
    }
}

impl IdentityDocument {
    fn new(entry: &IdentityEntry) -> Self {
        let state = lock(&entry.state).clone();
        let token = state.token.as_ref();
        Self {
            identity: Box::from(&*entry.label),
            object_id: token.and_then(|token| token.object_id.as_deref().map(Box::from)),
            token_obtained: token.map(|token| Rfc3339(token.obtained_at)),
            token_expiry: token.map(|token| Rfc3339(token.expires_at)),
            duration_seconds: state.took.map(|took| took.as_secs_f64()),
            last_error: state.last_error.map(|(at, detail)| ErrorDocument { time: Rfc3339(at), detail }),
        }
    }
}
