//! When the open connection is replaced by a new one, because its host's name leads elsewhere.
//!
//! Pure: no I/O and no clock.

use std::time::Duration;

use tokio::time::Instant;

use super::handover::OpenConnection;

/// So many lookups in a row must lack the address of the open connection.
const LOOK_UPS: u32 = 2;
/// How long a moved name replaces no other connection: the answers may rotate.
const REST: Duration = Duration::from_secs(10 * 60);
/// The pause after a replacement that could not be opened.
const RETRY: Duration = Duration::from_secs(30);

/// Decides when the open connection is replaced.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    /// The connection that the name no longer leads to, and for how many lookups in a row.
    absent: Option<(OpenConnection, u32)>,
    /// Until when a moved name replaces no connection.
    rest_until: Option<Instant>,
    /// When the next attempt may begin, after one that failed.
    retry_at: Option<Instant>,
}

impl Replacement {
    /// A lookup, while `open` was open, has found whether the name leads to its address.
    pub(super) fn looked_up(&mut self, open: OpenConnection, leads_there: bool) {
        self.absent = match self.absent {
            _ if leads_there => None,
            Some((absent, times)) if absent == open => Some((open, times + 1)),
            _ => Some((open, 1)),
        };
    }

    /// Whether `open` is to be replaced now.
    pub(super) fn is_due(&self, open: OpenConnection, now: Instant) -> bool {
        let is_over = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        self.has_moved(open) && is_over(self.retry_at) && is_over(self.rest_until)
    }

    /// When `open` is to be replaced unless a lookup says so before.
    pub(super) fn next(&self, open: OpenConnection) -> Option<Instant> {
        let first = self.has_moved(open).then(|| self.rest_until.unwrap_or(open.since))?;
        Some(self.retry_at.map_or(first, |retry| retry.max(first)))
    }

    /// The replacement of `open` was opened.
    pub(super) fn opened(&mut self, open: OpenConnection, now: Instant) {
        if self.has_moved(open) {
            self.rest_until = Some(now + REST);
        }
        (self.absent, self.retry_at) = (None, None);
    }

    /// The replacement could not be opened. Returns whether this is the first time since one was.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.retry_at.replace(now + RETRY).is_none()
    }

    fn has_moved(&self, open: OpenConnection) -> bool {
        self.absent.is_some_and(|(absent, times)| absent == open && times >= LOOK_UPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(since: Instant) -> OpenConnection {
        OpenConnection { address: "10.0.0.1:6380".parse().ok(), since }
    }

    #[test]
    fn only_two_look_ups_in_a_row_without_its_address_replace_a_connection() {
        let now = Instant::now();
        let old = open(now);
        let mut replacement = Replacement::default();
        for leads_there in [false, true, false] {
            replacement.looked_up(old, leads_there);
            assert!(!replacement.is_due(old, now));
            assert_eq!(replacement.next(old), None);
        }
        let reopened = open(now + RETRY);
        replacement.looked_up(reopened, false);
        assert!(!replacement.is_due(reopened, now + RETRY), "the lookup before was about another connection");
        replacement.looked_up(reopened, false);
        assert!(replacement.is_due(reopened, now + RETRY));
    }

    #[test]
    fn answers_that_rotate_replace_a_connection_every_ten_minutes_at_most() {
        let now = Instant::now();
        let old = open(now);
        let mut replacement = Replacement::default();
        let moves = |replacement: &mut Replacement, open| {
            replacement.looked_up(open, false);
            replacement.looked_up(open, false);
        };
        moves(&mut replacement, old);
        replacement.opened(old, now);
        let new = open(now + Duration::from_secs(1));
        moves(&mut replacement, new);
        assert!(!replacement.is_due(new, now + REST - Duration::from_secs(1)));
        assert_eq!(replacement.next(new), Some(now + REST));
        assert!(replacement.is_due(new, now + REST));
    }

    #[test]
    fn after_a_failure_it_is_tried_again_half_a_minute_later_and_reported_once() {
        let now = Instant::now();
        let old = open(now);
        let mut replacement = Replacement::default();
        replacement.looked_up(old, false);
        replacement.looked_up(old, false);
        assert!(replacement.is_due(old, now) && replacement.failed(now));
        assert!(!replacement.is_due(old, now));
        assert_eq!(replacement.next(old), Some(now + RETRY));
        assert!(!replacement.failed(now + RETRY), "it is reported once");
        replacement.opened(old, now + 2 * RETRY);
        assert!(replacement.failed(now + 3 * RETRY));
    }
}
