//! A key that lies in given slots.

use super::slot::hash_tag;
use super::{Slot, SlotSet};

/// Every slot is reached by far fewer numbers; for a hash tag that is only the number, by those up to 109,757.
const TRIES: u32 = 1 << 20;

/// Returns `base` with the first number 0, 1, 2, … that puts it in one of `slots`: as the hash tag `{n}` at its end, or
/// at the end of its own hash tag if it has one. `None` if there are no slots.
#[must_use]
pub fn key_in(base: &str, slots: &SlotSet) -> Option<String> {
    if slots.is_empty() {
        return None;
    }
    let (head, tail) = match hash_tag(base.as_bytes()) {
        // A brace is a whole character, so that this is no place within one.
        Some((_, end)) => (base[..end].to_owned(), &base[end..]),
        None => (format!("{base}{{"), "}"),
    };
    let mut key = head.clone();
    (0..TRIES).find_map(|number| {
        use std::fmt::Write as _;
        key.truncate(head.len());
        write!(key, "{number}{tail}").expect("a String takes everything");
        slots.contains(Slot::of_key(key.as_bytes())).then(|| key.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(first: u16, last: u16) -> SlotSet {
        [Slot::new(first).unwrap()..=Slot::new(last).unwrap()].into_iter().collect()
    }

    #[test]
    fn the_first_number_that_leads_there_is_the_hash_tag() {
        for (slots, key) in [
            (SlotSet::all(), "cachepulse:a{0}"),
            (set(0, 0), "cachepulse:a{3560}"),
            (set(8191, 8191), "cachepulse:a{42163}"),
            (set(16_383, 16_383), "cachepulse:a{39296}"),
        ] {
            assert_eq!(key_in("cachepulse:a", &slots).as_deref(), Some(key), "{slots}");
        }
        assert_eq!(key_in("cachepulse:a", &SlotSet::default()), None);
    }

    #[test]
    fn slots_that_migrate_are_left_out_by_their_difference() {
        let whole = set(0, 5460);
        let first = key_in("cachepulse:a", &whole).unwrap();
        let migrating = SlotSet::of(Slot::of_key(first.as_bytes()));
        let second = key_in("cachepulse:a", &whole.difference(&migrating)).unwrap();
        assert_ne!(Slot::of_key(first.as_bytes()), Slot::of_key(second.as_bytes()));
    }

    #[test]
    fn a_key_with_braces_of_its_own_reaches_every_third_of_the_slots_and_single_ones() {
        for base in ["a{b}c", "{é}", "a{", "a}", "a{b", "{}", "a{}b{c}", "{a}{b}", "{{a}}", "}{", ""] {
            for slots in
                [set(0, 5460), set(5461, 10_922), set(10_923, 16_383), set(5061, 5061), set(16_383, 16_383)]
            {
                let key = key_in(base, &slots).unwrap_or_else(|| panic!("{base} in {slots}"));
                assert!(slots.contains(Slot::of_key(key.as_bytes())), "{key} in {slots}");
                assert!(key.len() <= base.len() + 8, "{key}");
            }
        }
        assert_eq!(key_in("a{b}c", &SlotSet::all()).as_deref(), Some("a{b0}c"));
    }
}
