//! The links to the replicas of one shard: which there are, and which are missing.
//!
//! `group.rs` turns what they find into the series of the shard, `written.rs` says how far behind they are.

mod absence;
mod group;
mod written;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub(super) use self::absence::Absence;
pub(super) use self::group::{Group, Reader};
use super::directions::{Direction, Directions};
use super::fallback::MEMORY;
use super::link_record::Series;
use super::links::Links;
use super::memory::KnownReplica;
use super::schedule::{Grid, Schedule};
use super::shared::Shared;
use super::whole::{LinkId, Part};
use crate::connection::dialer::Dial;
use crate::probe::{Failure, FailureReason, Stage};
use crate::status::{ClusterNode, Watch};
use crate::target::Endpoint;
use crate::topology::{Node, Shard, Slot, SlotSet};

/// The replicas of one shard.
#[derive(Debug)]
pub(super) struct Replicas {
    group: Arc<Group>,
    links: Vec<Replica>,
    /// Nodes of the shard that have to be replicas now, and since when the topology does not name them: its previous primary,
    /// and those that an earlier prober of the target has probed.
    expected: Vec<(Node, Absence)>,
}

/// A replica and its link.
#[derive(Debug)]
struct Replica {
    node: Arc<str>,
    endpoint: Endpoint,
    id: LinkId,
    directions: Arc<Directions>,
    task: AbortHandle,
    shared: Arc<Shared>,
    absence: Absence,
    /// Until when it is not asked again, because the user may not read it.
    denied_until: Option<Instant>,
    /// Whether it was reached before there was this link.
    was_reached: bool,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.record(|record| record.connections(|all| all.left(self.id)));
    }
}

/// How many replicas were reached, were tried in vain or may not be read, and were not tried yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) reached: usize,
    pub(super) unreached: usize,
    pub(super) untried: usize,
}

/// What links are made with.
pub(super) struct Making<'a, D: Dial> {
    pub(super) links: &'a mut Links<D>,
    pub(super) tasks: &'a mut JoinSet<Infallible>,
    pub(super) grid: Grid,
    /// Where nodes are whose address is unknown.
    pub(super) host: &'a Endpoint,
}

impl Replicas {
    pub(super) fn new(series: Series) -> Self {
        Self { group: Arc::new(Group::new(series)), links: Vec::new(), expected: Vec::new() }
    }

    /// Returns what the links share.
    pub(super) const fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Another node than this is the primary now.
    pub(super) fn primary_was(&mut self, node: Node) {
        self.expected.push((node, Absence::default()));
    }

    /// An earlier prober of the target has probed this replica, which the topology does not name.
    pub(super) fn is_missing(&mut self, KnownReplica { node, endpoint, absence, .. }: KnownReplica) {
        self.expected.push((Node { id: node, address: Some(endpoint) }, absence));
    }

    /// Returns the replicas of the shard with this `lowest` slot, for later probers of the target.
    pub(super) fn known(&self, lowest: Slot) -> impl Iterator<Item = KnownReplica> {
        self.links.iter().map(move |link| KnownReplica {
            node: Arc::clone(&link.node),
            endpoint: link.endpoint.clone(),
            lowest,
            absence: link.absence,
        })
    }

    /// Whether there is a link to this node.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.links.iter().any(|link| link.node == node.id)
    }

    /// Counts the replicas of the topology.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for link in self.links.iter().filter(|link| !link.absence.is_absent()) {
            let (is_reached, watch) =
                self.group.note(|whole, _| (whole.is_reached(link.id), whole.watch_of(link.id)));
            if is_reached {
                counts.reached += 1;
            } else if link.denied_until.is_some() || watch != Watch::Unknown {
                counts.unreached += 1;
            } else {
                counts.untried += 1;
            }
        }
        counts
    }

    /// Returns the replicas that are probed or missed, and what is known of them, as nodes of the shard that has `slots`.
    pub(super) fn nodes(&self, slots: &SlotSet) -> Vec<(ClusterNode, Watch)> {
        let now = Instant::now();
        let node = |link: &Replica| {
            let (is_absent, is_missed) = (link.absence.is_absent(), link.absence.is_missed(now));
            let watch = self.group.note(|whole, _| whole.watch_of(link.id));
            let replica = Some(Arc::clone(&link.node));
            let address = Some(link.endpoint.clone());
            let node = ClusterNode { slots: slots.clone(), replica, address, is_absent };
            let watch = if link.denied_until.is_some() { Watch::Unwatched } else { watch };
            (node, if is_missed { Watch::Down } else { watch })
        };
        self.links.iter().map(node).collect()
    }

    /// Whether a replica answers that the topology does not name.
    pub(super) fn is_stale(&self) -> bool {
        let mut absent = self.links.iter().filter(|link| link.absence.is_absent());
        self.group.note(|whole, _| absent.any(|link| whole.watch_of(link.id) == Watch::Up))
    }

    /// Lets the links open connections anew. The shard has these `slots`.
    pub(super) fn renew(&self, slots: &Arc<SlotSet>) {
        for link in &self.links {
            let direction = Direction { endpoint: link.endpoint.clone(), slots: Arc::clone(slots) };
            link.directions.renew(direction);
        }
    }

    /// When time alone changes something.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        self.links.iter().filter_map(|link| link.absence.next_change(now)).min()
    }

    /// Lets links lead to the `wanted` replicas of `shard`. `known` are the ids of all nodes of the topology. Calls `at` for
    /// when each new link opens its connection.
    pub(super) fn follow<D: Dial<Stream: 'static> + 'static>(
        &mut self,
        shard: &Shard,
        wanted: &[Node],
        known: &HashSet<Arc<str>>,
        making: &mut Making<'_, D>,
        mut at: impl FnMut() -> Instant,
    ) {
        let now = Instant::now();
        let slots = Arc::new(shard.slots.clone());
        self.group.note(|whole, _| {
            for link in &self.links {
                whole.rename(link.id, Part::Shard(Arc::clone(&slots)));
            }
        });
        self.links.retain_mut(|link| {
            if link.denied_until.is_some() {
                // It is asked again on a new link.
                let is_wanted = wanted.iter().any(|node| node.id == link.node);
                return is_wanted && link.denied_until.is_some_and(|until| now < until);
            }
            if let Some(node) = wanted.iter().find(|node| node.id == link.node) {
                link.absence = Absence::default();
                link.was_reached = false;
                link.lead_to(node, &slots);
                return true;
            }
            // It may be a primary now, or another's replica.
            let is_elsewhere = known.contains(&link.node);
            let was_reached = link.was_reached || self.group.note(|whole, _| whole.is_reached(link.id));
            if !is_elsewhere && was_reached {
                link.absence.begin(now);
                return true;
            }
            self.group.leave(link.id, now);
            false
        });
        for (node, absence) in std::mem::take(&mut self.expected) {
            if !known.contains(&node.id) && !self.has(&node) {
                let mut link = self.start(&node, &slots, now, making);
                (link.was_reached, link.absence) = (true, absence);
                link.absence.begin(now);
                self.links.push(link);
            }
        }
        for node in wanted {
            if !self.has(node) {
                let link = self.start(node, &slots, at(), making);
                self.links.push(link);
            }
        }
        self.pass(now);
    }

    /// Lets time pass: replicas that are absent are missed, and forgotten at last.
    pub(super) fn pass(&mut self, now: Instant) {
        self.links.retain(|link| {
            let is_forgotten = link.absence.is_over(now);
            if is_forgotten {
                self.group.leave(link.id, now);
            }
            !is_forgotten
        });
        if self.links.is_empty() {
            return self.group.clear();
        }
        let is_missing = self.links.iter().any(|link| link.absence.is_missed(now));
        let missing =
            || Failure::new(FailureReason::WrongNode, Stage::Topology, "a replica has left the topology");
        self.group.miss(is_missing.then(missing), now);
    }

    /// Ends the links to replicas that the user may not read, for a while. Returns how they have refused.
    pub(super) fn deny(&mut self) -> Vec<Failure> {
        let now = Instant::now();
        let mut failures = Vec::new();
        for (id, failure) in self.group.take_denied() {
            let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { continue };
            link.task.abort();
            link.denied_until = Some(now + MEMORY);
            let detail = format!("{} (replica {})", failure.detail, link.endpoint);
            failures.push(Failure { detail: detail.into(), ..failure });
            self.group.leave(id, now);
        }
        if self.links.iter().all(|link| link.denied_until.is_some()) {
            self.group.clear();
        }
        failures
    }

    fn start<D: Dial<Stream: 'static> + 'static>(
        &self,
        node: &Node,
        slots: &Arc<SlotSet>,
        at: Instant,
        making: &mut Making<'_, D>,
    ) -> Replica {
        let endpoint = node.address_or(making.host);
        let schedule = Schedule::after(making.grid, at);
        let directions = Arc::<Directions>::default();
        let (id, link) = making.links.replica(
            &node.id,
            endpoint.clone(),
            Arc::clone(slots),
            &self.group,
            Arc::clone(&directions),
            schedule.number(),
        );
        let task = making.tasks.spawn(link.run_from(at, schedule));
        let node = Arc::clone(&node.id);
        let (shared, absence) = (Arc::clone(&making.links.shared), Absence::default());
        Replica {
            node,
            endpoint,
            id,
            directions,
            task,
            shared,
            absence,
            denied_until: None,
            was_reached: false,
        }
    }
}

impl Replica {
    fn lead_to(&mut self, node: &Node, slots: &Arc<SlotSet>) {
        let endpoint = node.address_or(&self.endpoint);
        self.directions.give(Direction { endpoint: endpoint.clone(), slots: Arc::clone(slots) });
        self.endpoint = endpoint;
    }
}
