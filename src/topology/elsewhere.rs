//! The slots of other nodes, as far as redirections have shown them: for a node of a cluster that lists no slots.
//!
//! Nodes own ranges of slots. So a slot in the middle of the largest range of which nothing is known is most likely one of
//! the node that was asked, and one between two slots of the same other node less likely.

use std::net::SocketAddr;

use super::{Redirect, RedirectKind, Slot, SlotSet};

/// How many slots are remembered: as many as it takes to find a range of 128.
const MAX: usize = 256;
/// How many slots a guess leaves to choose from: few, and a key is still found at once.
const WIDTH: u16 = 64;
/// How many times less likely a slot lies between two of the same other node.
const SAME: u16 = 4;
/// How far from a slot that is being migrated others are looked for, which are still here.
const NEAR: u16 = 256;

/// The slots that other nodes have than the one at an address.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// The node that was asked.
    asked: Option<SocketAddr>,
    /// The redirection of each slot, in the order of the slots.
    moved: Vec<(Slot, Redirect)>,
    /// The slot that was asked for last and is being migrated.
    migrating: Option<Slot>,
    /// The slot in which the node has taken a key last.
    here: Option<Slot>,
}

impl Elsewhere {
    /// The node at `address` has redirected a key in `slot`. What another node has said is forgotten.
    pub fn redirected(&mut self, address: Option<SocketAddr>, slot: Slot, redirect: Redirect) {
        self.asks(address);
        if self.moved.len() >= MAX {
            self.moved.clear();
        }
        self.migrating = None;
        self.here.take_if(|here| *here == slot);
        match redirect.kind {
            RedirectKind::Ask => self.migrating = Some(slot),
            RedirectKind::Moved => match self.moved.binary_search_by_key(&slot, |(slot, _)| *slot) {
                Ok(place) => self.moved[place].1 = redirect,
                Err(place) => self.moved.insert(place, (slot, redirect)),
            },
        }
    }

    /// The node at `address` has taken a key in `slot`. What another node has said is forgotten.
    pub fn is_here(&mut self, address: Option<SocketAddr>, slot: Slot) {
        self.asks(address);
        self.migrating = None;
        self.here = Some(slot);
        self.moved.retain(|(other, _)| *other != slot);
    }

    fn asks(&mut self, address: Option<SocketAddr>) {
        if self.asked != address {
            *self = Self { asked: address, ..Self::default() };
        }
    }

    /// Returns a few slots of which the node most likely has one: only that of the last key if it is still here.
    #[must_use]
    pub fn guess(&self) -> SlotSet {
        if let Some(slot) = self.migrating {
            return around(slot.number(), NEAR).difference(&SlotSet::of(slot));
        }
        if let Some(slot) = self.here {
            return SlotSet::of(slot);
        }
        let gaps = (0..=self.moved.len()).filter_map(|after| {
            let before = after.checked_sub(1).map(|place| &self.moved[place]);
            let behind = self.moved.get(after);
            let first = before.map_or(0, |(slot, _)| slot.number() + 1);
            let last = behind.map_or(Some(Slot::LAST.number()), |(slot, _)| slot.number().checked_sub(1))?;
            let is_of_one = before.zip(behind).is_some_and(|(one, other)| one.1.leads_where(&other.1));
            let length = last.checked_sub(first)?;
            Some((if is_of_one { length / SAME } else { length }, length, first))
        });
        let Some((_, length, first)) = gaps.max() else { return SlotSet::all() };
        let middle = around(first + length / 2, WIDTH / 2);
        middle.intersection(&range(first, first + length))
    }
}

/// Returns the slots at most so far from `slot`.
fn around(slot: u16, distance: u16) -> SlotSet {
    range(slot.saturating_sub(distance), (slot + distance).min(Slot::LAST.number()))
}

fn range(first: u16, last: u16) -> SlotSet {
    Slot::new(first).zip(Slot::new(last)).map(|(first, last)| first..=last).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<SocketAddr> = None;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn redirect(kind: &str, slot: Slot, port: usize) -> Redirect {
        Redirect::parse(&format!("{kind} {slot} 10.0.0.4:{}", 7000 + port)).unwrap()
    }

    /// Returns how many guesses find a slot of the node 0 in a cluster with these ranges, each of a node.
    fn guesses(ranges: &[(u16, u16, usize)], rng: &mut fastrand::Rng) -> usize {
        let mut elsewhere = Elsewhere::default();
        for count in 1.. {
            let guess: Vec<Slot> = elsewhere.guess().iter().collect();
            let slot = guess[rng.usize(..guess.len())];
            let owner = ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot.number()));
            match owner.unwrap().2 {
                0 => return count,
                owner => elsewhere.redirected(HERE, slot, redirect("MOVED", slot, owner)),
            }
        }
        unreachable!("an endless loop")
    }

    #[test]
    fn a_node_with_a_range_is_found_within_twice_as_many_guesses_as_such_ranges_exist() {
        let mut rng = fastrand::Rng::with_seed(7);
        for nodes in [1, 2, 3, 5, 16, 60] {
            let bound = |place: usize| u16::try_from(16_384 * place / nodes).unwrap();
            for own in 0..nodes {
                let ranges: Vec<_> = (0..nodes)
                    .map(|place| (bound(place), bound(place + 1) - 1, (place + nodes - own) % nodes))
                    .collect();
                let count = guesses(&ranges, &mut rng);
                assert!(count <= 2 * nodes, "{count} guesses for the {own}. of {nodes}");
            }
        }
    }

    #[test]
    fn an_island_in_the_range_of_another_node_is_found_too() {
        let mut rng = fastrand::Rng::with_seed(8);
        for first in [1, 3_000, 8_000, 16_000] {
            let last = first + 200;
            let ranges = [(0, first - 1, 1), (first, last, 0), (last + 1, 16_383, 1)];
            let count = guesses(&ranges, &mut rng);
            assert!(count <= MAX, "{count} from {first}");
        }
    }

    #[test]
    fn a_slot_that_is_being_migrated_is_left_for_one_nearby() {
        let mut elsewhere = Elsewhere::default();
        for number in [0, 5_000, 16_383] {
            elsewhere.redirected(HERE, slot(number), redirect("ASK", slot(number), 1));
            let guess = elsewhere.guess();
            assert!(!guess.contains(slot(number)) && guess.len() >= NEAR, "{guess}");
            assert!(guess.iter().all(|it| it.number().abs_diff(number) <= NEAR), "{guess}");
        }
        elsewhere.is_here(HERE, slot(5));
        assert_eq!(elsewhere.guess(), SlotSet::of(slot(5)));
    }

    #[test]
    fn the_slot_of_the_last_key_is_taken_until_it_has_moved_or_another_node_is_asked() {
        let mut elsewhere = Elsewhere::default();
        elsewhere.is_here(HERE, slot(5));
        elsewhere.redirected(HERE, slot(8_000), redirect("MOVED", slot(8_000), 1));
        assert_eq!(elsewhere.guess(), SlotSet::of(slot(5)));
        let mut moved = elsewhere.clone();
        moved.redirected(HERE, slot(5), redirect("MOVED", slot(5), 2));
        assert!(!moved.guess().contains(slot(5)));
        elsewhere.redirected("10.0.0.5:7000".parse().ok(), slot(8_000), redirect("MOVED", slot(8_000), 1));
        assert!(!elsewhere.guess().contains(slot(5)));
    }

    #[test]
    fn what_another_node_has_said_is_forgotten() {
        let mut elsewhere = Elsewhere::default();
        elsewhere.redirected(HERE, slot(8_000), redirect("MOVED", slot(8_000), 1));
        assert_eq!(elsewhere.guess().to_string(), "12160-12224");
        let there = "10.0.0.5:7000".parse().ok();
        elsewhere.redirected(there, slot(12_000), redirect("MOVED", slot(12_000), 1));
        assert_eq!(elsewhere.guess().to_string(), "5967-6031");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_slot_is_always_found() {
        let mut elsewhere = Elsewhere::default();
        for _ in 0..5_000 {
            let slot = elsewhere.guess().lowest().unwrap();
            elsewhere.redirected(HERE, slot, redirect("MOVED", slot, 1));
            assert!(elsewhere.moved.len() <= MAX);
        }
    }
}
