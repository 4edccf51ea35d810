//! Times that several links report, each counted once.

use tokio::time::Instant;

use crate::prober::ledger::Span;

/// How many separate times are remembered. An earlier one than those cannot be extended any more.
const REMEMBERED: usize = 16;

/// The union of times.
#[derive(Debug, Default)]
pub(super) struct Union {
    /// In order, apart from each other.
    spans: Vec<Span>,
    /// What is earlier is not counted any more.
    floor: Option<Instant>,
}

impl Union {
    /// Adds a time, and hands on what of it was not counted before.
    pub(super) fn add(&mut self, span: Span, out: &mut dyn FnMut(Span)) {
        let Span { from, until } = span;
        let mut next = self.floor.map_or(from, |floor| floor.max(from));
        let mut merged = Span { from: next, until };
        if next >= until {
            return;
        }
        // Those that touch the new one.
        let first = self.spans.partition_point(|it| it.until < next);
        let last = self.spans.partition_point(|it| it.from <= until);
        for known in self.spans.drain(first..last) {
            if next < known.from {
                out(Span { from: next, until: known.from });
            }
            next = next.max(known.until);
            merged = Span { from: merged.from.min(known.from), until: merged.until.max(known.until) };
        }
        if next < until {
            out(Span { from: next, until });
        }
        self.spans.insert(first, merged);
        if self.spans.len() > REMEMBERED {
            self.floor = Some(self.spans.remove(0).until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_moment_is_counted_once_in_whatever_order_it_is_reported() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut union = Union::default();
        for (from, until, new) in [
            (10, 20, &[(10, 20)][..]),
            (20, 25, &[(20, 25)]),
            (12, 24, &[]),
            (5, 30, &[(5, 10), (25, 30)]),
            (40, 50, &[(40, 50)]),
            (60, 70, &[(60, 70)]),
            (0, 65, &[(0, 5), (30, 40), (50, 60)]),
            (69, 71, &[(70, 71)]),
        ] {
            let mut counted = Vec::new();
            union.add(Span { from: at(from), until: at(until) }, &mut |span| counted.push(span));
            let new: Vec<_> =
                new.iter().map(|&(from, until)| Span { from: at(from), until: at(until) }).collect();
            assert_eq!(counted, new, "{from} to {until}");
        }
        assert_eq!(union.spans, [Span { from: at(0), until: at(71) }]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_counted_twice_for_that() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut union = Union::default();
        let mut counted = Duration::ZERO;
        for second in 0..1_000 {
            let span = Span { from: at(2 * second), until: at(2 * second + 1) };
            union.add(span, &mut |span| counted += span.length());
        }
        assert_eq!(union.spans.len(), REMEMBERED);
        union.add(Span { from: at(0), until: at(2_000) }, &mut |span| counted += span.length());
        assert!(counted <= Duration::from_secs(2_000), "{counted:?}");
    }
}
