//! One probe of all shards of a cluster, for somebody who waits for it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::uncovered;
use super::link::Link;
use super::links::Links;
use super::whole::{LinkId, gravest};
use crate::connection::dialer::Dial;
use crate::probe::{Failure, StepResult};
use crate::status::{ClusterNode, Watch};
use crate::topology::{Shard, SlotSet, Topology};

/// What was found of the shards.
pub(super) enum Survey {
    /// Each was probed. The failure is the one to blame for the whole.
    Done(Result<(), Failure>),
    /// There is no connection through which to ask for them.
    Unreachable,
    /// The server does not say which there are.
    Refused,
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
    let result = StepResult::of(&answer);
    let Topology { mut shards } = match answer {
        Ok(topology) if topology.shards.is_empty() => return Survey::Refused,
        Ok(topology) => topology,
        Err(failure) => {
            // Without HELLO, a server that is no cluster was asked as well.
            if result != StepResult::Unsupported {
                status.topology_failed(&failure, clock.now());
            }
            return Survey::Refused;
        }
    };
    let count = shards.len();
    let mut missing = Topology { shards: shards.clone() }.covered().complement();
    let covered = missing.complement();
    shards.truncate(usize::try_from(links.target.cluster.max_nodes.get()).unwrap_or(usize::MAX));
    let nodes = shards.iter().map(node).collect();
    status.topology(covered, nodes, count - shards.len(), clock.now());

    let mut tasks = JoinSet::new();
    let ids: Vec<(LinkId, &Shard)> = shards
        .iter()
        .map(|shard| {
            // A node whose address is unknown is looked for at the configured host.
            let endpoint = shard.primary.address_or(&host);
            let slots = Arc::new(shard.slots.clone());
            let (id, mut link) = links.shard(endpoint, slots, Arc::default(), None, Arc::default(), number);
            tasks.spawn(async move {
                link.probe(number).await;
                link
            });
            (id, shard)
        })
        .collect();
    let others = tasks.join_all().await;

    let mut failures = Vec::new();
    let now = Instant::now();
    for (id, shard) in ids {
        let failure = shared.note(|whole, out| {
            let failure = whole.failure_of(id);
            whole.leave(id, now, out);
            failure
        });
        let lowest = shard.lowest().number();
        status.node(lowest, None, if failure.is_some() { Watch::Down } else { Watch::Up }, clock.now());
        if let Some(failure) = failure {
            status.node_failed(lowest, None, &failure, clock.now());
            failures.push(failure);
        }
    }
    if !missing.is_empty() && count > 1 {
        missing = agreed(missing, front, others).await;
    }
    failures.extend(Some(missing).filter(|slots| !slots.is_empty()).as_ref().map(uncovered));
    Survey::Done(gravest(failures).map_or(Ok(()), Err))
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

fn node(shard: &Shard) -> ClusterNode {
    ClusterNode { slots: shard.slots.clone(), replica: None, address: shard.primary.address.clone() }
}
