//! The coordinator of a cluster's shards, on a cluster in memory.

mod cluster;

use super::*;
use crate::status::{ClusterDocument, ConnectionState, NodeDocument, TargetDocument, Watch};
use cluster::{Cluster, endpoint};

/// Starts a prober of the cluster, and waits until each of its shards was probed.
async fn start_cluster(cluster: &Cluster, target: Target) -> Running {
    let running = start_prober(cluster.clone(), target, SignIn::None, clock());
    sleep(2 * INTERVAL).await;
    running
}

fn shown(running: &Running) -> TargetDocument {
    running.status.document().targets.remove(0)
}

fn cluster_of(running: &Running) -> ClusterDocument {
    shown(running).cluster.unwrap()
}

/// Shards with their states and addresses.
fn shards(running: &Running) -> Vec<(String, Watch, String)> {
    let shard = |NodeDocument { shard, state, address, .. }| (shard, state, address.unwrap());
    cluster_of(running).shards.into_iter().map(shard).collect()
}

fn of_cluster(running: &Running, metric: &str) -> f64 {
    running.value(&format!(r#"cluster_{metric}{{target="t"}}"#))
}

fn text(running: &Running) -> String {
    std::io::read_to_string(running.metrics.exposition()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_shard_is_found_watched_and_shown_and_the_front_link_ends() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let expected = [("0", 0), ("5461", 1), ("10922", 2)];
    assert_eq!(
        shards(&running),
        expected.map(|(shard, node)| (shard.to_owned(), Watch::Up, endpoint(node).to_string()))
    );
    let shown = cluster_of(&running);
    assert_eq!((shown.slots_covered, shown.slots_available, shown.uncovered), (16_384, 16_384, None));
    assert_eq!(
        (of_cluster(&running, "slots_available"), of_cluster(&running, "nodes_watched")),
        (16_384.0, 3.0)
    );
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    // Two to the configured host's node, of which one has ended; each shard is probed once in an interval.
    assert_eq!((0..3).map(|node| cluster.dials(node)).collect::<Vec<_>>(), [2, 1, 1]);
    let before = cluster.count_all("SET");
    sleep(INTERVAL).await;
    assert_eq!(cluster.count_all("SET") - before, 3);
}

#[tokio::test(start_paused = true)]
async fn first_connections_to_shards_are_spread_over_one_interval() {
    let cluster = Cluster::new(5);
    let _running = start_cluster(&cluster, target()).await;
    let first = cluster.with(|state| state.all[0].dials[0]);
    let dials = (1..5).map(|node| cluster.with(|state| (state.all[node].dials[0] - first).as_secs()));
    assert_eq!(dials.collect::<Vec<_>>(), [2, 4, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_never_reached_is_unwatched_and_does_not_decide() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let running = start_cluster(&cluster, target()).await;
    sleep(3 * INTERVAL).await;
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!((of_cluster(&running, "nodes_watched"), of_cluster(&running, "nodes_unwatched")), (2.0, 1.0));
    assert!(!text(&running).contains(r#"shard="5461""#));
    let shard = cluster_of(&running).shards.remove(1);
    assert_eq!(shard.state, Watch::Unwatched);
    let advice = shard.last_failure.unwrap().failure.advice;
    assert!(advice.contains("Open port 7001"), "{advice}");
    assert_eq!(lines.text().matches("shard not reached; open port 7001").count(), 1, "{}", lines.text());
    // Once it is reached it decides.
    cluster.with(|state| state.all[1].away = None);
    sleep(2 * INTERVAL).await;
    assert_eq!((of_cluster(&running, "nodes_unwatched"), shards(&running)[1].1), (0.0, Watch::Up));
    assert_eq!(lines.text().matches("shard reached").count(), 1, "{}", lines.text());
    cluster.kill(1);
    sleep(2 * SECOND).await;
    assert!(!running.is_up());
    assert_eq!(shards(&running)[1].1, Watch::Down);
}

#[tokio::test(start_paused = true)]
async fn one_lost_connection_of_several_is_no_lost_target() {
    let cluster = Cluster::new(3);
    for (node, clients) in [(0, 3), (1, 5), (2, 7)] {
        cluster.with(|state| state.all[node].clients = clients);
    }
    let running = start_cluster(&cluster, target()).await;
    let protocol = || running.value(r#"protocol{target="t",version="3"}"#);
    assert_eq!((shown(&running).connection_state, protocol()), (ConnectionState::Connected, 1.0));
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 3.0, "the lowest shard's");
    cluster.kill(2);
    sleep(3 * SECOND).await;
    assert_eq!((shown(&running).connection_state, protocol()), (ConnectionState::Connected, 1.0));
    assert!(!running.is_up());
    cluster.kill(0);
    cluster.kill(1);
    sleep(3 * SECOND).await;
    assert_ne!(shown(&running).connection_state, ConnectionState::Connected);
    assert!(!text(&running).contains("cachepulse_protocol{"));
}
