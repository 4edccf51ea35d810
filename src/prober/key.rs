//! The keys that one prober writes and reads: one, or several that are spread evenly over the hash slots and take turns.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::excerpt::excerpt;
use crate::target::KeyTemplate;
use crate::topology::{Elsewhere, Redirect, Slot, SlotSet, key_in};

/// How many slots a key of several may lie in: few, and a key is still found at once.
const WIDTH: usize = 64;
/// How much of a key is shown, in characters.
const MAX_SHOWN: usize = 80;

/// Keys of one prober's own: two of the same process or host never share one, unless the operator wants it so.
#[derive(Debug)]
pub(super) struct Key {
    template: KeyTemplate,
    instance: Arc<str>,
    /// The slots in which it lies; `None` if it may lie in any.
    slots: Option<Arc<SlotSet>>,
    /// What redirections have shown of the slots, where they are not known otherwise.
    elsewhere: Option<Box<Elsewhere>>,
    /// Never empty. If there are several, each lies in the middle of its part of the slots.
    names: Vec<String>,
    /// The place of the one whose turn it is.
    turn: usize,
    is_renewable: bool,
}

impl Key {
    /// Creates so many `keys` after `template`; `instance` names this process.
    pub(super) fn new(
        template: KeyTemplate,
        instance: Arc<str>,
        keys: NonZeroU32,
        rng: &mut fastrand::Rng,
    ) -> Self {
        Self::of(template, instance, keys, None, rng)
    }

    /// Creates one key after `template` in `slots`.
    pub(super) fn placed(
        template: KeyTemplate,
        instance: Arc<str>,
        slots: Arc<SlotSet>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        Self::of(template, instance, NonZeroU32::MIN, Some(slots), rng)
    }

    fn of(
        template: KeyTemplate,
        instance: Arc<str>,
        keys: NonZeroU32,
        slots: Option<Arc<SlotSet>>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let slot = |instance| Slot::of_key(template.render(instance).as_bytes());
        // Without `{instance}`, or with a hash tag that lacks it, a single key has only one slot.
        let is_renewable = keys.get() > 1 || slot("a") != slot("b");
        let mut key = Self {
            template,
            instance,
            slots,
            elsewhere: None,
            names: vec![String::new(); keys.get() as usize],
            turn: 0,
            is_renewable,
        };
        for turn in 0..key.names.len() {
            key.turn = turn;
            key.renew(rng);
        }
        key.turn = 0;
        key
    }

    /// Returns the key whose turn it is.
    pub(super) fn name(&self) -> &str {
        &self.names[self.turn]
    }

    /// Returns the slot of the key whose turn it is.
    pub(super) fn slot(&self) -> Slot {
        Slot::of_key(self.name().as_bytes())
    }

    /// Lies in `slot` from now on, if there is a choice. Several keys lie in parts of their own. Returns whether the key whose
    /// turn it is lies there.
    pub(super) fn move_to(&mut self, slot: Slot) -> bool {
        if self.is_renewable
            && let [name] = &mut *self.names
            && let Some(there) = key_in(name, &[slot..=slot].into_iter().collect())
        {
            *name = there;
        }
        self.slot() == slot
    }

    /// Lets the next key have its turn.
    pub(super) const fn take_turns(&mut self) {
        self.turn = (self.turn + 1) % self.names.len();
    }

    /// Whether there is a key in another slot to take instead.
    pub(super) const fn is_renewable(&self) -> bool {
        self.is_renewable
    }

    /// Returns the place of the key whose turn it is.
    pub(super) const fn turn(&self) -> usize {
        self.turn
    }

    /// Takes another key where a node most likely has it, as far as redirections have shown; otherwise one of several in the
    /// same part of the slots. It lies in another slot if there is one. Returns the previous key.
    pub(super) fn renew(&mut self, rng: &mut fastrand::Rng) -> String {
        let mut name = self.template.render(&format!("{}-{:08x}", self.instance, rng.u32(..)));
        if self.names.len() > 1 {
            name =
                key_in(&name, &middle(self.turn, self.names.len())).expect("the middle of a part has slots");
        }
        // Another node may have all of that part.
        let guess = self.elsewhere.as_ref().map(|elsewhere| elsewhere.guess());
        if let Some(slots) = self.slots.as_deref().or(guess.as_ref()) {
            let last = self.slot();
            let others = slots.difference(&[last..=last].into_iter().collect());
            let slots = if others.is_empty() { slots } else { &others };
            if !slots.contains(Slot::of_key(name.as_bytes()))
                && let Some(there) = key_in(&name, slots)
            {
                name = there;
            }
        }
        std::mem::replace(&mut self.names[self.turn], name)
    }

    /// The node at `address` has answered that another has the key.
    pub(super) fn redirected(&mut self, address: Option<SocketAddr>, redirect: Redirect) {
        if self.slots.is_none() {
            let slot = self.slot();
            self.elsewhere.get_or_insert_default().redirected(address, slot, redirect);
        }
    }

    /// The node at `address` has the key. The others of several go there as well if it does not have theirs.
    pub(super) fn accepted(&mut self, address: Option<SocketAddr>) {
        if self.elsewhere.is_some() || self.names.len() > 1 {
            let slot = self.slot();
            self.elsewhere.get_or_insert_default().is_here(address, slot);
        }
    }

    /// Whether its slots are known, so that no key needs to be searched.
    pub(super) const fn is_placed(&self) -> bool {
        self.slots.is_some()
    }

    /// Lies in `slots` from now on. Keeps the key if it does so already.
    pub(super) fn place(&mut self, slots: Arc<SlotSet>, rng: &mut fastrand::Rng) {
        let stays = slots.contains(self.slot());
        self.slots = Some(slots);
        if !stays {
            self.renew(rng);
        }
    }

    /// Takes a key of before again.
    pub(super) fn restore(&mut self, name: String) {
        self.names[self.turn] = name;
    }

    /// Returns what identifies the key among several, for people.
    pub(super) fn shown(&self) -> Option<String> {
        let slot = self.slot();
        (self.names.len() > 1).then(|| format!("key {}, slot {slot}", excerpt(self.name(), MAX_SHOWN)))
    }
}

/// Returns the slots in the middle of one of so many equal parts: keys there are at equal distances, so that none is far
/// from both ends of a range that is as long as a part.
fn middle(index: usize, parts: usize) -> SlotSet {
    let middle = (2 * index + 1) * usize::from(Slot::COUNT) / (2 * parts);
    let slot = |number| u16::try_from(number).ok().and_then(Slot::new);
    let (first, last) = (slot(middle - WIDTH / 2), slot(middle + WIDTH / 2 - 1));
    first.zip(last).map(|(first, last)| first..=last).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(template: &str, keys: u32) -> Key {
        let template = KeyTemplate::new(template).unwrap();
        let keys = NonZeroU32::new(keys).unwrap();
        Key::new(template, "pod".into(), keys, &mut fastrand::Rng::with_seed(1))
    }

    fn turns(key: &mut Key) -> Vec<String> {
        let names = (0..key.names.len()).map(|_| {
            let name = key.name().to_owned();
            key.take_turns();
            name
        });
        names.collect()
    }

    #[test]
    fn every_range_that_is_a_little_longer_than_a_part_has_a_key() {
        for parts in [2, 3, 7, 16, 63, 64] {
            let sets: Vec<_> = (0..parts).map(|index| middle(index, parts)).collect();
            let length = 16_384 / parts + WIDTH;
            for first in 0..=16_384 - length {
                let slots = |number: usize| Slot::new(number.try_into().unwrap()).unwrap();
                let range: SlotSet = [slots(first)..=slots(first + length - 1)].into_iter().collect();
                assert!(sets.iter().any(|set| set.difference(&range).is_empty()), "{parts}: {range}");
            }
        }
    }

    #[test]
    fn several_keys_take_turns_one_in_each_part_of_the_slots() {
        for keys in [2, 16, 64] {
            let mut key = key("cachepulse:{instance}", keys);
            let names = turns(&mut key);
            for (index, name) in names.iter().enumerate() {
                let slot = Slot::of_key(name.as_bytes());
                assert!(middle(index, keys as usize).contains(slot), "{name}");
                assert!(name.starts_with("cachepulse:pod-"), "{name}");
            }
            assert_eq!(turns(&mut key), names, "they stay");
        }
    }

    #[test]
    fn another_key_lies_in_the_same_part() {
        let mut key = key("cachepulse:{instance}", 3);
        key.take_turns();
        let before = key.renew(&mut fastrand::Rng::with_seed(2));
        assert_ne!(key.name(), before);
        assert!(middle(1, 3).contains(Slot::of_key(key.name().as_bytes())));
        key.restore(before.clone());
        assert_eq!(key.name(), before);
    }

    #[test]
    fn a_key_that_has_moved_is_followed_by_one_in_the_middle_of_the_slots_that_are_not_known() {
        let (mut key, mut rng) = (key("cachepulse:{instance}", 1), fastrand::Rng::with_seed(3));
        let slot = |key: &Key| Slot::of_key(key.name().as_bytes()).number();
        let before = slot(&key);
        let redirect = Redirect::parse(&format!("MOVED {before} 10.0.0.4:7001")).unwrap();
        key.redirected(None, redirect);
        key.renew(&mut rng);
        let unknown = if before < 8192 { (before + 1, 16_383) } else { (0, before - 1) };
        let middle = u16::midpoint(unknown.0, unknown.1);
        assert!(slot(&key).abs_diff(middle) <= 32, "{} after {before}", slot(&key));
    }

    #[test]
    fn a_single_key_is_as_the_operator_wrote_it_and_not_named_in_failures() {
        assert_eq!((key("health", 1).name(), key("health", 1).shown()), ("health", None));
        assert_eq!(key("health", 2).name(), "health{47}", "the same for all probers");
    }

    #[test]
    fn a_key_is_shown_with_its_slot_and_cut() {
        let long = key(&"x".repeat(500), 2).shown().unwrap();
        assert!(long.starts_with("key xxx") && long.chars().count() < 110, "{long}");
    }

    #[test]
    fn only_a_key_whose_slot_may_change_is_renewable() {
        for (template, is_renewable) in [
            ("cachepulse:{instance}", true),
            ("{{instance}}", true),
            ("health", false),
            ("{orders}:{instance}", false),
        ] {
            assert_eq!(key(template, 1).is_renewable(), is_renewable, "{template}");
        }
    }

    #[test]
    fn the_next_key_of_a_shard_lies_in_another_slot_if_there_is_one() {
        let slot = |number| Slot::new(number).unwrap();
        let template = KeyTemplate::new("cachepulse:{instance}").unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        for (first, last) in [(5461, 10_922), (7, 8), (7, 7)] {
            let slots: Arc<SlotSet> = Arc::new([slot(first)..=slot(last)].into_iter().collect());
            let mut key = Key::placed(template.clone(), "pod".into(), Arc::clone(&slots), &mut rng);
            for _ in 0..20 {
                let before = Slot::of_key(key.renew(&mut rng).as_bytes());
                let now = Slot::of_key(key.name().as_bytes());
                assert!(slots.contains(now));
                assert_eq!(now == before, first == last, "{before}");
            }
        }
    }
}
