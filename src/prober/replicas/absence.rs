//! A replica that the topology does not name any more: servers hide a dead one after seconds, and one that was removed.
//!
//! Pure: no I/O and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How long a replica that answers may be absent: a server also hides one that was connected just now.
const GRACE: Duration = Duration::from_secs(10);
/// How long an absent replica counts as down.
const MEMORY: Duration = Duration::from_secs(5 * 60);

/// Since when a replica is absent. By default, it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::prober) struct Absence(Option<Instant>);

impl Absence {
    /// The topology does not name the replica at `now`.
    pub(in crate::prober) fn begin(&mut self, now: Instant) {
        self.0.get_or_insert(now);
    }

    /// Whether the topology names the replica no more.
    pub(super) const fn is_absent(self) -> bool {
        self.0.is_some()
    }

    /// Whether the replica counts as down, even if it answers.
    pub(super) fn is_missed(self, now: Instant) -> bool {
        self.0.is_some_and(|since| since + GRACE <= now)
    }

    /// Whether the replica is to be forgotten.
    pub(in crate::prober) fn is_over(self, now: Instant) -> bool {
        self.0.is_some_and(|since| since + MEMORY <= now)
    }

    /// When the next of these changes.
    pub(super) fn next_change(self, now: Instant) -> Option<Instant> {
        let since = self.0?;
        [since + GRACE, since + MEMORY].into_iter().find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_replica_is_missed_after_a_grace_and_forgotten_after_five_minutes() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut absence = Absence::default();
        assert_eq!((absence.is_missed(at(900)), absence.next_change(at(0))), (false, None));
        absence.begin(at(0));
        absence.begin(at(5));
        for (second, is_missed, is_over, next) in [
            (0, false, false, Some(10)),
            (9, false, false, Some(10)),
            (10, true, false, Some(300)),
            (299, true, false, Some(300)),
            (300, true, true, None),
        ] {
            let now = at(second);
            assert_eq!((absence.is_missed(now), absence.is_over(now)), (is_missed, is_over), "{second}");
            assert_eq!(absence.next_change(now), next.map(at), "{second}");
        }
    }
}
