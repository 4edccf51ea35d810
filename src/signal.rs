//! Signals: SIGTERM and SIGINT shut down, SIGHUP reloads the configuration. The operating system receives them.

use crate::os::signals;
pub use crate::os::signals::Signals;

/// A signal that is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: shut down within the grace period.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: reload the configuration.
    Reload,
}

impl Signal {
    /// Returns the signal's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Reload => "SIGHUP",
        }
    }

    /// Ends the process as the signal does without a handler, so that a shell knows what ended it.
    pub fn end_process(self) {
        signals::end_process(self);
    }
}
