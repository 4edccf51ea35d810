//! The steps of a probe, and how each ended.

use std::time::Duration;

use super::compact::Compact;
use super::{Failure, FailureReason};
use crate::closed_set::closed_set;

/// What is known of a step beside its label and meaning.
struct Facts {
    command: &'static str,
}

closed_set! {
    /// One command of a probe, in order: the label `step`.
    pub enum Step: Facts {
        /// The server returns `PONG`.
        Ping = "ping" { command: "PING" },
        /// The server accepts a random value. The key expires after three intervals, and after 5 s at the earliest.
        Set = "set" { command: "SET" },
        /// The server returns exactly the value that was set.
        Get = "get" { command: "GET" },
        /// The server lists its clients, and the agent counts them. A failure of this step does not fail the probe, unless
        /// `client_list.mode` is `required`.
        ClientList = "client_list" { command: "CLIENT LIST" },
    }
}

impl Step {
    /// Returns the command as Redis spells it.
    #[must_use]
    pub const fn command(self) -> &'static str {
        self.facts().command
    }
}

/// How servers and proxies say that they do not know a command, or that it is switched off.
const UNKNOWN: [&str; 6] = [
    "unknown command",
    "unknown subcommand",
    "unsupported command",
    "cluster support disabled",
    "command is not allowed",
    "not supported",
];

closed_set! {
    /// How a step ended: the label `result` of steps.
    pub enum StepResult {
        /// The reply was the expected one.
        Success = "success",
        /// The user may not run the command (`NOPERM`).
        Denied = "denied",
        /// The server does not know the command.
        Unsupported = "unsupported",
        /// Any other failure.
        Failure = "failure",
    }
}

impl StepResult {
    /// Returns the result of a step that ended with `result`.
    #[must_use]
    pub fn of<T>(result: &Result<T, Failure>) -> Self {
        let is_unknown = |failure: &Failure| {
            let text = failure.detail.to_ascii_lowercase();
            UNKNOWN.iter().any(|words| text.contains(words))
        };
        match result {
            Ok(_) => Self::Success,
            Err(failure) => match failure.reason {
                FailureReason::PermissionDenied => Self::Denied,
                FailureReason::ServerError if is_unknown(failure) => Self::Unsupported,
                _ => Self::Failure,
            },
        }
    }
}

/// The result and the duration of each step; `None` if it did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResults {
    durations: [Option<Compact>; Step::ALL.len()],
    /// Of those that ran. Beside the durations, because a pair of both takes as much memory as two durations.
    results: [StepResult; Step::ALL.len()],
}

impl Default for StepResults {
    fn default() -> Self {
        Self { durations: Default::default(), results: [StepResult::Success; Step::ALL.len()] }
    }
}

impl StepResults {
    /// Returns the result and duration of `step`, if it ran.
    #[must_use]
    pub fn get(&self, step: Step) -> Option<(StepResult, Duration)> {
        self.durations[step as usize].map(|duration| (self.results[step as usize], duration.get()))
    }

    /// Records that `step` ended with `result` after `duration`.
    pub fn set(&mut self, step: Step, result: StepResult, duration: Duration) {
        self.durations[step as usize] = Some(Compact::new(duration));
        self.results[step as usize] = result;
    }

    /// Adds what `others` have run and these have not.
    pub fn add_missing(&mut self, others: Self) {
        for (step, result, duration) in others.iter() {
            if self.get(step).is_none() {
                self.set(step, result, duration);
            }
        }
    }

    /// Iterates over the steps that ran, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Step, StepResult, Duration)> + '_ {
        Step::ALL.into_iter().filter_map(|step| self.get(step).map(|(result, time)| (step, result, time)))
    }
}
