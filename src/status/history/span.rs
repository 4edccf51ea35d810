//! A time on the axis of a history.

use std::time::Duration;

/// A time on the axis of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Duration,
    pub(super) until: Duration,
}
