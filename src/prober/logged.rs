//! Which reasons of failures were logged since the last success: each is logged once.

use crate::probe::FailureReason;

/// The reasons that were logged since the last success.
#[derive(Debug, Default)]
pub(super) struct Logged(Vec<FailureReason>);

impl Logged {
    /// Notes that a failure with this reason is logged. Returns false if one was logged already.
    pub(super) fn is_new(&mut self, reason: FailureReason) -> bool {
        let is_new = !self.0.contains(&reason);
        if is_new {
            self.0.push(reason);
        }
        is_new
    }

    /// Notes a success. Returns the first reason that was logged before it.
    pub(super) fn succeeded(&mut self) -> Option<FailureReason> {
        let first = self.0.first().copied();
        self.0.clear();
        first
    }
}
