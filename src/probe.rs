//! The vocabulary of a probe: its phases, steps and outcomes, and the [`Failure`]s that it may have.
//!
//! Values only: no I/O and no clock. How a probe runs is in [`crate::prober`], how a connection is opened in
//! [`crate::connection`].

mod failure;
mod phase;
mod reason;
mod step;

use std::time::Duration;

pub use self::failure::{Failure, Stage};
pub use self::phase::{Phase, PhaseTimes};
pub use self::reason::FailureReason;
pub use self::step::{Step, StepResult, StepResults};

/// The clients that `CLIENT LIST` listed, without their addresses.
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
    /// Success, or the failure of the last attempt.
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
