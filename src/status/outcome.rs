//! The JSON of one outcome, in `/status` and in the output of `cachepulse check`, and of one new connection.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::NewConnection;
use crate::clock::Rfc3339;
use crate::probe::{
    ClientCount, Failure, FailureReason, Outcome, Phase, PhaseTimes, Stage, Step, StepResult, StepResults,
};

/// One outcome. Durations are in seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutcomeDocument {
    /// The time of the outcome.
    pub time: Rfc3339,
    /// `success` or `failure`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["success", "failure"])))]
    pub result: &'static str,
    /// The failure, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureDocument>,
    /// The number of attempts.
    pub attempts: u32,
    /// How late the probe started. If it is large, the agent or the machine was busy, which may distort the
    /// durations. `None` for `check`, which has no schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_delay_seconds: Option<f64>,
    /// The duration of the probe, including all attempts.
    pub duration_seconds: f64,
    /// The completed phases, in order. Empty if the connection was already open.
    pub phases: Vec<PhaseDocument>,
    /// The steps that ran, in order.
    pub steps: Vec<StepDocument>,
    /// The clients that `CLIENT LIST` listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientsDocument>,
}

/// One probe of a new connection.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewConnectionDocument {
    /// The time of the result.
    pub time: Rfc3339,
    /// `success` or `failure`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["success", "failure"])))]
    pub result: &'static str,
    /// The failure, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureDocument>,
    /// The number of probes of a new connection that have failed in a row.
    pub consecutive_failures: u32,
    /// The completed phases, in order.
    pub phases: Vec<PhaseDocument>,
}

/// The reason and the stage of a failure.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailureDocument {
    /// The label `reason`.
    #[serde(serialize_with = "label")]
    pub reason: FailureReason,
    /// The phase or step.
    #[serde(serialize_with = "label")]
    pub stage: Stage,
    /// The slots of a cluster that it is about, as in `0-5460,5462`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<String>,
    /// The error text of the server or the system.
    pub detail: Box<str>,
    /// What to check or change.
    pub advice: Cow<'static, str>,
}

/// One phase.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhaseDocument {
    /// The label `phase`.
    #[serde(serialize_with = "label")]
    pub phase: Phase,
    /// The duration of the phase.
    pub duration_seconds: f64,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepDocument {
    /// The label `step`.
    #[serde(serialize_with = "label")]
    pub step: Step,
    /// The label `result`.
    #[serde(serialize_with = "label")]
    pub result: StepResult,
    /// The duration of the step.
    pub duration_seconds: f64,
}

/// The clients of a cache.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientsDocument {
    /// The number of clients.
    pub count: u64,
    /// Whether the agent's own connection is in the list.
    pub own_seen: bool,
    /// The clients. `None` in `/status`, which shows no addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<ClientDocument>>,
    /// Whether the list leaves clients out. `None` without a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
}

/// One client.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientDocument {
    /// The server's number for the connection.
    pub id: u64,
    /// Address and port, as seen by the server.
    pub addr: String,
}

impl OutcomeDocument {
    /// Describes the outcome at `at` of a tick that began `delay` late.
    #[must_use]
    pub fn new(outcome: &Outcome, at: SystemTime, delay: Option<Duration>) -> Self {
        Self {
            time: Rfc3339(at),
            result: result(&outcome.result),
            failure: outcome.result.as_ref().err().map(FailureDocument::new),
            attempts: outcome.attempts,
            scheduler_delay_seconds: delay.map(|delay| delay.as_secs_f64()),
            duration_seconds: outcome.duration.as_secs_f64(),
            phases: phases(&outcome.phases),
            steps: steps(&outcome.steps),
            clients: outcome.clients.map(|ClientCount { clients, own_seen }| ClientsDocument {
                count: clients,
                own_seen,
                list: None,
                truncated: None,
            }),
        }
    }
}

impl NewConnectionDocument {
    pub(super) fn new(probed: &NewConnection) -> Self {
        Self {
            time: Rfc3339(probed.at),
            result: result(&probed.result),
            failure: probed.result.as_ref().err().map(FailureDocument::new),
            consecutive_failures: probed.failed_in_a_row,
            phases: phases(&probed.phases),
        }
    }
}

const fn result(result: &Result<(), Failure>) -> &'static str {
    if result.is_ok() { "success" } else { "failure" }
}

fn phases(times: &PhaseTimes) -> Vec<PhaseDocument> {
    let document =
        |(phase, took): (Phase, Duration)| PhaseDocument { phase, duration_seconds: took.as_secs_f64() };
    times.iter().map(document).collect()
}

pub(super) fn steps(found: &StepResults) -> Vec<StepDocument> {
    let document = |(step, result, took): (Step, StepResult, Duration)| StepDocument {
        step,
        result,
        duration_seconds: took.as_secs_f64(),
    };
    found.iter().map(document).collect()
}

impl FailureDocument {
    pub(super) fn new(failure: &Failure) -> Self {
        let Failure { reason, stage, detail, slots, .. } = failure;
        Self {
            reason: *reason,
            stage: *stage,
            slots: slots.as_ref().map(ToString::to_string),
            detail: detail.clone(),
            advice: failure.advice().into(),
        }
    }
}

impl fmt::Display for FailureDocument {
    /// Writes the failure with its advice in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, stage, detail, advice, .. } = self;
        write!(f, "{reason} at {stage}")?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        write!(f, ". {advice}")
    }
}

/// Serializes a value as the label that `/metrics` uses.
pub(super) fn label<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
