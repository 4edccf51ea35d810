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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cluster::Handles;
    use crate::cluster::layout::Layout;
    use crate::front::Admission;
    use crate::tests::{cache_without_sockets, recorder};

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_lost_and_restored_then_one_fails_over_then_one_is_maintained() {
        let (events, recorded) = recorder();
        let cache = || cache_without_sockets(Arc::clone(&events));
        let cluster = ClusterHandle(Arc::new(Handles {
            layout: Arc::new(Mutex::new(Layout::new(3))),
            keys: (0..3).map(|_| Arc::default()).collect(),
            door: cache(),
            nodes: (0..6).map(|_| cache()).collect(),
        }));
        let playing = tokio::spawn(play(cluster.clone(), fastrand::Rng::with_seed(7)));
        let next = async || {
            while recorded.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
            recorded.lock().unwrap().remove(0)
        };
        let is_away = |index: usize| cluster.primary(index).current_faults().admission == Admission::Refuse;
        for _ in 0..2 {
            let Event::ShardLost { shard: 10_923, length } = next().await else { panic!("it is not lost") };
            assert!((5..=8).contains(&length.as_secs()), "{length:?}");
            assert_eq!([0, 1, 2].map(is_away), [false, false, true]);
            assert_eq!(next().await, Event::ShardRestored { shard: 10_923 });
            assert!(!is_away(2));
            let before = cluster.layout().shards[1].primary;
            assert_eq!(next().await, Event::FailedOver { shard: 5461, port: 0 });
            assert_ne!(cluster.layout().shards[1].primary, before);
            let before = cluster.layout().shards[0].primary;
            assert_eq!(next().await, Event::ShardMaintenanceBegan { shard: 0 });
            assert_eq!(next().await, Event::MaintenanceEnded);
            assert_ne!(cluster.layout().shards[0].primary, before);
            assert!(![0, 1, 2].map(is_away).contains(&true));
        }
        playing.abort();
    }
}
