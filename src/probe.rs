//! The vocabulary of a probe: its phases, steps and outcomes, and the [`Failure`]s that it may have.
//!
//! Values only: no I/O and no clock. How a probe runs is in [`crate::prober`], how a connection is opened in
//! [`crate::connection`].

mod failure;

use std::fmt;
use std::time::Duration;

pub use self::failure::{Failure, FailureReason, Stage};

/// A stage of opening a connection, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The host name is turned into addresses.
    Resolve,
    /// The TCP handshake, over every address until one answers.
    Connect,
    /// The TLS handshake, certificate check included.
    Tls,
    /// AUTH, from the command to its reply.
    Auth,
}

impl Phase {
    /// Every phase, in the order in which they happen.
    pub const ALL: [Self; 4] = [Self::Resolve, Self::Connect, Self::Tls, Self::Auth];

    /// The value of the label `phase`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One command of a probe, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `PING`: the server answers.
    Ping,
    /// `SET`: it can be written to.
    Set,
    /// `GET`: what was written can be read.
    Get,
    /// `CLIENT LIST`: who else is connected.
    ClientList,
}

impl Step {
    /// Every step, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Ping, Self::Set, Self::Get, Self::ClientList];

    /// The value of the label `step`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Set => "set",
            Self::Get => "get",
            Self::ClientList => "client_list",
        }
    }

    /// The command as Redis spells it.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Set => "SET",
            Self::Get => "GET",
            Self::ClientList => "CLIENT LIST",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepResult {
    /// The reply was the one that was asked for.
    Success,
    /// The cache forbids this command to this user (`NOPERM`).
    Denied,
    /// Anything else.
    Failure,
}

impl StepResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Success, Self::Denied, Self::Failure];

    /// The value of the label `result`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

/// How long each phase took; `None` where it was not reached or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes([Option<Duration>; 4]);

impl PhaseTimes {
    /// The duration of `phase`, if it completed.
    #[must_use]
    pub const fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Notes that `phase` completed in `duration`.
    pub const fn set(&mut self, phase: Phase, duration: Duration) {
        self.0[phase as usize] = Some(duration);
    }

    /// The completed phases, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

/// How each step ended and how long it took; `None` where it did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepResults([Option<(StepResult, Duration)>; 4]);

impl StepResults {
    /// The result and duration of `step`, if it ran.
    #[must_use]
    pub const fn get(&self, step: Step) -> Option<(StepResult, Duration)> {
        self.0[step as usize]
    }

    /// Notes that `step` ended with `result` after `duration`.
    pub const fn set(&mut self, step: Step, result: StepResult, duration: Duration) {
        self.0[step as usize] = Some((result, duration));
    }

    /// The steps that ran, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Step, StepResult, Duration)> + '_ {
        Step::ALL.into_iter().filter_map(|step| self.get(step).map(|(result, time)| (step, result, time)))
    }
}

/// What `CLIENT LIST` told of the clients, without any of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCount {
    /// How many clients are connected.
    pub clients: u64,
    /// Whether our own connection is among them. Behind the proxies of Azure Managed Redis a list is per node,
    /// so its absence is no failure.
    pub own_seen: bool,
}

/// What one tick found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Success, or why not: the failure of the last attempt.
    pub result: Result<(), Failure>,
    /// How many attempts were made, the last one included; at least 1.
    pub attempts: u32,
    /// From the tick's start to its outcome, all attempts included.
    pub duration: Duration,
    /// The phases of the last attempt; empty on a warm connection.
    pub phases: PhaseTimes,
    /// The steps of the last attempt.
    pub steps: StepResults,
    /// The clients, if `CLIENT LIST` ran and was allowed.
    pub clients: Option<ClientCount>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_phases_that_completed_are_told() {
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Connect, Duration::from_millis(2));
        assert_eq!(phases.iter().collect::<Vec<_>>(), [(Phase::Connect, Duration::from_millis(2))]);
    }
}
