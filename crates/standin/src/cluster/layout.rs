//! Which node has which slots, and where a node sends the clients that ask the wrong one. Values without I/O.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::slot::SLOTS;

/// The address that every node announces, as the nodes of a cache behind one address do.
pub(crate) const ADDRESS: &str = "127.0.0.1";

/// The shards of a cluster with their nodes.
pub(crate) struct Layout {
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: Vec<Shard>,
    /// The shard of each slot.
    owners: Vec<usize>,
    /// The slots that are migrating, each with the shard to which it goes.
    migrating: BTreeMap<u16, usize>,
}

/// A node. It belongs to the same shard for ever.
pub(crate) struct Node {
    pub(crate) id: String,
    /// Zero until it listens.
    pub(crate) port: u16,
    pub(crate) shard: usize,
}

/// A primary and its replica, by their indexes.
pub(crate) struct Shard {
    pub(crate) primary: usize,
    pub(crate) replica: usize,
    /// Whether both are down.
    pub(crate) is_lost: bool,
}

/// What a client has said before a command, and about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    /// The command reads and does not write, and `READONLY` was sent on the connection.
    pub(crate) may_read_replica: bool,
    /// `ASKING` was sent just before.
    pub(crate) asking: bool,
    /// The node has the command's keys.
    pub(crate) has_keys: bool,
}

/// Where a command belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Here,
    /// The port of the slot's primary.
    Moved(u16),
    /// The port of the primary to which the slot migrates.
    Ask(u16),
}

impl Layout {
    /// Returns a cluster of `shards` shards with the slots that redis-cli gives them. Node 2n is the primary of shard n,
    /// node 2n+1 its replica.
    pub(crate) fn new(shards: usize) -> Self {
        let slots = usize::from(SLOTS);
        let owner = |slot: usize| ((2 * slot + 1) * shards).saturating_sub(1) / (2 * slots);
        let node = |index: usize| Node { id: format!("{index:040x}"), port: 0, shard: index / 2 };
        let shard = |index: usize| Shard { primary: 2 * index, replica: 2 * index + 1, is_lost: false };
        Self {
            nodes: (0..2 * shards).map(node).collect(),
            shards: (0..shards).map(shard).collect(),
            owners: (0..slots).map(owner).collect(),
            migrating: BTreeMap::new(),
        }
    }

    /// Returns the contiguous ranges of slots, each with its shard.
    pub(crate) fn ranges(&self) -> Vec<(RangeInclusive<u16>, usize)> {
        let mut ranges: Vec<(RangeInclusive<u16>, usize)> = Vec::new();
        for (slot, &owner) in (0..SLOTS).zip(&self.owners) {
            match ranges.last_mut() {
                Some((range, shard)) if *shard == owner => *range = *range.start()..=slot,
                _ => ranges.push((slot..=slot, owner)),
            }
        }
        ranges
    }

    /// Returns the node to which a load balancer leads: the primary of the first shard that is up.
    pub(crate) fn front_door(&self) -> usize {
        self.shards.iter().find(|shard| !shard.is_lost).map_or(0, |shard| shard.primary)
    }

    pub(crate) fn is_primary(&self, node: usize) -> bool {
        self.shards[self.nodes[node].shard].primary == node
    }

    /// Returns where a command for a key in `slot` belongs that was sent to `node`.
    pub(crate) fn route(&self, node: usize, slot: u16, access: Access) -> Route {
        let owner = self.owners[usize::from(slot)];
        let primary = self.shards[owner].primary;
        let heading = self.migrating.get(&slot).map(|&to| self.shards[to].primary);
        match heading {
            Some(to) if primary == node && !access.has_keys => Route::Ask(self.nodes[to].port),
            _ if primary == node => Route::Here,
            Some(to) if to == node && access.asking => Route::Here,
            _ if access.may_read_replica && self.nodes[node].shard == owner => Route::Here,
            _ => Route::Moved(self.nodes[primary].port),
        }
    }

    /// Makes the replica of a shard its primary, and the primary its replica.
    pub(crate) fn fail_over(&mut self, shard: usize) {
        let shard = &mut self.shards[shard];
        std::mem::swap(&mut shard.primary, &mut shard.replica);
    }

    /// Begins to migrate `slots` to the shard `to`.
    pub(crate) fn begin_migration(&mut self, slots: RangeInclusive<u16>, to: usize) {
        let foreign = slots.filter(|&slot| self.owners[usize::from(slot)] != to);
        self.migrating.extend(foreign.map(|slot| (slot, to)));
    }

    /// Ends all migrations. Returns the slots, each with the shards from and to which it has moved.
    pub(crate) fn end_migration(&mut self) -> BTreeMap<u16, (usize, usize)> {
        let moved = std::mem::take(&mut self.migrating).into_iter();
        let owners = &mut self.owners;
        moved.map(|(slot, to)| (slot, (std::mem::replace(&mut owners[usize::from(slot)], to), to))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::new(3);
        for (node, port) in layout.nodes.iter_mut().zip(15_000..) {
            node.port = port;
        }
        layout
    }

    #[test]
    fn three_shards_have_a_third_of_the_slots_each() {
        assert_eq!(layout().ranges(), [(0..=5460, 0), (5461..=10_922, 1), (10_923..=16_383, 2)]);
    }

    #[test]
    fn a_command_belongs_to_the_primary_or_by_readonly_to_the_replica_for_reads() {
        let layout = layout();
        let (none, read) = (Access::default(), Access { may_read_replica: true, ..Access::default() });
        assert_eq!(layout.route(0, 1, none), Route::Here);
        assert_eq!(layout.route(0, 1, read), Route::Here);
        assert_eq!(layout.route(2, 1, none), Route::Moved(15_000));
        assert_eq!(layout.route(1, 1, none), Route::Moved(15_000));
        assert_eq!(layout.route(1, 1, read), Route::Here);
        assert_eq!(layout.route(3, 1, read), Route::Moved(15_000));
    }

    #[test]
    fn after_a_failover_the_old_primary_redirects_to_the_new_one() {
        let mut layout = layout();
        layout.fail_over(0);
        assert_eq!(layout.route(0, 1, Access::default()), Route::Moved(15_001));
        assert_eq!(layout.route(1, 1, Access::default()), Route::Here);
        assert!(layout.is_primary(1) && !layout.is_primary(0));
        assert_eq!(layout.front_door(), 1);
        layout.shards[0].is_lost = true;
        assert_eq!(layout.front_door(), 2);
    }

    #[test]
    fn while_a_slot_migrates_absent_keys_are_asked_for_at_the_other_shard() {
        let mut layout = layout();
        layout.begin_migration(0..=1, 2);
        let (absent, present) = (Access::default(), Access { has_keys: true, ..Access::default() });
        assert_eq!(layout.route(0, 1, present), Route::Here);
        assert_eq!(layout.route(0, 1, absent), Route::Ask(15_004));
        assert_eq!(layout.route(0, 2, absent), Route::Here);
        assert_eq!(layout.route(4, 1, absent), Route::Moved(15_000));
        assert_eq!(layout.route(4, 1, Access { asking: true, ..absent }), Route::Here);
        assert_eq!(layout.end_migration(), BTreeMap::from([(0, (0, 2)), (1, (0, 2))]));
        assert_eq!(layout.route(0, 1, absent), Route::Moved(15_004));
        assert_eq!(layout.ranges()[0], (0..=1, 2));
    }
}
