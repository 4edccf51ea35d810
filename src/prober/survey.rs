//! One probe of all shards of a cluster, and of their replicas if these are probed, for somebody who waits for it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::{choose, explained, is_standalone, uncovered};
use super::link::Link;
use super::link_record::Series;
use super::links::Links;
use super::replicas::Group;
use super::whole::{LinkId, gravest};
use crate::connection::dialer::Dial;
use crate::probe::{Failure, StepResults};
use crate::status::{ClusterNode, Watch};
use crate::target::{ClusterMode, Endpoint};
use crate::topology::{Node, Shard, SlotSet, Topology};

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
}

/// Asks `front` for the topology, and probes every shard once, side by side, as the tick `number` that `front` has
/// settled.
pub(super) async fn survey<D: Dial<Stream: 'static> + 'static>(
    front: &mut Link<D>,
    links: &mut Links<D>,
    number: u64,
) -> Survey {
    // Sentinels watch no cluster.
    let Some(host) = links.target.server.host().cloned() else { return Survey::Unreachable };
    let Some(answer) = front.topology().await else { return Survey::Unreachable };
    let shared = Arc::clone(&links.shared);
    let (status, clock) = shared.record(|record| (record.status(), record.clock().clone()));
    let Topology { mut shards } = match answer {
        Ok(topology) if topology.shards.is_empty() => return Survey::OneNode(Ok(())),
        Ok(topology) => topology,
        Err(failure) => {
            // Without HELLO, a server that is no cluster was asked as well.
            if !is_standalone(&failure) {
                status.topology_failed(&explained(&failure, &links.target), clock.now());
            }
            return Survey::OneNode(Ok(()));
        }
    };
    let count = shards.len();
    let mut missing = Topology { shards: shards.clone() }.covered().complement();
    let covered = missing.complement();
    let wants_replicas = links.target.cluster.mode == ClusterMode::All;
    let replicas_of = |shard: &Shard| if wants_replicas { shard.replicas.len() } else { 0 };
    let wanted: usize = shards.iter().map(|shard| 1 + replicas_of(shard)).sum();
    let max_nodes = usize::try_from(links.target.cluster.max_nodes.get()).unwrap_or(usize::MAX);
    shards.truncate(max_nodes);
    let room = if wants_replicas { max_nodes - shards.len() } else { 0 };
    let replicas = choose(shards.iter().map(|shard| (shard, |_: &Node| false)), room);
    let nodes: Vec<ClusterNode> = listed(&shards, &replicas, &host).collect();
    let skipped = wanted - nodes.len();
    status.topology(covered, nodes, skipped, clock.now());
    let groups: Vec<Arc<Group>> = shards.iter().map(|_| Arc::new(Group::new(Series::default()))).collect();

    let mut tasks = JoinSet::new();
    let ids: Vec<(LinkId, &Shard)> = shards
        .iter()
        .zip(&groups)
        .map(|(shard, group)| {
            // A node whose address is unknown is looked for at the configured host.
            let endpoint = shard.primary.address_or(&host);
            let slots = Arc::new(shard.slots.clone());
            let group = wants_replicas.then(|| Arc::clone(group));
            let (id, mut link) = links.shard(endpoint, slots, Arc::default(), group, Arc::default(), number);
            tasks.spawn(async move {
                link.probe(number).await;
                link
            });
            (id, shard)
        })
        .collect();
    let others = tasks.join_all().await;

    let mut failures = Vec::new();
    let mut steps = StepResults::default();
    let mut is_reached = false;
    let now = Instant::now();
    for (id, shard) in ids {
        let (watch, failure) = shared.note(|whole, out| {
            let found = (whole.watch_of(id), whole.failure_of(id));
            whole.leave(id, now, out);
            found
        });
        let lowest = shard.lowest().number();
        steps.add_missing(status.steps_of(lowest).unwrap_or_default());
        status.node(lowest, None, watch, clock.now());
        is_reached |= watch != Watch::Unwatched;
        if let Some(failure) = failure {
            status.node_failed(lowest, None, &failure, clock.now());
            // As for the agent, which watches only what it has reached.
            failures.extend((watch != Watch::Unwatched).then_some(failure));
        }
    }
    // They are to return what was just written.
    let to_replicas = shards.iter().zip(&replicas).zip(&groups);
    read_replicas(
        links,
        to_replicas.map(|((shard, nodes), group)| (shard, &nodes[..], group)),
        &host,
        number,
    )
    .await;
    if !missing.is_empty() && count > 1 {
        missing = agreed(missing, front, others).await;
    }
    failures.extend(Some(missing).filter(|slots| !slots.is_empty()).as_ref().map(uncovered));
    let result = gravest(failures).map_or(Ok(()), Err);
    if is_reached { Survey::Done { result, steps } } else { Survey::OneNode(result) }
}

/// Returns which of the slots that `front` knows no owner of have none according to another node, either.
async fn agreed<D: Dial>(
    missing: SlotSet,
    front: &Link<D>,
    others: impl IntoIterator<Item = Box<Link<D>>>,
) -> SlotSet {
    for mut other in others {
        if other.address() != front.address()
            && let Some(Ok(second)) = other.topology().await
        {
            return missing.intersection(&second.covered().complement());
        }
    }
    SlotSet::default()
}

/// Reads the replicas once, side by side. None of them decides the outcome.
async fn read_replicas<'a, D: Dial<Stream: 'static> + 'static>(
    links: &mut Links<D>,
    shards: impl Iterator<Item = (&'a Shard, &'a [Node], &'a Arc<Group>)>,
    host: &Endpoint,
    number: u64,
) {
    let shared = Arc::clone(&links.shared);
    let (status, clock) = shared.record(|record| (record.status(), record.clock().clone()));
    let mut tasks = JoinSet::new();
    let mut asked = Vec::new();
    for (shard, nodes, group) in shards {
        for node in nodes {
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
