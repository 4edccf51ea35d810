//! Makes the links of one target.

use std::sync::Arc;

use tokio::time::Instant;

use super::directions::Directions;
use super::key::Key;
use super::ledger::{Ledger, Limits};
use super::link::Link;
use super::link_record::{LinkRecord, Series};
use super::maintenance::Maintenance;
use super::opening::Opener;
use super::replicas::{Group, Reader};
use super::round::Rounds;
use super::shared::Shared;
use super::ticks::Ticks;
use super::whole::{LinkId, Part};
use crate::connection::dialer::Dial;
use crate::target::{Endpoint, Target};
use crate::topology::SlotSet;

/// The link to the configured host.
pub(super) const FRONT: LinkId = LinkId(0);

/// Makes the links of one target.
#[derive(Clone, Debug)]
pub(super) struct Links<D> {
    pub(super) target: Arc<Target>,
    pub(super) opener: Opener<D>,
    pub(super) instance: Arc<str>,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    pub(super) maintenance: Option<Arc<Maintenance>>,
    pub(super) rng: fastrand::Rng,
    /// The number of the next shard's link.
    next: u32,
}

impl<D: Dial> Links<D> {
    pub(super) fn new(
        opener: Opener<D>,
        instance: Arc<str>,
        limits: Limits,
        shared: Arc<Shared>,
        maintenance: Option<Arc<Maintenance>>,
        rng: fastrand::Rng,
    ) -> Self {
        let target = Arc::clone(&opener.target);
        Self { target, opener, instance, limits, shared, maintenance, rng, next: FRONT.0 + 1 }
    }

    /// Returns the same maker with another source of randomness.
    pub(super) fn fork(&mut self) -> Self {
        Self { rng: self.rng.fork(), ..self.clone() }
    }

    /// Makes a link to the configured host, whose first tick is the one with the number `first`.
    pub(super) fn front(&mut self, first: u64) -> Box<Link<D>> {
        self.shared.join(FRONT, Part::Front, None, first);
        let endpoint = self.target.server.host().cloned();
        let record = LinkRecord::new(FRONT, Arc::clone(&self.shared), Series::default());
        let served = endpoint.as_ref().and_then(|host| self.shared.memory.slot_at(host));
        let rounds = self.rounds(None);
        let rounds = if let Some(slot) = served { rounds.resume(slot) } else { rounds };
        self.link(record, endpoint, rounds, None)
    }

    /// Makes a link to the node at `endpoint`, which has `slots`. Its first tick is the one with the number `first`. Its
    /// `replicas` are let know what it writes.
    pub(super) fn shard(
        &mut self,
        endpoint: Endpoint,
        slots: Arc<SlotSet>,
        series: Series,
        replicas: Option<Arc<Group>>,
        directions: Arc<Directions>,
        first: u64,
    ) -> (LinkId, Box<Link<D>>) {
        let id = self.next_id();
        self.shared.join(id, Part::Shard(Arc::clone(&slots)), Some(&endpoint), first);
        let record = LinkRecord::new(id, Arc::clone(&self.shared), series);
        let rounds = self.rounds(Some(slots)).shared_with(replicas);
        (id, self.link(record, Some(endpoint), rounds, Some(directions)))
    }

    /// Makes a link to `node` at `endpoint`, a replica in the `group` of the shard that has `slots`.
    pub(super) fn replica(
        &mut self,
        node: &Arc<str>,
        endpoint: Endpoint,
        slots: Arc<SlotSet>,
        group: &Arc<Group>,
        directions: Arc<Directions>,
        first: u64,
    ) -> (LinkId, Box<Link<D>>) {
        let id = self.next_id();
        let is_known = self.shared.memory.contains(&endpoint);
        group.note(|whole, out| {
            whole.join(id, Part::Shard(Arc::clone(&slots)), first);
            if is_known {
                whole.known(id, Instant::now(), out);
            }
        });
        self.shared.record(|record| record.connections(|all| all.replica_joined(id)));
        let (shared, node, group_of) = (Arc::clone(&self.shared), Arc::clone(node), Arc::clone(group));
        let record = LinkRecord::of_replica(id, shared, node, group_of);
        let rounds = self.rounds(Some(slots)).of_replica(Reader::new(Arc::clone(group), id));
        let mut link = self.link(record, Some(endpoint), rounds, Some(directions));
        link.is_to_replica();
        (id, link)
    }

    const fn next_id(&mut self) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        id
    }

    fn rounds(&mut self, slots: Option<Arc<SlotSet>>) -> Rounds {
        let (template, instance) = (self.target.key.clone(), Arc::clone(&self.instance));
        let key = match slots {
            Some(slots) => Key::placed(template, instance, slots, &mut self.rng),
            None => Key::new(template, instance, self.target.keys, &mut self.rng),
        };
        Rounds::new(Arc::clone(&self.target), key, self.rng.fork())
    }

    fn link(
        &mut self,
        record: LinkRecord,
        endpoint: Option<Endpoint>,
        rounds: Rounds,
        directions: Option<Arc<Directions>>,
    ) -> Box<Link<D>> {
        let ledger = Ledger::new(self.limits, self.rng.fork());
        let ticks = Ticks::new(ledger, record);
        // Boxed, because a future keeps a place for each value that is moved through it.
        Box::new(Link::new(
            self.opener.clone(),
            endpoint,
            directions,
            rounds,
            ticks,
            self.rng.fork(),
            self.maintenance.as_ref().map(|maintenance| Box::new(maintenance.link())),
        ))
    }
}
