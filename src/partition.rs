//! Which agents of a fleet probe which targets: rendezvous hashing of the targets' names. No I/O.
//!
//! Every agent comes to the same result on its own, from the name and the number of partitions alone. The hash must never
//! change: agents of different versions share a fleet during a rollout. `docs/fleets.md` describes it.

use std::fmt;
use std::num::NonZeroU32;

use crate::target::TargetName;

/// One of the partitions of a fleet's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    index: u32,
    of: NonZeroU32,
    copies: NonZeroU32,
}

/// Why numbers make no partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// There is no partition with this index.
    Index,
    /// There are more copies than partitions.
    Copies,
}

impl Partition {
    /// The partition with this `index`, from 0, `of` so many, where `copies` of them have each target.
    ///
    /// # Errors
    /// [`PartitionError`] if the index or the copies do not fit the number of partitions.
    pub fn new(index: u32, of: NonZeroU32, copies: NonZeroU32) -> Result<Self, PartitionError> {
        if index >= of.get() {
            Err(PartitionError::Index)
        } else if copies > of {
            Err(PartitionError::Copies)
        } else {
            Ok(Self { index, of, copies })
        }
    }

    /// Whether the target called `name` belongs to this partition: fewer than `copies` others have a higher weight for it.
    #[must_use]
    pub fn has(self, name: &TargetName) -> bool {
        let seed = fnv1a(name.as_str().as_bytes());
        let own = weight(seed, self.index);
        let higher = (0..self.of.get()).filter(|index| weight(seed, *index) > own);
        higher.take(self.copies.get() as usize).count() < self.copies.get() as usize
    }
}

impl fmt::Display for Partition {
    /// Writes `0 of 3`, counted from 0, and the number of copies if there are several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, of, copies } = self;
        write!(f, "{index} of {of}")?;
        if copies.get() > 1 { write!(f, " with {copies} copies") } else { Ok(()) }
    }
}

/// Returns the weight of the partition with this index: a number of the sequence `SplitMix64` that begins at `seed`. Those of
/// one name are all different, because each step of the sequence can be undone.
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn weight(seed: u64, index: u32) -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = seed.wrapping_add(GAMMA.wrapping_mul(u64::from(index) + 1));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns the hash FNV-1a of 64 bits.
/// Source: Fowler, Noll and Vo, "The FNV non-cryptographic hash algorithm", RFC 9923.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: u32, of: u32, copies: u32) -> Partition {
        let number = |number| NonZeroU32::new(number).unwrap();
        Partition::new(index, number(of), number(copies)).unwrap()
    }

    fn names(count: usize) -> Vec<TargetName> {
        (0..count).map(|number| TargetName::new(&format!("cache-{number}")).unwrap()).collect()
    }

    fn owners(name: &TargetName, of: u32, copies: u32) -> Vec<u32> {
        (0..of).filter(|index| partition(*index, of, copies).has(name)).collect()
    }

    #[test]
    fn each_target_belongs_to_as_many_partitions_as_there_are_copies() {
        for name in &names(300) {
            for of in 1..=12 {
                for copies in 1..=of {
                    assert_eq!(owners(name, of, copies).len(), copies as usize, "{name} in {of}");
                }
            }
        }
    }

    #[test]
    fn a_further_copy_leaves_the_others_where_they_are() {
        for name in &names(1000) {
            let (one, two) = (owners(name, 5, 1), owners(name, 5, 2));
            assert!(two.contains(&one[0]), "{name}");
        }
    }

    #[test]
    fn a_further_partition_takes_its_share_and_nothing_moves_between_the_others() {
        for copies in 1..=3 {
            for of in copies..=8 {
                let mut moved = 0;
                for name in &names(2000) {
                    let (before, after) = (owners(name, of, copies), owners(name, of + 1, copies));
                    let new: Vec<u32> =
                        after.iter().copied().filter(|index| !before.contains(index)).collect();
                    assert!(new.is_empty() || new == [of], "{name}: {before:?} to {after:?}");
                    moved += new.len();
                }
                // Each partition should have its share of the copies; five standard deviations are allowed.
                let share = 2000.0 * f64::from(copies) / f64::from(of + 1);
                assert!((moved as f64 - share).abs() < 5.0 * share.sqrt(), "{moved} of {share}");
            }
        }
    }

    #[test]
    fn partitions_of_many_targets_are_of_similar_size() {
        for (of, copies) in [(2, 1), (3, 1), (3, 2), (10, 1), (10, 3), (100, 1)] {
            let share = 10_000.0 * f64::from(copies) / f64::from(of);
            for index in 0..of {
                let partition = partition(index, of, copies);
                let size = names(10_000).iter().filter(|name| partition.has(name)).count() as f64;
                assert!((size - share).abs() < 5.0 * share.sqrt(), "{size} of {share} in {index} of {of}");
            }
        }
    }

    #[test]
    fn the_hash_is_that_of_every_other_version() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        // The first numbers of the sequence that begins at 0.
        assert_eq!(
            [0, 1, 2].map(|index| weight(0, index)),
            [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
        );
        let owner = |name| owners(&TargetName::new(name).unwrap(), 10, 1)[0];
        let of_names = ["orders", "sessions", "ütf-8", "orders.redis.cache.windows.net:6380"].map(owner);
        assert_eq!(of_names, [8, 0, 0, 6]);
    }

    #[test]
    fn an_index_or_a_number_of_copies_that_does_not_fit_is_an_error() {
        let three = NonZeroU32::new(3).unwrap();
        assert_eq!(Partition::new(3, three, three), Err(PartitionError::Index));
        assert_eq!(Partition::new(0, three, NonZeroU32::new(4).unwrap()), Err(PartitionError::Copies));
        assert!(Partition::new(2, three, three).is_ok());
    }
}
