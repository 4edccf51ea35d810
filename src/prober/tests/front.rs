//! The link to the configured host of a cluster, while the shards are looked for and where they cannot be watched.

use super::*;
use crate::target::{Cluster, ClusterMode};

/// All slots belong to the node that the fake cache knows by its port.
const ONE_SHARD: &str = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n+10.0.0.9\r\n:8500\r\n+a\r\n";

/// A cluster's node that has none of our keys.
fn node_without_our_keys() -> Cache {
    let cache = Cache::default();
    cache.with(|state| state.own_slot = Some('!'));
    cache
}

fn cluster() -> Target {
    let cluster = Cluster { mode: ClusterMode::Primaries, ..target().cluster };
    let client_list = ClientListOf { mode: ClientListMode::Off, ..target().client_list };
    Target { client_list, cluster, ..target() }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_node_is_left_to_the_link_that_leads_there() {
    let cache = node_without_our_keys();
    cache.can("CLUSTER", ONE_SHARD);
    let (lines, _guard) = logged();
    let running = start(&cache, cluster());
    sleep(25 * SECOND).await;
    assert!(running.is_up(), "{}", lines.text());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!(cache.count("SET"), 1, "no key is searched for");
    assert!(cache.with(|state| state.asked.iter().any(|asked| asked == "10.0.0.9:8500 SET")));
    assert!(!lines.text().contains("cache unavailable"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_searched_for_where_the_topology_is_refused() {
    let cache = node_without_our_keys();
    let running = start(&cache, cluster());
    sleep(15 * SECOND).await;
    assert!(cache.count("SET") > 64, "{}", cache.count("SET"));
    assert!(running.failures("wrong_node") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_searched_for_where_no_shard_can_be_reached() {
    let cache = node_without_our_keys();
    cache.can("CLUSTER", ONE_SHARD);
    cache.with(|state| state.named_away = Some(FailureReason::ConnectRefused));
    let running = start(&cache, cluster());
    sleep(15 * SECOND).await;
    assert!(cache.count("SET") > 64, "{}", cache.count("SET"));
    assert!(running.failures("wrong_node") > 0.0);
}
