//! What has changed from one topology to the next, in words for the log.

use std::fmt;

use super::{Node, Shard, continued};

/// The number of changes that are written out.
const SHOWN: usize = 8;

/// What has changed from the shards `old` to the shards `new`.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// The shards of before.
    pub old: &'a [Shard],
    /// The shards of now.
    pub new: &'a [Shard],
}

impl Changes<'_> {
    fn all(self) -> Vec<String> {
        let continued = continued(self.old, self.new);
        let mut changes = Vec::new();
        for (place, shard) in self.old.iter().enumerate() {
            if !continued.contains(&Some(place)) {
                changes.push(format!("{}: shard gone", shard.slots));
            }
        }
        for (shard, previous) in self.new.iter().zip(continued) {
            match previous {
                Some(place) => of_shard(&self.old[place], shard, &mut changes),
                None => changes.push(format!("{}: new shard, primary {}", shard.slots, name(&shard.primary))),
            }
        }
        changes
    }
}

/// Adds what has changed of one shard.
fn of_shard(old: &Shard, new: &Shard, changes: &mut Vec<String>) {
    let slots = &new.slots;
    if old.slots != new.slots {
        changes.push(format!("{slots}: slots were {}", old.slots));
    }
    if old.primary != new.primary {
        changes.push(match (name(&old.primary), name(&new.primary)) {
            (old, new) if old == new => format!("{slots}: primary {new} replaced by another node"),
            (old, new) => format!("{slots}: primary {old} -> {new}"),
        });
    }
    // A failover changes replicas as well, which goes without saying.
    let come: Vec<&Node> = new.replicas.iter().filter(|node| !old.nodes().any(|it| it == *node)).collect();
    let gone: Vec<&Node> = old.replicas.iter().filter(|node| !new.nodes().any(|it| it == *node)).collect();
    let is_among = |node: &Node, others: &[&Node]| others.iter().any(|other| name(other) == name(node));
    for node in &come {
        let replaced = is_among(node, &gone);
        let change = format!("{slots}: replica {} replaced by another node", name(node));
        changes.push(if replaced { change } else { format!("{slots}: new replica {}", name(node)) });
    }
    for node in gone.iter().filter(|node| !is_among(node, &come)) {
        changes.push(format!("{slots}: replica {} gone", name(node)));
    }
}

fn name(node: &Node) -> String {
    node.address.as_ref().map_or_else(|| node.id.to_string(), ToString::to_string)
}

impl fmt::Display for Changes<'_> {
    /// Writes one line. Of many changes, only the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = self.all();
        f.write_str(&changes[..changes.len().min(SHOWN)].join("; "))?;
        match changes.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Slot;
    use super::*;
    use crate::target::Endpoint;

    fn node(port: u16) -> Node {
        let host = "10.0.0.4".into();
        Node { id: port.to_string().into(), address: Some(Endpoint { host, port }) }
    }

    fn shard(first: u16, last: u16, primary: u16, replicas: &[u16]) -> Shard {
        let slot = |number| Slot::new(number).unwrap();
        Shard {
            slots: [slot(first)..=slot(last)].into_iter().collect(),
            primary: node(primary),
            replicas: replicas.iter().copied().map(node).collect(),
        }
    }

    fn changes(old: &[Shard], new: &[Shard]) -> String {
        Changes { old, new }.to_string()
    }

    #[test]
    fn a_failover_names_both_primaries_and_no_replica() {
        let (rest, old) = (shard(8192, 16_383, 3, &[]), shard(0, 8191, 1, &[2]));
        let died = [shard(0, 8191, 2, &[]), rest.clone()];
        let planned = [shard(0, 8191, 2, &[1]), rest.clone()];
        for new in [died, planned] {
            assert_eq!(
                changes(&[old.clone(), rest.clone()], &new),
                "0-8191: primary 10.0.0.4:1 -> 10.0.0.4:2"
            );
        }
    }

    #[test]
    fn shards_slots_and_replicas_that_come_or_go_are_named() {
        let old = [shard(0, 8191, 1, &[2]), shard(8192, 16_383, 3, &[])];
        let new = [shard(0, 4095, 1, &[4]), shard(4096, 8191, 5, &[])];
        assert_eq!(
            changes(&old, &new),
            "8192-16383: shard gone; 0-4095: slots were 0-8191; 0-4095: new replica 10.0.0.4:4; \
             0-4095: replica 10.0.0.4:2 gone; 4096-8191: new shard, primary 10.0.0.4:5"
        );
    }

    #[test]
    fn another_node_at_the_same_address_is_one_change() {
        let old = shard(0, 16_383, 1, &[2]);
        let mut new = old.clone();
        (new.primary.id, new.replicas[0].id) = ("new".into(), "newer".into());
        assert_eq!(
            changes(&[old], &[new]),
            "0-16383: primary 10.0.0.4:1 replaced by another node; \
             0-16383: replica 10.0.0.4:2 replaced by another node"
        );
    }

    #[test]
    fn a_node_without_an_address_is_named_by_its_id() {
        let mut new = shard(0, 16_383, 2, &[]);
        new.primary.address = None;
        assert_eq!(changes(&[shard(0, 16_383, 1, &[])], &[new]), "0-16383: primary 10.0.0.4:1 -> 2");
    }

    #[test]
    fn many_changes_are_bounded() {
        let new: Vec<Shard> = (0..100).map(|slot| shard(slot, slot, slot + 1, &[])).collect();
        let shown = changes(&[], &new);
        assert!(shown.ends_with("; 7: new shard, primary 10.0.0.4:8; and 92 more"), "{shown}");
    }
}
