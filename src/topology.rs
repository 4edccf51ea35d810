//! The topology of a cluster: its shards, their slots and nodes. Values without I/O.
//!
//! [`crate::connection::session`] asks for it by `CLUSTER SLOTS`.

mod address;
mod changes;
mod elsewhere;
mod matching;
mod redirect;
mod row;
mod shard_key;
mod slot;
mod slot_set;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::target::Endpoint;

pub use self::address::{AnnouncedHost, Hosts};
pub use self::changes::Changes;
pub use self::elsewhere::Elsewhere;
pub use self::matching::continued;
pub use self::redirect::{Redirect, RedirectKind};
pub use self::row::{AnnouncedNode, Row};
pub use self::shard_key::key_in;
pub use self::slot::Slot;
pub use self::slot_set::SlotSet;

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The id; the address of a node that has none.
    pub id: Arc<str>,
    /// Where it can be reached, if that is known.
    pub address: Option<Endpoint>,
}

/// A primary with its slots and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The slots; never empty.
    pub slots: SlotSet,
    /// The node that takes writes.
    pub primary: Node,
    /// The nodes that follow it, as far as they are announced.
    pub replicas: Vec<Node>,
}

impl Shard {
    /// Iterates over the primary and the replicas.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.primary].into_iter().chain(&self.replicas)
    }

    /// Returns the lowest slot, by which a shard is named.
    ///
    /// # Panics
    /// If it has no slots: a topology has no such shard.
    #[must_use]
    pub fn lowest(&self) -> Slot {
        self.slots.lowest().expect("a shard has slots")
    }
}

/// The shards of a cluster by their lowest slots. No slot is in two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The shards.
    pub shards: Vec<Shard>,
}

/// A slot is in two rows of one topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedTwice(pub Slot);

impl fmt::Display for ListedTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} is listed twice", self.0)
    }
}

impl std::error::Error for ListedTwice {}

impl Topology {
    /// Creates a topology of `rows`, which may come in any order and name a shard more than once.
    ///
    /// # Errors
    /// If a slot is in two rows.
    pub fn new(mut rows: Vec<Row>, hosts: Hosts<'_>) -> Result<Self, ListedTwice> {
        rows.sort_unstable_by_key(|row| row.first);
        for pair in rows.windows(2) {
            if pair[1].first <= pair[0].last {
                return Err(ListedTwice(pair[1].first));
            }
        }
        let mut shards: Vec<(Vec<_>, Node, Vec<Node>)> = Vec::new();
        // Nodes that share an id differ by their addresses.
        let mut places = HashMap::<Node, usize>::new();
        let mut known = HashSet::<(usize, Node)>::new();
        for row in rows {
            let primary = Node::new(row.primary, hosts);
            let place = *places.entry(primary).or_insert_with_key(|primary| {
                shards.push((Vec::new(), primary.clone(), Vec::new()));
                shards.len() - 1
            });
            let (ranges, _, replicas) = &mut shards[place];
            ranges.push(row.first..=row.last);
            for replica in row.replicas {
                let replica = Node::new(replica, hosts);
                if known.insert((place, replica.clone())) {
                    replicas.push(replica);
                }
            }
        }
        let shards = shards.into_iter().map(|(ranges, primary, mut replicas)| {
            // Nodes list them in different orders, which is no change of the topology.
            replicas.sort_by(|one, other| one.id.cmp(&other.id));
            Shard { slots: ranges.into_iter().collect(), primary, replicas }
        });
        Ok(Self { shards: shards.collect() })
    }

    /// Returns the slots that have a primary.
    #[must_use]
    pub fn covered(&self) -> SlotSet {
        self.shards.iter().flat_map(|shard| shard.slots.ranges()).collect()
    }

    /// Returns the shard that has `slot`, if any.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.slots.contains(slot))
    }
}

impl Node {
    fn new(announced: AnnouncedNode, hosts: Hosts<'_>) -> Self {
        let address = hosts.address(&announced.host, announced.port);
        let id = match (announced.id, &address) {
            (Some(id), _) => id.into(),
            (None, Some(address)) => address.to_string().into(),
            (None, None) => format!("?:{}", announced.port).into(),
        };
        Self { id, address }
    }

    /// Returns where the node can be reached, or `otherwise` if that is unknown.
    #[must_use]
    pub fn address_or(&self, otherwise: &Endpoint) -> Endpoint {
        self.address.as_ref().unwrap_or(otherwise).clone()
    }
}
