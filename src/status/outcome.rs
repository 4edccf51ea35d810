//! One outcome as JSON: the same in `/status` and in what `cachepulse check` prints.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::clock::Rfc3339;
use crate::probe::{ClientCount, Failure, FailureReason, Outcome, Phase, Stage, Step, StepResult};

/// One outcome. Durations are seconds.
#[derive(Debug, Serialize)]
pub struct OutcomeDocument {
    /// When it was.
    pub time: Rfc3339,
    /// `success` or `failure`.
    pub result: &'static str,
    /// Why and where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureDocument>,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the moment at which the tick was due to its start: a probe that waited for the agent, or for a busy
    /// machine, may tell of those and not of the cache. `None` where no tick was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_delay_seconds: Option<f64>,
    /// From the probe's start to the outcome, all attempts included.
    pub duration_seconds: f64,
    /// The phases that completed, in order; empty on a warm connection.
    pub phases: Vec<PhaseDocument>,
    /// The steps that ran, in order.
    pub steps: Vec<StepDocument>,
    /// The clients that `CLIENT LIST` listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientsDocument>,
}

/// Why and where a probe failed.
#[derive(Debug, Serialize)]
pub struct FailureDocument {
    /// The label `reason`.
    #[serde(serialize_with = "label")]
    pub reason: FailureReason,
    /// The phase or step.
    #[serde(serialize_with = "label")]
    pub stage: Stage,
    /// The words of the server or the system.
    pub detail: Box<str>,
    /// What to do about it.
    pub advice: &'static str,
}

/// One phase.
#[derive(Debug, Serialize)]
pub struct PhaseDocument {
    /// The label `phase`.
    #[serde(serialize_with = "label")]
    pub phase: Phase,
    /// How long it took.
    pub duration_seconds: f64,
}

/// One step.
#[derive(Debug, Serialize)]
pub struct StepDocument {
    /// The label `step`.
    #[serde(serialize_with = "label")]
    pub step: Step,
    /// The label `result`.
    #[serde(serialize_with = "label")]
    pub result: StepResult,
    /// How long it took.
    pub duration_seconds: f64,
}

/// The clients of a cache.
#[derive(Debug, Serialize)]
pub struct ClientsDocument {
    /// How many there are.
    pub count: u64,
    /// Whether our own connection is among them.
    pub own_seen: bool,
    /// Who they are. `None` in `/status`, which shows no addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<ClientDocument>>,
}

/// One client.
#[derive(Debug, Serialize)]
pub struct ClientDocument {
    /// The server's number for the connection.
    pub id: u64,
    /// Address and port, as the server sees them.
    pub addr: String,
}

impl OutcomeDocument {
    /// Describes `outcome`, which there was at `at`, `delay` after its tick was due.
    #[must_use]
    pub fn new(outcome: &Outcome, at: SystemTime, delay: Option<Duration>) -> Self {
        Self {
            time: Rfc3339(at),
            result: if outcome.result.is_ok() { "success" } else { "failure" },
            failure: outcome.result.as_ref().err().map(FailureDocument::new),
            attempts: outcome.attempts,
            scheduler_delay_seconds: delay.map(|delay| delay.as_secs_f64()),
            duration_seconds: outcome.duration.as_secs_f64(),
            phases: outcome
                .phases
                .iter()
                .map(|(phase, took)| PhaseDocument { phase, duration_seconds: took.as_secs_f64() })
                .collect(),
            steps: outcome
                .steps
                .iter()
                .map(|(step, result, took)| StepDocument {
                    step,
                    result,
                    duration_seconds: took.as_secs_f64(),
                })
                .collect(),
            clients: outcome.clients.map(|ClientCount { clients, own_seen }| ClientsDocument {
                count: clients,
                own_seen,
                list: None,
            }),
        }
    }
}

impl FailureDocument {
    fn new(Failure { reason, stage, detail }: &Failure) -> Self {
        Self { reason: *reason, stage: *stage, detail: detail.clone(), advice: reason.advice() }
    }
}

/// Writes a value of a label as `/metrics` does.
fn label<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
