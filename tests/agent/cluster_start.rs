//! Agents that start while a cluster has a fault: it is in their first verdict.

use crate::cluster_bed::Cluster;
use crate::nodes::until;
use crate::program::Running;
use crate::redis_server::Listen;
use crate::scrape::Scrape;

/// Starts an agent, and returns it with the first scrape that has a verdict.
async fn first_verdict(cluster: &Cluster) -> (Running, Scrape) {
    let agent = cluster.agent(cluster.node(0).port()).args(["--cluster-refresh", "1s"]).serve().await;
    let has_verdict = |it: &Scrape| it.get(r#"probe_success{target="orders"}"#).is_some();
    let scrape = agent.until("there is a verdict", has_verdict).await;
    (agent, scrape)
}

async fn slots_without_an_owner(full_coverage: bool) {
    let cluster = Cluster::start(Listen::Plaintext).await;
    cluster.require_full_coverage(full_coverage);
    cluster.delete_slots(&(100..=199));
    let (agent, scrape) = first_verdict(&cluster).await;
    assert!(scrape.is_down("orders"), "{}", scrape.text);
    let is_named = |it: &Scrape| it.failures("slots_uncovered", "orders") > 2;
    let scrape = agent.until("the slots are named", is_named).await;
    let (probes, failed) =
        (scrape.count("probes_total", "orders"), scrape.sum("probe_failures_total", "orders"));
    assert_eq!(probes, failed, "{}", scrape.text);
    if !full_coverage {
        // The slots of each shard's key are served.
        assert_eq!(scrape.failures("slots_uncovered", "orders"), probes, "{}", scrape.text);
    }
    assert!(!agent.log().contains("cache available"), "{}", agent.log());
    cluster.add_slots(&(100..=199), 0);
    agent.until("the slots have an owner", |it| it.is_up("orders")).await;
}

#[tokio::test]
async fn slots_that_have_no_owner_are_in_the_first_verdict() {
    slots_without_an_owner(false).await;
}

#[tokio::test]
async fn slots_that_have_no_owner_and_stop_the_cluster_are_in_the_first_verdict() {
    slots_without_an_owner(true).await;
}

#[tokio::test]
async fn a_dead_shard_that_stops_the_cluster_is_in_the_first_verdict() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    cluster.kill(4).await;
    cluster.kill(1).await;
    until(cluster.node(0), &["CLUSTER", "INFO"], "cluster_state:fail").await;
    let (agent, scrape) = first_verdict(&cluster).await;
    assert!(scrape.is_down("orders"), "{}", scrape.text);
    let scrape = agent.until("shards are probed", |it| it.count("probes_total", "orders") > 5).await;
    let (probes, failed) =
        (scrape.count("probes_total", "orders"), scrape.failures("cluster_down", "orders"));
    assert_eq!(probes, failed, "{}", scrape.text);
    assert!(!agent.log().contains("cache available"), "{}", agent.log());
    cluster.restart(1).await;
    agent.until("it serves again", |it| it.is_up("orders")).await;
}

/// The nodes hang, and their listeners still take connections.
#[tokio::test]
async fn a_shard_that_hangs_is_in_the_first_verdict() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    cluster.require_full_coverage(false);
    // Nobody suspects anybody: the topology stays as it is.
    cluster.suspects_nobody();
    cluster.stop(4);
    cluster.stop(1);
    let (agent, scrape) = first_verdict(&cluster).await;
    assert!(scrape.is_down("orders"), "{}", scrape.text);
    let scrape = agent.until("shards are probed", |it| it.count("probes_total", "orders") > 5).await;
    assert_eq!(scrape.count("probes_total", "orders"), scrape.sum("probe_failures_total", "orders"));
    assert!(!agent.log().contains("cache available"), "{}", agent.log());
    cluster.resume(1);
    agent.until("it serves again", |it| it.is_up("orders")).await;
    cluster.resume(4);
}

#[tokio::test]
async fn a_dead_shard_beside_others_that_serve_is_unwatched_until_its_node_is_back() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    cluster.require_full_coverage(false);
    cluster.kill(4).await;
    cluster.kill(1).await;
    let (agent, _) = first_verdict(&cluster).await;
    let unwatched = |it: &Scrape| it.get(r#"cluster_nodes_unwatched{target="orders"}"#);
    let scrape = agent.until("the shard is unwatched", |it| unwatched(it) == Some(1.0)).await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    agent.logs("shard not reached").await;
    cluster.restart(1).await;
    agent.until("it is watched", |it| it.is_up("orders") && unwatched(it) == Some(0.0)).await;
}
