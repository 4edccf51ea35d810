//! A shard that is watched: its link, its series and its replicas.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::connection::dialer::Dial;
use crate::lock::lock;
use crate::metrics::ClusterMetrics;
use crate::probe::Role;
use crate::prober::directions::{Direction, Directions};
use crate::prober::link_record::Series;
use crate::prober::links::Links;
use crate::prober::replicas::Replicas;
use crate::prober::schedule::{Grid, Schedule};
use crate::prober::whole::{LinkId, Part};
use crate::status::Watch;
use crate::target::Endpoint;
use crate::topology::{Node, Shard};

/// A shard and its link.
pub(super) struct Watched {
    pub(super) shard: Shard,
    /// Where the link was sent to.
    pub(super) endpoint: Endpoint,
    pub(super) id: LinkId,
    pub(super) series: Series,
    pub(super) directions: Arc<Directions>,
    pub(super) task: AbortHandle,
    /// `None` if they are not to be probed.
    pub(super) replicas: Option<Replicas>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
        self.end_series();
    }
}

impl Watched {
    pub(super) fn start<D: Dial<Stream: 'static> + 'static>(
        shard: Shard,
        endpoint: Endpoint,
        at: Instant,
        links: &mut Links<D>,
        wants_replicas: bool,
        grid: Grid,
        tasks: &mut JoinSet<Infallible>,
    ) -> Self {
        let schedule = Schedule::after(grid, at);
        let (series, directions) = (Series::default(), Arc::<Directions>::default());
        let replicas = wants_replicas.then(|| Replicas::new(Arc::clone(&series)));
        let (id, link) = links.shard(
            endpoint.clone(),
            Arc::new(shard.slots.clone()),
            Arc::clone(&series),
            replicas.as_ref().map(|replicas| Arc::clone(replicas.group())),
            Arc::clone(&directions),
            schedule.number(),
        );
        let task = tasks.spawn(link.run_from(at, schedule));
        Self { shard, endpoint, id, series, directions, task, replicas }
    }

    /// Returns where the shard is.
    pub(super) fn direction(&self) -> Direction {
        Direction { endpoint: self.endpoint.clone(), slots: Arc::new(self.shard.slots.clone()) }
    }

    /// Lets the link go on with what the shard is now.
    pub(super) fn move_to<D: Dial>(&mut self, shard: Shard, links: &Links<D>) {
        let endpoint = shard.primary.address_or(&self.endpoint);
        let has_moved = shard.primary != self.shard.primary;
        let slots = Arc::new(shard.slots.clone());
        if shard.slots != self.shard.slots {
            links.shared.note(|whole, _| whole.rename(self.id, Part::Shard(Arc::clone(&slots))));
        }
        if has_moved || shard.slots != self.shard.slots {
            self.directions.give(Direction { endpoint: endpoint.clone(), slots });
        }
        if is_failover(&self.shard, &shard) {
            links.shared.record(|record| record.failed_over());
        }
        let previous = std::mem::replace(&mut self.shard, shard);
        if has_moved && let Some(replicas) = &mut self.replicas {
            replicas.primary_was(previous.primary);
        }
        self.endpoint = endpoint;
    }

    /// Removes the series of the shard.
    pub(super) fn end_series(&self) {
        *lock(&self.series) = None;
    }

    /// Lets the shard have series, if it has none yet.
    pub(super) fn has_series(&self, metrics: &ClusterMetrics, watch: Watch) {
        let replicas = self.replicas.as_ref().and_then(|replicas| replicas.group().verdict());
        let mut series = lock(&self.series);
        if series.is_none() {
            let new = metrics.shard(self.shard.lowest().number());
            if matches!(watch, Watch::Up | Watch::Down) {
                new.verdict(Role::Primary, watch == Watch::Up);
            }
            if let Some(are_up) = replicas {
                new.verdict(Role::Replica, are_up);
            }
            *series = Some(new);
        }
    }
}

/// Whether a replica has become the primary. Slots that have moved to another shard's node are no failover.
fn is_failover(old: &Shard, new: &Shard) -> bool {
    let is_among = |node: &Node, nodes: &[Node]| nodes.iter().any(|other| other.id == node.id);
    old.primary.id != new.primary.id
        && (is_among(&new.primary, &old.replicas) || is_among(&old.primary, &new.replicas))
}
