//! The primaries of a cluster's shards: which links lead to them, and where.

use tokio::time::Instant;
use tracing::{debug, info};

use super::Coordinator;
use super::watched::Watched;
use crate::connection::dialer::Dial;
use crate::probe::Role;
use crate::prober::directions::Place;
use crate::prober::links::FRONT;
use crate::prober::schedule::offset;
use crate::topology::{Changes, Shard, Topology, continued};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Lets links lead to the shards of `topology`. Returns how many replicas may be probed beside them, and how many nodes
    /// are skipped.
    pub(super) fn follow_primaries(&mut self, topology: Topology) -> (usize, usize) {
        let wants_replicas = self.wants_replicas();
        let links = &mut self.links;
        let metrics =
            self.metrics.get_or_insert_with(|| links.shared.record(|record| record.metrics().cluster()));
        let replicas: usize = topology.shards.iter().map(|shard| shard.replicas.len()).sum();
        metrics.nodes(Role::Primary, topology.shards.len());
        metrics.nodes(Role::Replica, replicas);
        let max_nodes = usize::try_from(links.target.cluster.max_nodes.get()).unwrap_or(usize::MAX);
        let wanted_nodes = topology.shards.len() + if wants_replicas { replicas } else { 0 };
        let skipped = wanted_nodes.saturating_sub(max_nodes);
        let room = max_nodes.saturating_sub(topology.shards.len());
        metrics.nodes_skipped(skipped);
        let mut wanted = topology.shards;
        wanted.truncate(max_nodes);

        let old: Vec<Shard> = self.shards.iter().map(|watched| watched.shard.clone()).collect();
        let is_first = old.is_empty();
        if old == wanted {
            return (room, skipped);
        }
        let changes = (!is_first).then(|| Changes { old: &old, new: &wanted }.to_string());
        let continued = continued(&old, &wanted);
        let mut previous: Vec<Option<Watched>> = self.shards.drain(..).map(Some).collect();
        let matched: Vec<Option<Watched>> =
            continued.iter().map(|place| place.and_then(|place| previous[place].take())).collect();
        // First those that go, so that no series exists twice.
        let now = Instant::now();
        for gone in previous.into_iter().flatten() {
            links.shared.leave(gone.id, now);
        }
        for (watched, shard) in matched.iter().zip(&wanted) {
            if let Some(watched) = watched
                && watched.shard.lowest() != shard.lowest()
            {
                watched.end_series();
            }
        }
        let count = wanted.len();
        let are_known = links.shared.memory.have_reached(&wanted);
        for (place, (watched, shard)) in matched.into_iter().zip(wanted).enumerate() {
            let watched = if let Some(mut watched) = watched {
                if watched.shard.primary != shard.primary {
                    self.answers.forget(Some(watched.id));
                }
                watched.move_to(shard, links);
                watched
            } else {
                // A node whose address is unknown is looked for at the configured host.
                let endpoint = shard.primary.address_or(&self.host);
                let at = now + offset(self.grid.interval, place, count);
                let (grid, tasks) = (self.grid, &mut self.tasks);
                let new = Watched::start(shard, endpoint, at, links, wants_replicas, grid, tasks);
                if are_known[place] {
                    links.shared.note(|whole, out| whole.known(new.id, now, out));
                }
                new
            };
            self.shards.push(watched);
        }
        let shards = &self.shards;
        self.answers.retain(|link| link == FRONT || shards.iter().any(|watched| watched.id == link));
        let (target, shards) = (&links.target.name, self.shards.len());
        match changes {
            None => info!(%target, shards, "cluster found"),
            Some(changes) => {
                metrics.topology_changed();
                if self.log.take(now) {
                    info!(%target, shards, changes, "topology changed");
                } else {
                    debug!(%target, shards, changes, "topology changed again");
                }
            }
        }
        (room, skipped)
    }

    /// Leads links back to where the topology says, if redirections have led them elsewhere. Returns whether all are there,
    /// or on their way.
    pub(super) fn lead_back(&self) -> bool {
        let now = Instant::now();
        let mut are_right = true;
        for watched in &self.shards {
            match watched.directions.place(&watched.endpoint, now) {
                Place::Right => {}
                Place::Ahead => are_right = false,
                Place::Astray => watched.directions.give(watched.direction()),
            }
        }
        are_right
    }

    /// Shows those who open other connections where the shards are.
    pub(super) fn show_reached(&self) {
        let shared = &self.links.shared;
        let is_reached = |watched: &&Watched| shared.is_reached(watched.id);
        let reached = self.shards.iter().filter(is_reached);
        shared.signals.reached(reached.map(|watched| (watched.id, watched.direction())).collect());
    }
}
