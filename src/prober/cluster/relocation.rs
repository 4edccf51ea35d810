//! A host whose name leads to another address than before: the cluster there is the target now.

use tokio::time::Instant;
use tracing::info;

use super::answers::Answers;
use super::{Coordinator, MIN_PAUSE};
use crate::connection::dialer::Dial;
use crate::probe::{Failure, StepResult};
use crate::prober::fallback::MEMORY;
use crate::target::AddressMode;
use crate::topology::{Node, Topology};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Follows what the server at the new address has answered. The previous cluster, which may go on to serve, is left.
    pub(super) fn relocate(&mut self, answer: Result<Topology, Failure>) {
        let now = Instant::now();
        match answer {
            // Another node of the same cluster. What it says is compared with what others say.
            Ok(topology) if self.is_of_same_cluster(&topology) => self.next_refresh = now,
            Ok(topology) if !topology.shards.is_empty() => {
                info!(target = %self.links.target.name, "host moved");
                self.answers = Answers::default();
                self.set_uncovered(None);
                self.follow(topology);
                if self.links.target.cluster.address == AddressMode::Host {
                    self.renew();
                }
                // One node's view. Others are connected soon, and may know of more.
                (self.last_refresh, self.next_refresh) = (Some(now), now + *MIN_PAUSE.end());
            }
            Ok(_) => {}
            Err(failure) => {
                let result = StepResult::of::<()>(&Err(failure.clone()));
                // Another node of the same cluster may lack the right. What is known goes on.
                if result != StepResult::Denied || self.shards.is_empty() {
                    self.refused(result, &failure);
                    self.next_refresh = now + MEMORY;
                }
            }
        }
        self.review();
    }

    /// Whether a node that is known is in `topology`, at the same address. Ports of the host lead elsewhere now.
    fn is_of_same_cluster(&self, topology: &Topology) -> bool {
        let is_known =
            |node: &Node| self.shards.iter().any(|watched| watched.shard.nodes().any(|it| it == node));
        self.links.target.cluster.address != AddressMode::Host
            && topology.shards.iter().any(|shard| shard.nodes().any(is_known))
    }

    /// Lets all links open connections anew: they lead to ports of the host.
    fn renew(&self) {
        for watched in &self.shards {
            let direction = watched.direction();
            if let Some(replicas) = &watched.replicas {
                replicas.renew(&direction.slots);
            }
            watched.directions.renew(direction);
        }
    }
}
