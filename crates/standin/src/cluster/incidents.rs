//! The incidents of the demo with a cluster, in turn: the loss of a shard, a planned failover, and announced
//! maintenance, each of another shard than the previous one.

use std::time::Duration;

use tokio::time::sleep;

use super::ClusterHandle;
use crate::event::Event;
use crate::maintenance::Timeline;

/// Causes incidents and never returns: the first after 25 s, then one 40 to 60 s after the end of the previous one.
pub async fn play(cluster: ClusterHandle, mut random: fastrand::Rng) {
    let mut between = |from: u64, to: u64| Duration::from_millis(random.u64(from..=to));
    sleep(Duration::from_secs(25)).await;
    for (incident, index) in (0..3).cycle().zip((0..cluster.shards()).rev().cycle()) {
        let shard = cluster.lowest_slot(index).unwrap_or_default();
        match incident {
            0 => {
                let length = between(5_000, 8_000);
                cluster.emit(Event::ShardLost { shard, length });
                cluster.lose(index);
                sleep(length).await;
                cluster.restore(index);
                cluster.emit(Event::ShardRestored { shard });
            }
            1 => {
                cluster.fail_over(index);
                cluster.emit(Event::FailedOver { shard, port: cluster.primary_port(index) });
            }
            _ => {
                cluster.emit(Event::ShardMaintenanceBegan { shard });
                Timeline::SHORT.play_at(&cluster, index).await;
                cluster.emit(Event::MaintenanceEnded);
            }
        }
        sleep(between(40_000, 60_000)).await;
    }
}
