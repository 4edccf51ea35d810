//! One probe of all shards of a cluster, and of their replicas if these are probed, for somebody who waits for it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::{choose, explained, is_standalone, missing_in_two, uncovered};
use super::link::Link;
use super::link_record::Series;
use super::links::Links;
use super::replicas::Group;
use super::whole::gravest;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, StepResults};
use crate::status::{ClusterNode, Watch};
use crate::target::{ClusterMode, Endpoint};
use crate::topology::{Node, Shard, Slot, SlotSet, Topology};

/// What was found of the shards.
pub(super) enum Survey {
    /// Each was probed.
    Done {
        /// The failure that is to blame for the whole.
        result: Result<(), Failure>,
        /// For each step the lowest shard's that has run it.
        steps: StepResults,
    },
    /// There is no connection through which to ask for them.
    Unreachable,
    /// The target is one node: the server does not say which shards there are, or none could be reached. The failure is
    /// that of slots which have no owner.
    OneNode(Result<(), Failure>),
    /// The same for a server that lists no slots at all: if it does not serve, that is why.
    NoSlots,
}

/// Asks `front` for the topology, and probes every shard once, side by side, as the tick `number` that `front` has
/// settled. Views of nodes differ: slots have no owner if two nodes say so, and shards that only another node knows are
/// probed as well.
pub(super) async fn survey<D: Dial<Stream: 'static> + 'static>(
    front: &mut Link<D>,
    links: &mut Links<D>,
    number: u64,
) -> Survey {
    // Sentinels watch no cluster.
    let Some(host) = links.target.server.host().cloned() else { return Survey::Unreachable };
    let Some(answer) = front.topology().await else { return Survey::Unreachable };
    let first = match answer {
        Ok(topology) if topology.shards.is_empty() => return Survey::NoSlots,
        Ok(topology) => topology,
        Err(failure) => {
            // Without HELLO, a server that is no cluster was asked as well.
            if !is_standalone(&failure) {
                let failure = explained(&failure, &links.target);
                links.shared.record(|record| record.topology_failed(&failure));
            }
            return Survey::OneNode(Ok(()));
        }
    };
    let mut probes = Probes::new(links, &host, number);
    let others = probes.probe(&first).await;
    let is_alone = first.shards.len() == 1;
    let views = views(first, front.address(), others).await;
    let missing = match &*views {
        [view] if is_alone => view.covered().complement(),
        [_] => SlotSet::default(),
        views => missing_in_two(views),
    };
    let (first, others) = views.split_first().expect("there is that of the host");
    let most = others.iter().max_by_key(|view| view.covered().len());
    if let Some(more) = most.filter(|view| view.covered().len() > first.covered().len()) {
        probes.probe(more).await;
    }
    let Probes { mut failures, steps, is_reached, .. } = probes;
    failures.extend(Some(missing).filter(|slots| !slots.is_empty()).as_ref().map(uncovered));
    let result = gravest(failures).map_or(Ok(()), Err);
    if is_reached { Survey::Done { result, steps } } else { Survey::OneNode(result) }
}

/// Returns the `first` view of the topology, by the server at `address`, and those of `others` until two agree on which slots
/// have an owner. Three are enough.
async fn views<D: Dial>(
    first: Topology,
    address: Option<SocketAddr>,
    others: Vec<Box<Link<D>>>,
) -> Vec<Topology> {
    let (mut views, mut addresses) = (vec![first], vec![address]);
    for mut other in others {
        let do_agree = views.len() == 2 && views[0].covered() == views[1].covered();
        if views.len() == 3 || do_agree {
            break;
        }
        let address = other.address();
        if !addresses.contains(&address)
            && let Some(Ok(view)) = other.topology().await
            && !view.shards.is_empty()
        {
            views.push(view);
            addresses.push(address);
        }
    }
    views
}

/// The probes of shards, and what they have found so far.
struct Probes<'a, D: Dial> {
    links: &'a mut Links<D>,
    host: &'a Endpoint,
    number: u64,
    /// The shards that were probed, by their lowest slots and primaries.
    probed: Vec<(Slot, Node)>,
    failures: Vec<Failure>,
    steps: StepResults,
    is_reached: bool,
}

impl<'a, D: Dial<Stream: 'static> + 'static> Probes<'a, D> {
    fn new(links: &'a mut Links<D>, host: &'a Endpoint, number: u64) -> Self {
        let (probed, failures, steps) = (Vec::new(), Vec::new(), StepResults::default());
        Self { links, host, number, probed, failures, steps, is_reached: false }
    }

    /// Probes the shards of `topology` that were not probed yet, and then their replicas if these are probed. Returns the
    /// links to the primaries.
    async fn probe(&mut self, topology: &Topology) -> Vec<Box<Link<D>>> {
        let Self { links, host, number, .. } = self;
        let shared = Arc::clone(&links.shared);
        let (status, clock) = shared.record(|record| (record.status(), record.clock().clone()));
        let mut shards = topology.shards.clone();
        let wants_replicas = links.target.cluster.mode == ClusterMode::All;
        let replicas_of = |shard: &Shard| if wants_replicas { shard.replicas.len() } else { 0 };
        let wanted: usize = shards.iter().map(|shard| 1 + replicas_of(shard)).sum();
        let max_nodes = usize::try_from(links.target.cluster.max_nodes.get()).unwrap_or(usize::MAX);
        shards.truncate(max_nodes);
        let room = if wants_replicas { max_nodes - shards.len() } else { 0 };
        let replicas = choose(shards.iter().map(|shard| (shard, |_: &Node| false)), room);
        let nodes: Vec<ClusterNode> = listed(&shards, &replicas, host).collect();
        let skipped = wanted - nodes.len();
        status.topology(topology.covered(), nodes, skipped, clock.now());

        let is_new = |shard: &Shard| !self.probed.contains(&(shard.lowest(), shard.primary.clone()));
        let new: Vec<Unprobed<'_>> = shards
            .iter()
            .zip(&replicas)
            .filter(|(shard, _)| is_new(shard))
            .map(|(shard, replicas)| Unprobed {
                shard,
                replicas,
                group: Arc::new(Group::new(Series::default())),
            })
            .collect();
        let mut tasks = JoinSet::new();
        let mut ids = Vec::new();
        for Unprobed { shard, group, .. } in &new {
            // A node whose address is unknown is looked for at the configured host.
            let endpoint = shard.primary.address_or(host);
            let slots = Arc::new(shard.slots.clone());
            let group = wants_replicas.then(|| Arc::clone(group));
            let (id, mut link) = links.shard(endpoint, slots, Arc::default(), group, Arc::default(), *number);
            let number = *number;
            tasks.spawn(async move {
                link.probe(number).await;
                link
            });
            ids.push((id, shard));
        }
        let primaries = tasks.join_all().await;

        let now = Instant::now();
        for (id, shard) in ids {
            let (watch, failure) = shared.note(|whole, out| {
                let found = (whole.watch_of(id), whole.failure_of(id));
                whole.leave(id, now, out);
                found
            });
            let lowest = shard.lowest().number();
            self.steps.add_missing(status.steps_of(lowest).unwrap_or_default());
            status.node(lowest, None, watch, clock.now());
            self.is_reached |= watch != Watch::Unwatched;
            if let Some(failure) = failure {
                status.node_failed(lowest, None, &failure, clock.now());
                // As for the agent, which watches only what it has reached.
                self.failures.extend((watch != Watch::Unwatched).then_some(failure));
            }
            self.probed.push((shard.lowest(), shard.primary.clone()));
        }
        // They are to return what was just written.
        read_replicas(self.links, &new, self.host, self.number).await;
        primaries
    }
}

/// A shard that is to be probed.
struct Unprobed<'a> {
    shard: &'a Shard,
    /// Those that are probed.
    replicas: &'a [Node],
    group: Arc<Group>,
}

/// Reads the replicas once, side by side. None of them decides the outcome.
async fn read_replicas<D: Dial<Stream: 'static> + 'static>(
    links: &mut Links<D>,
    shards: &[Unprobed<'_>],
    host: &Endpoint,
    number: u64,
) {
    let shared = Arc::clone(&links.shared);
    let (status, clock) = shared.record(|record| (record.status(), record.clock().clone()));
    let mut tasks = JoinSet::new();
    let mut asked = Vec::new();
    for Unprobed { shard, replicas, group } in shards {
        for node in *replicas {
            let (endpoint, slots) = (node.address_or(host), Arc::new(shard.slots.clone()));
            let (id, mut link) = links.replica(&node.id, endpoint, slots, group, Arc::default(), number);
            tasks.spawn(async move { drop(link.probe(number).await) });
            asked.push((id, shard.lowest().number(), &node.id, group));
        }
    }
    tasks.join_all().await;
    let mut denied = None;
    for (id, shard, node, group) in asked {
        denied = group.take_denied().pop().map(|(_, failure)| failure).or(denied);
        let watch = group.note(|whole, _| whole.watch_of(id));
        status.node(shard, Some(node), watch, clock.now());
    }
    if let Some(failure) = &denied {
        status.replicas_denied(Some(failure), clock.now());
    }
}

/// Returns the nodes that are probed.
fn listed<'a>(
    shards: &'a [Shard],
    replicas: &'a [Vec<Node>],
    host: &'a Endpoint,
) -> impl Iterator<Item = ClusterNode> + 'a {
    shards.iter().zip(replicas).flat_map(move |(shard, replicas)| {
        let of_shard = move |node: &Node, replica| ClusterNode {
            slots: shard.slots.clone(),
            replica,
            address: Some(node.address_or(host)),
            is_absent: false,
        };
        let replicas = replicas.iter().map(move |node| of_shard(node, Some(Arc::clone(&node.id))));
        [of_shard(&shard.primary, None)].into_iter().chain(replicas)
    })
}
