//! A set of hash slots.

use std::fmt;
use std::ops::RangeInclusive;

use super::Slot;

/// A set of hash slots: ranges in ascending order with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSet(Vec<Range>);

/// First and last slot.
type Range = (u16, u16);

impl SlotSet {
    /// Returns the set of all slots.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(0, Slot::LAST.number())])
    }

    /// Returns the set of one slot.
    #[must_use]
    pub fn of(slot: Slot) -> Self {
        Self(vec![(slot.number(), slot.number())])
    }

    /// Whether there is no slot in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of slots in it.
    #[must_use]
    pub fn len(&self) -> u16 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Returns the lowest slot in it.
    #[must_use]
    pub fn lowest(&self) -> Option<Slot> {
        self.0.first().map(|&(first, _)| slot(first))
    }

    /// Whether `slot` is in it.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        let slot = slot.number();
        let after = self.0.partition_point(|&(first, _)| first <= slot);
        after.checked_sub(1).is_some_and(|before| slot <= self.0[before].1)
    }

    /// Iterates over its ranges in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<Slot>> + '_ {
        self.0.iter().map(|&(first, last)| slot(first)..=slot(last))
    }

    /// Iterates over its slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().flat_map(|&(first, last)| (first..=last).map(slot))
    }

    /// Returns the slots that are in `self` or in `other`.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of_unsorted([self.0.as_slice(), &other.0].concat())
    }

    /// Returns the slots that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (left.peek(), right.peek()) {
            if a.max(c) <= b.min(d) {
                both.push((a.max(c), b.min(d)));
            }
            if b < d {
                left.next()
            } else {
                right.next()
            };
        }
        Self(both)
    }

    /// Returns the slots of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Returns the number of slots that are in both sets.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> u16 {
        self.intersection(other).len()
    }

    /// Returns the slots that are not in the set.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut next = 0;
        let mut gaps = Vec::new();
        for &(first, last) in &self.0 {
            if next < first {
                gaps.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < Slot::COUNT {
            gaps.push((next, Slot::COUNT - 1));
        }
        Self(gaps)
    }

    fn of_unsorted(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        joined.shrink_to_fit();
        Self(joined)
    }
}

/// Only numbers of slots are ever stored.
fn slot(number: u16) -> Slot {
    Slot::new(number).expect("it was taken from a slot")
}

impl FromIterator<RangeInclusive<Slot>> for SlotSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<Slot>>>(ranges: I) -> Self {
        let ranges = ranges.into_iter().filter(|range| !range.is_empty());
        Self::of_unsorted(ranges.map(|range| (range.start().number(), range.end().number())).collect())
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        slots.into_iter().map(|slot| slot..=slot).collect()
    }
}

/// How many ranges are shown: slots that have moved around may have thousands.
const SHOWN: usize = 16;

impl fmt::Display for SlotSet {
    /// Writes the ranges as `CLUSTER NODES` does: `0-5460,5462`. Of many, only the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index == SHOWN {
                return f.write_str(",…");
            }
            let separator = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(crate) fn set(ranges: &[(u16, u16)]) -> SlotSet {
        ranges.iter().map(|&(first, last)| slot(first)..=slot(last)).collect()
    }

    #[test]
    fn ranges_are_sorted_joined_and_shown_like_cluster_nodes_shows_them() {
        for (ranges, shown) in [
            (&[][..], ""),
            (&[(7, 7)], "7"),
            (&[(5462, 5462), (0, 5460)], "0-5460,5462"),
            (&[(3, 4), (0, 2)], "0-4"),
            (&[(0, 9), (2, 3), (8, 12)], "0-12"),
            (&[(16_383, 16_383), (0, 16_382)], "0-16383"),
        ] {
            assert_eq!(set(ranges).to_string(), shown, "{ranges:?}");
        }
        assert_eq!(set(&[(0, 16_383)]), SlotSet::all());
    }

    #[test]
    fn of_many_ranges_only_the_first_are_shown() {
        let even = |count: u16| (0..2 * count).step_by(2).map(slot).collect::<SlotSet>().to_string();
        assert_eq!(even(16), "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30");
        assert_eq!(even(17), format!("{},…", even(16)));
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_empty() {
        assert!(set(&[(5, 4)]).is_empty());
        assert_eq!(set(&[(5, 4)]).lowest(), None);
    }

    #[test]
    fn the_operations_are_those_of_sets() {
        let mut random = fastrand::Rng::with_seed(7);
        let some = |random: &mut fastrand::Rng| {
            let mut slots = BTreeSet::new();
            for _ in 0..random.usize(..6) {
                // Ranges that touch, overlap and reach both ends.
                let start = [0, 16_340][random.usize(..2)] + random.u16(..40);
                slots.extend((start..(start + random.u16(1..9)).min(Slot::COUNT)).map(slot));
            }
            slots
        };
        let of = |slots: BTreeSet<Slot>| slots.into_iter().collect::<SlotSet>();
        for _ in 0..500 {
            let (left, right) = (some(&mut random), some(&mut random));
            let (a, b) = (of(left.clone()), of(right.clone()));
            assert_eq!(a.union(&b), of(&left | &right), "{a} or {b}");
            assert_eq!(a.intersection(&b), of(&left & &right), "{a} and {b}");
            assert_eq!(a.difference(&b), of(&left - &right), "{a} without {b}");
            assert_eq!(usize::from(a.overlap(&b)), (&left & &right).len(), "{a} and {b}");
            assert_eq!(usize::from(a.len()), left.len(), "{a}");
            assert_eq!(a.lowest(), left.first().copied(), "{a}");
            assert_eq!(a.complement().complement(), a);
            assert_eq!(a.iter().collect::<BTreeSet<_>>(), left, "{a}");
            for number in (0..60).chain(16_320..Slot::COUNT).map(slot) {
                assert_eq!(a.contains(number), left.contains(&number), "{number} in {a}");
            }
        }
    }
}
