//! Which shard of a new topology is which of a previous one.

use super::{Shard, Slot};

/// Returns for each of the `new` shards the index of the one in `old` that it continues, if any. Shards match by the
/// greatest number of common slots. Ties go to the same primary, then to the lowest slot.
#[must_use]
pub fn continued(old: &[Shard], new: &[Shard]) -> Vec<Option<usize>> {
    let mut owners = vec![None; usize::from(Slot::COUNT)];
    for (index, shard) in old.iter().enumerate() {
        for slot in shard.slots.iter() {
            owners[usize::from(slot.number())] = Some(index);
        }
    }
    let mut pairs = Vec::new();
    for (index, shard) in new.iter().enumerate() {
        let mut previous: Vec<usize> =
            shard.slots.iter().filter_map(|slot| owners[usize::from(slot.number())]).collect();
        previous.sort_unstable();
        for common in previous.chunk_by(|left, right| left == right) {
            let is_other_primary = old[common[0]].primary.id != shard.primary.id;
            pairs.push((std::cmp::Reverse(common.len()), is_other_primary, index, common[0]));
        }
    }
    pairs.sort_unstable();
    let mut matched = vec![None; new.len()];
    let mut is_taken = vec![false; old.len()];
    for (_, _, index, previous) in pairs {
        if matched[index].is_none() && !is_taken[previous] {
            matched[index] = Some(previous);
            is_taken[previous] = true;
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::*;

    fn shard(primary: &str, ranges: &[(u16, u16)]) -> Shard {
        let slot = |number| Slot::new(number).unwrap();
        Shard {
            slots: ranges.iter().map(|&(first, last)| slot(first)..=slot(last)).collect(),
            primary: Node { id: primary.into(), address: None },
            replicas: Vec::new(),
        }
    }

    fn thirds() -> [Shard; 3] {
        [shard("a", &[(0, 5460)]), shard("b", &[(5461, 10_922)]), shard("c", &[(10_923, 16_383)])]
    }

    #[test]
    fn shards_continue_over_failovers_whatever_their_primaries() {
        let new = [shard("d", &[(0, 5460)]), shard("c", &[(10_923, 16_383)]), shard("e", &[(5461, 10_922)])];
        assert_eq!(continued(&thirds(), &new), [Some(0), Some(2), Some(1)]);
    }

    #[test]
    fn of_a_shard_that_is_split_the_larger_part_continues_or_else_that_of_the_primary() {
        let new = [shard("a", &[(0, 999)]), shard("d", &[(1000, 5460)])];
        assert_eq!(continued(&thirds(), &new), [None, Some(0)]);
        let old = [shard("a", &[(0, 9)])];
        let new = [shard("d", &[(0, 4)]), shard("a", &[(5, 9)])];
        assert_eq!(continued(&old, &new), [None, Some(0)]);
        let new = [shard("d", &[(0, 4)]), shard("e", &[(5, 9)])];
        assert_eq!(continued(&old, &new), [Some(0), None], "neither is the primary's");
    }

    #[test]
    fn resharding_to_two_and_four_keeps_what_it_can() {
        let two = [shard("a", &[(0, 8191)]), shard("b", &[(8192, 16_383)])];
        assert_eq!(continued(&thirds(), &two), [Some(0), Some(2)], "the third has most of the upper half");
        let four = [
            shard("a", &[(1365, 5460)]),
            shard("b", &[(6827, 10_922)]),
            shard("c", &[(12_288, 16_383)]),
            shard("d", &[(0, 1364), (5461, 6826), (10_923, 12_287)]),
        ];
        assert_eq!(continued(&thirds(), &four), [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn a_shard_without_common_slots_is_new_even_at_the_same_primary() {
        let new = [shard("a", &[(5461, 5470)])];
        assert_eq!(continued(&[shard("a", &[(0, 5460)])], &new), [None]);
        assert_eq!(continued(&[], &new), [None]);
        assert_eq!(continued(&thirds(), &[]), []);
    }
}
