//! What the link to a shard's primary has written, and how far a replica is behind it.
//!
//! Pure: no I/O and no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many writes are remembered. A replica that returns an older value is as far behind as when it returned nothing.
const REMEMBERED: usize = 64;

/// What the link to a shard's primary has written to its key lately.
#[derive(Debug, Default)]
pub(in crate::prober) struct Written {
    key: String,
    /// In order.
    writes: VecDeque<Write>,
    /// How many writes there were, to all keys.
    count: u64,
}

#[derive(Debug)]
struct Write {
    number: u64,
    value: String,
    /// When the primary had taken it, and when it expires. `None` as long as that is not known.
    taken: Option<Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    at: Instant,
    until: Instant,
}

/// What a replica is expected to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::prober) struct Expected {
    pub(in crate::prober) key: String,
    /// The number of the newest write that the primary has taken and that has not expired.
    number: Option<u64>,
}

impl Written {
    /// A write begins. A replica may have it before the primary has answered.
    pub(in crate::prober) fn begin(&mut self, key: &str, value: &str) {
        if self.key != key {
            key.clone_into(&mut self.key);
            self.writes.clear();
        }
        if self.writes.len() == REMEMBERED {
            self.writes.pop_front();
        }
        self.count += 1;
        self.writes.push_back(Write { number: self.count, value: value.to_owned(), taken: None });
    }

    /// The primary has taken the newest write at `at`. It expires after `expiry`.
    pub(in crate::prober) fn taken(&mut self, at: Instant, expiry: Duration) {
        if let Some(newest) = self.writes.back_mut() {
            newest.taken = Some(Taken { at, until: at + expiry });
        }
    }

    /// Returns what a replica that is asked at `at` is expected to return. `None` before the first write.
    pub(in crate::prober) fn expected(&self, at: Instant) -> Option<Expected> {
        let newest = self.writes.iter().rev().find_map(|write| Some((write.number, write.taken?)));
        let number = newest.filter(|(_, taken)| at < taken.until).map(|(number, _)| number);
        (!self.key.is_empty()).then(|| Expected { key: self.key.clone(), number })
    }

    fn number_of(&self, value: &str) -> Option<u64> {
        self.writes.iter().find(|write| write.value == value).map(|write| write.number)
    }

    /// When the primary took the first write after the one with this number, as far as it is remembered.
    fn next_after(&self, number: u64) -> Option<Instant> {
        let mut later = self.writes.iter().filter(|write| write.number > number);
        later.find_map(|write| write.taken).map(|taken| taken.at)
    }
}

/// How far one replica is behind.
#[derive(Debug, Default)]
pub(in crate::prober) struct Behind {
    /// The number of the last write that it was seen to have; 0 is none.
    seen: u64,
    /// When the primary took the first write that the replica lacks.
    since: Option<Instant>,
}

impl Behind {
    /// The replica was asked at `at` and returned this `value`. Returns for how long it has lacked a write: zero if it has
    /// the newest one, `None` if nothing shows that.
    pub(in crate::prober) fn returned(
        &mut self,
        value: Option<&str>,
        expected: &Expected,
        written: &Written,
        at: Instant,
    ) -> Option<Duration> {
        let found = value.and_then(|value| written.number_of(value));
        if let Some(found) = found {
            (self.seen, self.since) = (found, None);
        }
        let Some(newest) = expected.number else {
            // The key has expired, because nothing was written: nobody can have it.
            return self.since.map(|since| at.saturating_duration_since(since));
        };
        if self.seen >= newest {
            self.since = None;
        } else if self.since.is_none() {
            self.since = written.next_after(self.seen);
        }
        Some(self.since.map_or(Duration::ZERO, |since| at.saturating_duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRY: Duration = Duration::from_secs(5);

    struct Bed {
        start: Instant,
        written: Written,
        behind: Behind,
    }

    impl Bed {
        fn new() -> Self {
            Self { start: Instant::now(), written: Written::default(), behind: Behind::default() }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn write(&mut self, second: u64) {
            self.written.begin("k", &format!("v{second}"));
            self.written.taken(self.at(second), EXPIRY);
        }

        fn read(&mut self, second: u64, value: Option<&str>) -> Option<u64> {
            let at = self.at(second);
            let expected = self.written.expected(at)?;
            self.behind.returned(value, &expected, &self.written, at).map(|age| age.as_secs())
        }
    }

    #[test]
    fn a_replica_is_behind_since_the_first_write_that_it_lacks() {
        let mut bed = Bed::new();
        assert_eq!(bed.read(0, None), None, "nothing was written");
        for second in [1, 2, 3] {
            bed.write(second);
        }
        for (second, value, age) in
            [(3, "v3", 0), (4, "v3", 0), (4, "v2", 1), (5, "v2", 2), (5, "v1", 3), (6, "v3", 0)]
        {
            assert_eq!(bed.read(second, Some(value)), Some(age), "{value} at {second}");
        }
    }

    #[test]
    fn a_replica_that_stalls_is_further_behind_for_as_long_as_it_does_whatever_it_returns() {
        let mut bed = Bed::new();
        for second in 1..=100 {
            bed.write(second);
            // What it has expires there as well.
            let value = if second < 15 { format!("v{}", second.min(10)) } else { String::from("other") };
            let value = (second < 20).then_some(&*value);
            assert_eq!(bed.read(second, value), Some(second.saturating_sub(11)), "at {second}");
        }
        assert_eq!(bed.read(100, Some("v100")), Some(0));
    }

    #[test]
    fn a_value_that_the_primary_has_not_confirmed_is_not_expected_but_is_as_new() {
        let mut bed = Bed::new();
        bed.write(1);
        bed.written.begin("k", "v2");
        assert_eq!(bed.read(3, Some("v1")), Some(0));
        assert_eq!(bed.read(3, Some("v2")), Some(0));
    }

    #[test]
    fn nothing_is_said_of_a_key_that_has_expired_or_was_seen_before_it_vanished() {
        let mut bed = Bed::new();
        bed.write(1);
        assert_eq!(bed.read(2, Some("v1")), Some(0));
        assert_eq!(bed.read(3, None), Some(0), "evicted or deleted");
        assert_eq!(bed.read(7, None), None, "expired");
        bed.write(8);
        assert_eq!(bed.read(9, None), Some(1));
        assert_eq!(bed.read(20, None), Some(12), "the primary is away, and the replica was behind");
    }

    #[test]
    fn another_key_begins_anew_and_a_replica_that_was_behind_still_is() {
        let mut bed = Bed::new();
        bed.write(1);
        assert_eq!(bed.read(3, None), Some(2));
        bed.written.begin("other", "x");
        assert_eq!(bed.read(4, None), Some(3));
        bed.written.taken(bed.at(5), EXPIRY);
        assert_eq!(bed.written.expected(bed.at(5)).unwrap().key, "other");
        assert_eq!(bed.read(6, None), Some(5));
        assert_eq!(bed.read(7, Some("x")), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut bed = Bed::new();
        for second in 0..1_000 {
            bed.write(second);
        }
        assert_eq!(bed.written.writes.len(), REMEMBERED);
        assert_eq!(bed.read(1_000, None), Some(REMEMBERED as u64), "as far as it is remembered");
    }
}
