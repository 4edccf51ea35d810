//! A cache with several shards: its kinds, and what can happen to it.
//!
//! The nodes are stores in memory. The replica of a shard has the keys of its primary, and every node announces the
//! same address with a port of its own. While a shard is lost, the others serve their slots.

pub mod incidents;
pub(crate) mod layout;
pub(crate) mod slot;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use self::layout::Layout;
use self::slot::slot_of;
use crate::authority::Authority;
use crate::event::Event;
use crate::front::{
    Admission, Announcing, CacheFront, CacheHandle, CacheOptions, Connector, Dialect, Ending, Profile,
};
use crate::ports::{BindError, Service};
use crate::store::{Keys, Place, Seat, Store, lock};

/// A product of Azure, with the policy that decides how clients see its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Azure Cache for Redis, tier Premium: nodes at ports from 15000 on.
    CacheForRedis,
    /// Azure Managed Redis with the OSS cluster policy: nodes at ports from 8500 on.
    ManagedRedisOss,
    /// Azure Managed Redis with the Enterprise cluster policy: one endpoint serves every slot.
    ManagedRedisEnterprise,
}

/// How a cluster is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The product.
    pub product: Product,
    /// The number of shards, each with a primary and a replica.
    pub shards: usize,
    /// The port of the first node; the others have the next ports. Zero takes free ports.
    pub node_port: u16,
}

impl Default for ClusterOptions {
    /// Three shards of Azure Cache for Redis, on free ports.
    fn default() -> Self {
        Self { product: Product::CacheForRedis, shards: 3, node_port: 0 }
    }
}

/// A cluster behind one front door. It stops when dropped.
pub(crate) struct Cluster {
    pub(crate) door: CacheFront,
    pub(crate) handle: ClusterHandle,
    _nodes: Vec<CacheFront>,
}

/// Changes a cluster while it runs. Clones are the same cluster.
#[derive(Clone)]
pub struct ClusterHandle(Arc<Handles>);

struct Handles {
    layout: Arc<Mutex<Layout>>,
    /// The keys of each shard; those of the whole cache with the Enterprise policy.
    keys: Vec<Arc<Mutex<Keys>>>,
    door: CacheHandle,
    nodes: Vec<CacheHandle>,
}

impl Cluster {
    /// Starts one. `cache` describes its front door, and its nodes except for the port.
    pub(crate) fn start(
        options: ClusterOptions,
        cache: CacheOptions,
        authority: &Arc<Authority>,
    ) -> Result<Self, BindError> {
        let managed = options.product != Product::CacheForRedis;
        let shards = if options.product == Product::ManagedRedisEnterprise { 0 } else { options.shards };
        let layout = Arc::new(Mutex::new(Layout::new(shards)));
        let keys: Vec<Arc<Mutex<Keys>>> = (0..shards.max(1)).map(|_| Arc::default()).collect();
        let store = |node: usize| {
            let seat = Seat { layout: Arc::clone(&layout), node, managed };
            Store::new(Place::Node(seat), Arc::clone(&keys[node / 2]))
        };
        let stores: Vec<Store> = (0..2 * shards).map(store).collect();
        let at_door = if stores.is_empty() {
            Connector::before(Store::new(Place::Proxied, Arc::clone(&keys[0])))
        } else {
            Connector::before_any(stores.clone(), Arc::clone(&layout))
        };
        let nodes: Result<Vec<_>, _> = (0..)
            .zip(stores)
            .map(|(index, store)| {
                let port = if options.node_port == 0 { 0 } else { options.node_port.saturating_add(index) };
                let connector = at_door.with_store(store);
                CacheFront::start_before(
                    connector,
                    CacheOptions { port, service: Service::Node, ..cache.clone() },
                    Arc::clone(authority),
                )
            })
            .collect();
        let nodes = nodes?;
        for (node, front) in lock(&layout).nodes.iter_mut().zip(&nodes) {
            node.port = front.port();
        }
        let door = CacheFront::start_before(at_door, cache, Arc::clone(authority))?;
        let handles = Handles {
            layout,
            keys,
            door: door.handle().clone(),
            nodes: nodes.iter().map(|front| front.handle().clone()).collect(),
        };
        let handle = ClusterHandle(Arc::new(handles));
        if managed {
            let (dialect, announcing) = (Dialect::ManagedRedis, Announcing::Nothing);
            handle.all().for_each(|it| it.set_profile(Profile { dialect, announcing, ..Profile::default() }));
        }
        Ok(Self { door, handle, _nodes: nodes })
    }
}

impl ClusterHandle {
    /// Returns the number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.layout().shards.len()
    }

    /// Returns the lowest slot of a shard, which names it.
    #[must_use]
    pub fn lowest_slot(&self, shard: usize) -> Option<u16> {
        self.layout().ranges().iter().find(|(_, owner)| *owner == shard).map(|(range, _)| *range.start())
    }

    /// Returns the ports of all nodes.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.layout().nodes.iter().map(|node| node.port).collect()
    }

    /// Returns the port of a shard's primary.
    #[must_use]
    pub fn primary_port(&self, shard: usize) -> u16 {
        let layout = self.layout();
        layout.nodes[layout.shards[shard].primary].port
    }

    /// Returns the handle of a shard's primary, for its faults.
    #[must_use]
    pub fn primary(&self, shard: usize) -> CacheHandle {
        let index = self.layout().shards[shard].primary;
        self.0.nodes[index].clone()
    }

    /// Returns the handles of all nodes and of the front door.
    pub fn all(&self) -> impl Iterator<Item = &CacheHandle> {
        self.0.nodes.iter().chain([&self.0.door])
    }

    /// Takes both nodes of a shard down. The front door leads to another shard.
    pub fn lose(&self, shard: usize) {
        self.layout().shards[shard].is_lost = true;
        for node in self.nodes_of(shard) {
            node.faults(|faults| faults.admission = Admission::Refuse);
            node.close_all(Ending::Close);
        }
        self.0.door.close_all(Ending::Close);
    }

    /// Brings a lost shard back.
    pub fn restore(&self, shard: usize) {
        self.layout().shards[shard].is_lost = false;
        for node in self.nodes_of(shard) {
            node.faults(|faults| faults.admission = Admission::Serve);
        }
    }

    /// Makes the replica of a shard its primary, and closes the connections to the old primary, as Azure does.
    pub fn fail_over(&self, shard: usize) {
        let (old, was_at_door) = {
            let mut layout = self.layout();
            let (old, was_at_door) = (layout.shards[shard].primary, layout.front_door());
            layout.fail_over(shard);
            (old, was_at_door == old)
        };
        self.0.nodes[old].close_all(Ending::Close);
        if was_at_door {
            self.0.door.close_all(Ending::Close);
        }
    }

    /// Publishes the notice of maintenance `kind` of the node at `port` on the channel `AzureRedisEvents`, at every
    /// node.
    pub fn announce(&self, kind: &str, start: &str, port: u16) {
        self.all().for_each(|node| node.announce_at(kind, start, port));
    }

    /// Returns the slots of the stored keys, in order. Two keys in one slot count twice.
    #[must_use]
    pub fn slots_in_use(&self) -> Vec<u16> {
        let now = Instant::now();
        let slots = |keys: &Arc<Mutex<Keys>>| lock(keys).names(now).map(slot_of).collect::<Vec<_>>();
        let mut slots: Vec<u16> = self.0.keys.iter().flat_map(slots).collect();
        slots.sort_unstable();
        slots
    }

    /// Begins to migrate `slots` to the shard `to`: new keys go there.
    pub fn begin_migration(&self, slots: RangeInclusive<u16>, to: usize) {
        self.layout().begin_migration(slots, to);
    }

    /// Ends all migrations: the keys and slots move.
    pub fn end_migration(&self) {
        let moved = self.layout().end_migration();
        for (shard, keys) in self.0.keys.iter().enumerate() {
            let leaving = lock(keys).take_where(|key| {
                moved.get(&slot_of(key)).is_some_and(|&(from, to)| from == shard && to != shard)
            });
            for (key, entry) in leaving {
                let (_, to) = moved[&slot_of(&key)];
                lock(&self.0.keys[to]).put(key, entry);
            }
        }
    }

    pub(crate) fn emit(&self, event: Event) {
        self.0.door.emit(event);
    }

    fn nodes_of(&self, shard: usize) -> [&CacheHandle; 2] {
        let layout = self.layout();
        let shard = &layout.shards[shard];
        [shard.primary, shard.replica].map(|index| &self.0.nodes[index])
    }

    fn layout(&self) -> MutexGuard<'_, Layout> {
        lock(&self.0.layout)
    }
}
