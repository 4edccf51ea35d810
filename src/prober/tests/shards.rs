//! The coordinator of a cluster's shards, on a cluster in memory.

mod cluster;
mod failovers;
mod log;
mod maintenance;
mod one_node;
mod readings;
mod refusals;
mod reload;
mod renewal;
mod replicas;
mod roles;
mod slots;
mod survey;
mod unwatched;
mod views;

use super::*;
use crate::probe::Step;
use crate::status::{ClusterDocument, ConnectionState, NodeDocument, TargetDocument, Watch};
use crate::target::ClusterMode;
use cluster::{Cluster, Keys, Node, endpoint};

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
    std::io::read_to_string(running.metrics.exposition(Format::Text)).unwrap()
}

/// Returns the verdict, if there is one.
fn verdict(running: &Running) -> Option<bool> {
    text(running).contains("cachepulse_probe_success{").then(|| running.is_up())
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
    let counts = shown.counts.unwrap();
    assert_eq!((counts.slots_covered, counts.slots_available, shown.uncovered), (16_384, 16_384, None));
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
async fn a_shard_that_is_down_shows_no_steps_of_before() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let steps = || cluster_of(&running).shards.remove(1).steps.len();
    assert_eq!(steps(), Step::ALL.len());
    cluster.kill(1);
    sleep(SECOND).await;
    assert_eq!((shards(&running)[1].1, steps()), (Watch::Down, 0));
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

#[tokio::test(start_paused = true)]
async fn the_first_shards_server_stands_for_a_cluster_that_is_entered_through_a_replica() {
    let cluster = Cluster::new(2);
    // The configured host's node has no slots, and the third one takes its place.
    cluster.with(|state| (state.slots[0].2, state.all[0].is_replica) = (2, true));
    let running = start_cluster(&cluster, target()).await;
    let server = shown(&running).server.unwrap();
    assert_eq!((server.role, &*server.version), ("primary", "7.2.2"));
    let info = r#"server_info{mode="cluster",role="primary",server="unknown",target="t",version="7.2.2"}"#;
    assert_eq!(running.value(info), 1.0, "{}", text(&running));
}

#[tokio::test(start_paused = true)]
async fn nodes_over_the_limit_are_counted_and_not_probed() {
    let cluster = Cluster::new(3);
    let mut limited = target();
    limited.cluster.max_nodes = NonZeroU32::new(2).unwrap();
    let running = start_cluster(&cluster, limited).await;
    assert_eq!(
        (of_cluster(&running, "nodes_skipped"), cluster_of(&running).counts.unwrap().nodes_skipped),
        (1.0, 1)
    );
    assert_eq!((shards(&running).len(), cluster.dials(2), running.all_failures()), (2, 0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_address_is_unknown_is_not_shown_at_the_configured_hosts() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].is_nameless = true);
    let running = start_cluster(&cluster, target()).await;
    cluster.kill(1);
    sleep(2 * INTERVAL).await;
    let shown = cluster_of(&running).shards;
    let found: Vec<_> = shown.into_iter().map(|node| (node.state, node.address)).collect();
    let address = |node| Some(endpoint(node).to_string());
    assert_eq!(found, [(Watch::Up, address(0)), (Watch::Down, None), (Watch::Up, address(2))]);
}

fn with_replicas() -> Target {
    let mut target = target();
    target.cluster.mode = ClusterMode::All;
    target
}

fn states(running: &Running) -> Vec<(&'static str, Watch)> {
    cluster_of(running).shards.into_iter().map(|node| (node.role.as_str(), node.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_connection_counts_phases_and_the_first_certificate_to_expire_of_all_is_shown() {
    let expiry = |days: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400));
    let cluster = Cluster::with_replicas(2);
    cluster.with(|state| {
        for (node, days) in state.all.iter_mut().zip([40, 30, 20, 50]) {
            node.expiry = expiry(days);
        }
    });
    let every = Some(60 * SECOND);
    let running = start_cluster(&cluster, Target { new_connection_every: every, ..with_replicas() }).await;
    sleep(2 * INTERVAL).await;
    let shown = || running.value(r#"tls_certificate_expiry_timestamp_seconds{target="t"}"#) / 86_400.0;
    let phases = || running.value(r#"phase_duration_seconds_count{phase="connect",target="t"}"#);
    let dials = || (0..4).map(|node| cluster.dials(node)).sum::<usize>();
    assert_eq!(shown(), 20.0, "a replica's");
    // They are renewed, which new connections to the host and in turn to each shard find first.
    cluster.with(|state| state.all[1].expiry = expiry(10));
    let before = dials();
    sleep(300 * SECOND).await;
    assert_eq!(shown(), 10.0, "of a new connection to a shard");
    assert!(dials() >= before + 8, "two each time");
    assert_eq!(phases(), f64::from(u32::try_from(dials()).unwrap()), "every connection");
}
