//! The labels of the metrics, with their values where these are a closed set.

use crate::closed_set::closed_set;
use crate::maintenance::Event;
use crate::probe::{FailureReason, Phase, Role, Step, StepResult};
use crate::target::Protocol;

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it says, in Markdown.
    pub meaning: &'static str,
    /// Returns each value with its meaning; `None` if the values are not a closed set.
    pub values: Option<fn() -> Vec<LabelValue>>,
}

/// A value of a label and its meaning.
pub type LabelValue = (&'static str, &'static str);

pub(super) const TARGET: Label =
    Label { name: "target", meaning: "The target's `name` in the configuration.", values: None };

pub(super) const IDENTITY: Label = Label {
    name: "identity",
    meaning: "The identity's type and ids, such as `managed_identity:7d5c8a52-…`, without secrets.",
    values: None,
};

pub(super) const VERSION: Label = Label { name: "version", meaning: "The agent's version.", values: None };

pub(super) const REVISION: Label =
    Label { name: "revision", meaning: "The commit that was compiled, or `unknown`.", values: None };

pub(super) const RUSTC: Label =
    Label { name: "rustc", meaning: "The version of the compiler.", values: None };

pub(super) const FILE: Label =
    Label { name: "file", meaning: "The path of the file, or a pattern of `target_files`.", values: None };

pub(super) const SHARD: Label = Label {
    name: "shard",
    meaning: "The lowest slot of the shard, such as `5461`. It stays the same in a failover.",
    values: None,
};

pub(super) const ROLE: Label = Label {
    name: "role",
    meaning: "The role of the nodes.",
    values: Some(|| Role::ALL.map(Role::entry).to_vec()),
};

pub(super) const SERVER: Label =
    Label { name: "server", meaning: "The product: `redis`, `valkey` or another one.", values: None };

pub(super) const SERVER_VERSION: Label = Label { meaning: "The server's version.", ..VERSION };

pub(super) const MODE: Label =
    Label { name: "mode", meaning: "`standalone`, `cluster`, `sentinel` or `unknown`.", values: None };

pub(super) const SERVER_ROLE: Label =
    Label { meaning: "`primary`, `replica` or `unknown`.", values: None, ..ROLE };

pub(super) const PROTOCOL_VERSION: Label = Label {
    meaning: "The version of RESP.",
    values: Some(|| Protocol::ALL.map(Protocol::entry).to_vec()),
    ..VERSION
};

pub(super) const REASON: Label = Label {
    name: "reason",
    meaning: "The [reason](reasons.md) of the failure.",
    values: Some(|| FailureReason::ALL.map(FailureReason::entry).to_vec()),
};

pub(super) const DISCONNECT_REASON: Label =
    Label { values: Some(|| FailureReason::of_disconnects().map(FailureReason::entry).collect()), ..REASON };

pub(super) const OPENING_REASON: Label =
    Label { values: Some(|| FailureReason::of_openings().map(FailureReason::entry).collect()), ..REASON };

pub(super) const PHASE: Label = Label {
    name: "phase",
    meaning: "The phase of opening the connection.",
    values: Some(|| Phase::ALL.map(Phase::entry).to_vec()),
};

pub(super) const STEP: Label =
    Label { name: "step", meaning: "The command.", values: Some(|| Step::ALL.map(Step::entry).to_vec()) };

pub(super) const STEP_RESULT: Label = Label {
    name: "result",
    meaning: "How the command ended.",
    values: Some(|| StepResult::ALL.map(StepResult::entry).to_vec()),
};

pub(super) const TOPOLOGY_RESULT: Label = Label { meaning: "How `CLUSTER SLOTS` ended.", ..STEP_RESULT };

pub(super) const ATTEMPT_RESULT: Label = Label {
    name: "result",
    meaning: "How the attempt ended.",
    values: Some(|| AttemptResult::ALL.map(AttemptResult::entry).to_vec()),
};

pub(super) const REFRESH_RESULT: Label = Label {
    name: "result",
    meaning: "How the request ended.",
    values: Some(|| RefreshResult::ALL.map(RefreshResult::entry).to_vec()),
};

pub(super) const PART: Label = Label {
    name: "part",
    meaning: "The part of the agent.",
    values: Some(|| Part::ALL.map(Part::entry).to_vec()),
};

pub(super) const EVENT: Label = Label {
    name: "event",
    meaning: "What the notice reports.",
    values: Some(|| Event::ALL.map(Event::entry).to_vec()),
};

closed_set! {
    /// How an attempt to connect or to re-authenticate ended.
    pub enum AttemptResult {
        /// The cache accepted the sign-in.
        Success = "success",
        /// The connection or the sign-in failed.
        Failure = "failure",
    }
}

closed_set! {
    /// How a request for a token ended.
    pub enum RefreshResult {
        /// The identity endpoint returned a new token.
        Success = "success",
        /// The identity endpoint returned the current token again.
        Unchanged = "unchanged",
        /// The request failed or timed out.
        Failure = "failure",
    }
}

closed_set! {
    /// A part of the agent that has a runtime of its own.
    pub enum Part {
        /// A few tasks for each target and identity.
        Probing = "probing",
        /// One task for each connection to the HTTP endpoint, that of the scrape included.
        Http = "http",
        /// One task for each connection to the health endpoint, if there is one.
        Health = "health",
    }
}
