//! What requests for tokens need from the machine and the process.

use std::sync::Arc;

use super::transport::Carry;
use super::variables::Variables;
use crate::clock::Clock;
use crate::files::Files;

/// The machine and the process, as requests for tokens see them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Sends the requests.
    pub transport: Arc<dyn Carry>,
    /// Where secrets, service account tokens and certificates are read.
    pub files: Files,
    /// The environment variables.
    pub variables: Variables,
    /// The clock for expiry times that are relative to now.
    pub clock: Clock,
}

impl Platform {
    /// Returns this machine and process, with requests sent over `transport`.
    #[must_use]
    pub fn system(transport: Arc<dyn Carry>, files: Files) -> Self {
        Self { transport, files, variables: Variables::of_process(), clock: Clock::system() }
    }
}
