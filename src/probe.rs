//! The vocabulary of a probe: its phases, steps and outcomes, the [`Failure`]s that it may have, and the server that it
//! meets.
//!
//! Values only: no I/O and no clock. How a probe runs is in [`crate::prober`], how a connection is opened in
//! [`crate::connection`].

pub(crate) mod compact;
mod failure;
mod phase;
mod reason;
mod server;
mod step;

use std::time::Duration;

pub use self::failure::{Failure, Stage};
pub use self::phase::{Phase, PhaseTimes};
pub use self::reason::FailureReason;
pub use self::server::{Mode, Role, ServerInfo};
pub use self::step::{Step, StepResult, StepResults};

/// The clients that `CLIENT LIST` listed, without their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCount {
    /// The number of clients.
    pub clients: u64,
    /// Whether the agent's own connection is in the list. Behind the proxies of Azure Managed Redis the list is of one node,
    /// so its absence is not a failure.
    pub own_seen: bool,
}

/// The outcome of one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Success, or the failure of the last attempt.
    pub result: Result<(), Failure>,
    /// The number of attempts; 0 if the failure was known when the tick came due.
    pub attempts: u32,
    /// The duration of all attempts together, from the start of the first.
    pub duration: Duration,
    /// The phases of the last attempt. Empty if the connection was already open.
    pub phases: PhaseTimes,
    /// The steps of the last attempt.
    pub steps: StepResults,
    /// The clients, if `CLIENT LIST` ran and was allowed.
    pub clients: Option<ClientCount>,
}
