//! The link to the configured host of a cluster, while the shards are looked for and where they cannot be watched.

use super::cache::State;
use super::*;
use crate::target::{Cluster, ClusterMode};

/// All slots belong to the node that the fake cache knows by its port.
const ONE_SHARD: &str = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n+10.0.0.9\r\n:8500\r\n+a\r\n";

const ASK: &str = "-ASK 42 10.0.0.9:8500\r\n";

/// A cluster's node that has none of our keys.
fn node_without_our_keys() -> Cache {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(SlotSet::default()));
    cache
}

fn cluster() -> Target {
    let cluster = Cluster { mode: ClusterMode::Primaries, ..target().cluster };
    let client_list = ClientListOf { mode: ClientListMode::Off, ..target().client_list };
    Target { client_list, cluster, ..target() }
}

#[tokio::test(start_paused = true)]
async fn the_topology_is_asked_for_only_where_there_may_be_one() {
    let hello = |mode| format!("%3\r\n+proto\r\n:3\r\n+version\r\n+7.2.0\r\n+mode\r\n+{mode}\r\n");
    let (standalone, clustered) = (hello("standalone"), hello("cluster"));
    let unknown = "-ERR unknown command 'HELLO'\r\n".to_owned();
    let nothing: fn(&mut State) = |_| {};
    for (hello, mode, change, asked) in [
        (&standalone, ClusterMode::Auto, nothing, 0),
        (&clustered, ClusterMode::Auto, nothing, 1),
        (&unknown, ClusterMode::Auto, nothing, 1),
        // Who sets this knows better than HELLO says.
        (&standalone, ClusterMode::Primaries, nothing, 1),
        (&standalone, ClusterMode::All, nothing, 1),
        (&clustered, ClusterMode::Off, nothing, 0),
        (&standalone, ClusterMode::Auto, |state| state.own_slots = Some(SlotSet::default()), 1),
        (&standalone, ClusterMode::Off, |state| state.own_slots = Some(SlotSet::default()), 0),
        (&standalone, ClusterMode::Auto, |state| drop(state.canned.insert("SET", ASK.into())), 1),
    ] {
        let cache = Cache::default();
        cache.can("HELLO", hello);
        cache.with(change);
        let cluster = Cluster { mode, ..target().cluster };
        let _running = start(&cache, Target { cluster, ..target() });
        sleep(300 * SECOND).await;
        assert_eq!(cache.count("CLUSTER"), asked, "{hello} {mode:?}");
    }
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

#[tokio::test(start_paused = true)]
async fn new_connections_are_opened_to_the_host_and_to_a_shard_whose_failure_names_its_slots() {
    let cache = node_without_our_keys();
    cache.can("CLUSTER", ONE_SHARD);
    let running = start(&cache, Target { new_connection_every: Some(60 * SECOND), ..cluster() });
    sleep(300 * SECOND).await;
    let to_shard = cache.with(|state| state.asked.iter().filter(|asked| asked.ends_with(" HELLO")).count());
    assert!(to_shard > 3, "{to_shard}");
    cache.with(|state| state.named_away = Some(FailureReason::ConnectRefused));
    sleep(120 * SECOND).await;
    assert!(running.is_up(), "the open connection serves");
    let failures = r#"new_connection_failures_total{reason="connect_refused",target="t"}"#;
    assert!(running.value(failures) > 1.0, "the shard that failed stays the next");
    let status = serde_json::to_value(running.status.document()).unwrap();
    let slots = &status["targets"][0]["new_connection"]["failure"]["slots"];
    assert_eq!(slots, "0-16383", "{status}");
}
