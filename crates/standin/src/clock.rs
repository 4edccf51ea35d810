//! The wall clock as an argument, so that a lab can be ahead, behind, or on a test's paused time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A wall clock, for tokens and certificates.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where this crate reads the wall clock")]
        Self::new(SystemTime::now)
    }

    /// A clock that returns what `now` returns.
    #[must_use]
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Returns how long it is until `time`; zero if it has passed.
    #[must_use]
    pub fn until(&self, time: SystemTime) -> Duration {
        time.duration_since(self.now()).unwrap_or_default()
    }
}
