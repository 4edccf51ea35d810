//! The status as JSON: what `/status` shows. The names of the fields are an interface.
//!
//! Times are seconds since 1970 and durations seconds, both with fractions. Lists have the newest entry first.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::{ConnectionState, IdentityEntry, Readiness, Record, Status, TargetEntry, Verdict, lock};
use crate::clock::unix_seconds;
use crate::probe::Failure;

/// A picture of the status at one moment.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The agent's version.
    pub version: &'static str,
    /// When the picture was taken.
    pub time: f64,
    /// Whether the agent is ready.
    pub ready: bool,
    /// Why it is not, or `ready`.
    pub readiness: String,
    /// By name.
    pub targets: Vec<TargetReport>,
    /// By label.
    pub identities: Vec<IdentityReport>,
}

/// One target.
#[derive(Debug, Serialize)]
pub struct TargetReport {
    /// The label `target`.
    pub name: String,
    /// Host and port.
    pub endpoint: String,
    /// What the last probe said.
    pub state: Verdict,
    /// Since when it is in this state.
    pub since: f64,
    /// How the connection stands.
    pub connection: ConnectionState,
    /// When a probe last succeeded.
    pub last_success: Option<f64>,
    /// The last outcomes.
    pub recent: Vec<OutcomeReport>,
    /// The last failures, which outlive the successes after them.
    pub failures: Vec<OutcomeReport>,
}

/// One outcome.
#[derive(Debug, Serialize)]
pub struct OutcomeReport {
    /// When it was.
    pub time: f64,
    /// `success` or `failure`.
    pub result: &'static str,
    /// Why and where it failed.
    #[serde(flatten)]
    pub failure: Option<FailureReport>,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the moment at which the tick was due to its start: a probe that waited for the agent, or for a busy
    /// machine, may tell of those and not of the cache.
    pub scheduler_delay_seconds: f64,
    /// From the tick's start to the outcome.
    pub duration_seconds: f64,
    /// The phases that completed, in order; empty on a warm connection.
    pub phases: Vec<PhaseReport>,
    /// The steps that ran, in order.
    pub steps: Vec<StepReport>,
    /// How many clients `CLIENT LIST` told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// Whether our own connection was among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_client_seen: Option<bool>,
}

/// Why and where a probe failed.
#[derive(Debug, Serialize)]
pub struct FailureReport {
    /// The label `reason`.
    pub reason: &'static str,
    /// The phase or step.
    pub stage: &'static str,
    /// The words of the server or the system.
    pub detail: Box<str>,
    /// What to do about it.
    pub advice: &'static str,
}

/// One phase.
#[derive(Debug, Serialize)]
pub struct PhaseReport {
    /// The label `phase`.
    pub phase: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// One step.
#[derive(Debug, Serialize)]
pub struct StepReport {
    /// The label `step`.
    pub step: &'static str,
    /// The label `result`.
    pub result: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// One identity.
#[derive(Debug, Serialize)]
pub struct IdentityReport {
    /// The label `identity`.
    pub identity: Box<str>,
    /// The token's `oid`, which is the Redis user name.
    pub object_id: Option<Box<str>>,
    /// When the token in use was obtained.
    pub token_obtained: Option<f64>,
    /// When the token in use ends.
    pub token_expiry: Option<f64>,
    /// The last request that failed, however long ago.
    pub last_error: Option<ErrorReport>,
}

/// A request for a token that failed.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
    /// When it was.
    pub time: f64,
    /// What the source of tokens said.
    pub detail: Box<str>,
}

impl Status {
    /// A picture of the status now. Each target is locked for a moment only, one after the other.
    #[must_use]
    pub fn report(&self) -> Report {
        let readiness = self.readiness();
        let (targets, identities): (Vec<_>, Vec<_>) = {
            let state = self.lock();
            (state.targets.values().cloned().collect(), state.identities.values().cloned().collect())
        };
        Report {
            version: env!("CARGO_PKG_VERSION"),
            time: unix_seconds(self.0.clock.now()),
            ready: readiness == Readiness::Ready,
            readiness: readiness.to_string(),
            targets: targets.iter().map(|entry| TargetReport::new(entry)).collect(),
            identities: identities.iter().map(|entry| IdentityReport::new(entry)).collect(),
        }
    }
}

impl TargetReport {
    fn new(entry: &TargetEntry) -> Self {
        let state = lock(&entry.state).clone();
        let newest_first = |records: &VecDeque<Arc<Record>>| {
            records.iter().rev().map(|record| OutcomeReport::new(record)).collect()
        };
        Self {
            name: entry.name.as_str().to_owned(),
            endpoint: entry.endpoint.clone(),
            state: state.verdict,
            since: unix_seconds(state.since),
            connection: state.connection,
            last_success: state.last_success.map(unix_seconds),
            recent: newest_first(&state.recent),
            failures: newest_first(&state.failures),
        }
    }
}

impl OutcomeReport {
    fn new(Record { at, delay, outcome }: &Record) -> Self {
        Self {
            time: unix_seconds(*at),
            result: if outcome.result.is_ok() { "success" } else { "failure" },
            failure: outcome.result.as_ref().err().map(FailureReport::new),
            attempts: outcome.attempts,
            scheduler_delay_seconds: delay.as_secs_f64(),
            duration_seconds: outcome.duration.as_secs_f64(),
            phases: outcome
                .phases
                .iter()
                .map(|(phase, took)| PhaseReport { phase: phase.as_str(), seconds: took.as_secs_f64() })
                .collect(),
            steps: outcome
                .steps
                .iter()
                .map(|(step, result, took)| StepReport {
                    step: step.as_str(),
                    result: result.as_str(),
                    seconds: took.as_secs_f64(),
                })
                .collect(),
            clients: outcome.clients.map(|count| count.clients),
            own_client_seen: outcome.clients.map(|count| count.own_seen),
        }
    }
}

impl FailureReport {
    fn new(Failure { reason, stage, detail }: &Failure) -> Self {
        Self {
            reason: reason.as_str(),
            stage: stage.as_str(),
            detail: detail.clone(),
            advice: reason.advice(),
        }
    }
}

impl IdentityReport {
    fn new(entry: &IdentityEntry) -> Self {
        let state = lock(&entry.state).clone();
        let token = state.token.as_ref();
        Self {
            identity: Box::from(&*entry.label),
            object_id: token.and_then(|token| token.object_id.as_deref().map(Box::from)),
            token_obtained: token.map(|token| unix_seconds(token.obtained_at)),
            token_expiry: token.map(|token| unix_seconds(token.expires_at)),
            last_error: state.last_error.map(|(at, detail)| ErrorReport { time: unix_seconds(at), detail }),
        }
    }
}
