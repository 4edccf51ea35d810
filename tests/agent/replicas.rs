//! What the agent sees of a cluster's replicas.

use std::time::Duration;

use tokio::time::sleep;

use crate::cluster_bed::Cluster;
use crate::program::{Program, Running};
use crate::redis_server::{ADMIN, Listen, PASSWORD};
use crate::scrape::Scrape;

/// The rights that the documentation says a probe of replicas needs, but for `READONLY`.
const LEAST: &str = "~cachepulse:* +ping +set +get +client|list +cluster|slots";

fn agent(cluster: &Cluster, user: &str) -> Program {
    cluster.daemon(cluster.node(1).port(), user).args(["--interval", "1s", "--cluster-mode", "all"]).args([
        "--new-connection-every",
        "0s",
        "--log-level",
        "debug",
    ])
}

fn success(scrape: &Scrape, shard: u16, role: &str) -> Option<f64> {
    scrape.get(&format!("shard_success{{role=\"{role}\",shard=\"{shard}\",target=\"orders\"}}"))
}

fn replicas(scrape: &Scrape) -> [Option<f64>; 3] {
    [0, 5461, 10_923].map(|shard| success(scrape, shard, "replica"))
}

fn staleness(scrape: &Scrape, shard: u16) -> Option<f64> {
    scrape.get(&format!("shard_replica_staleness_seconds{{shard=\"{shard}\",target=\"orders\"}}"))
}

fn unavailable(scrape: &Scrape, shard: u16) -> f64 {
    let labels = format!("{{role=\"replica\",shard=\"{shard}\",target=\"orders\"}}");
    scrape.value(&format!("shard_unavailable_seconds_total{labels}"))
}

/// Waits until all replicas of three shards are up.
async fn all_up(agent: &Running) -> Scrape {
    all_of(6, agent).await
}

/// The same in a cluster of so many nodes.
async fn all_of(nodes: u64, agent: &Running) -> Scrape {
    let are_up = |it: &Scrape| {
        replicas(it) == [Some(1.0); 3]
            && [0, 5461, 10_923].iter().all(|shard| staleness(it, *shard).is_some())
            && it.count("cluster_nodes_watched", "orders") == nodes
    };
    agent.until("all replicas are up", are_up).await
}

#[tokio::test]
async fn a_killed_replica_is_down_while_the_servers_hide_it_and_up_when_it_returns() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let agent = agent(&cluster, ADMIN).serve().await;
    let scrape = all_up(&agent).await;
    assert!(staleness(&scrape, 0).unwrap() < 1.0, "{}", scrape.text);
    assert_eq!(scrape.count("cluster_nodes_skipped", "orders"), 0);

    cluster.kill(4).await;
    let only_second = [Some(1.0), Some(0.0), Some(1.0)];
    agent.until("the replica is down", |it| replicas(it) == only_second).await;
    let of_replicas = |it: &Scrape| it.value("cluster_nodes{role=\"replica\",target=\"orders\"}");
    agent.until("the servers hide it", |it| of_replicas(it) < 3.0).await;
    // A replica that is away decides nothing, and stays away.
    for _ in 0..10 {
        sleep(Duration::from_millis(200)).await;
        let scrape = agent.scrape().await;
        assert_eq!((replicas(&scrape), scrape.is_up("orders")), (only_second, true), "{}", scrape.text);
    }
    cluster.restart(4).await;
    let scrape = all_up(&agent).await;
    assert!(unavailable(&scrape, 5461) > 2.0, "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert!(unavailable(&scrape, 0) < 0.1, "{}", scrape.text);
}

#[tokio::test]
async fn a_replica_that_lags_is_up_and_its_staleness_grows() {
    let cluster = Cluster::start(Listen::Plaintext).await;
    let agent = agent(&cluster, ADMIN).serve().await;
    all_up(&agent).await;
    // It cannot copy its primary any more, and serves what it has.
    cluster.node(3).ask::<()>(&["CONFIG", "SET", "masterauth", "wrong"]);
    cluster.node(0).ask::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
    let lags = |it: &Scrape| staleness(it, 0).is_some_and(|age| age > 3.0);
    let scrape = agent.until("the replica lags", lags).await;
    assert_eq!(success(&scrape, 0, "primary"), Some(1.0), "{}", scrape.text);
    assert_eq!(success(&scrape, 0, "replica"), Some(1.0), "{}", scrape.text);
    cluster.node(3).ask::<()>(&["CONFIG", "SET", "masterauth", PASSWORD]);
    agent.until("the replica catches up", |it| staleness(it, 0).is_some_and(|age| age < 1.0)).await;
    all_up(&agent).await;
}

#[tokio::test]
async fn the_replicas_of_a_shard_are_up_if_all_are_and_as_stale_as_the_slowest() {
    let mut cluster = Cluster::start(Listen::Tls).await;
    let second = cluster.add_node().await;
    cluster.replicate(second, 0).await;
    cluster.settled().await;
    let agent = agent(&cluster, ADMIN).serve().await;
    let scrape = all_of(7, &agent).await;
    let series =
        scrape.text.lines().filter(|line| line.starts_with("cachepulse_shard_success{role=\"replica\""));
    assert_eq!(series.count(), 3, "one of each shard: {}", scrape.text);
    for replica in [3, second] {
        cluster.kill(replica).await;
        let only_first = [Some(0.0), Some(1.0), Some(1.0)];
        let scrape = agent.until("one of two is down", |it| replicas(it) == only_first).await;
        assert_eq!(success(&scrape, 0, "primary"), Some(1.0), "{}", scrape.text);
        cluster.restart(replica).await;
        cluster.settled().await;
        all_of(7, &agent).await;
    }
    // One copies its primary no more, the other does so again at once.
    cluster.node(second).ask::<()>(&["CONFIG", "SET", "masterauth", "wrong"]);
    cluster.node(0).ask::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
    let lags = |it: &Scrape| staleness(it, 0).is_some_and(|age| age > 3.0);
    let scrape = agent.until("the slowest lags", lags).await;
    assert_eq!(replicas(&scrape), [Some(1.0); 3], "{}", scrape.text);
    assert!(staleness(&scrape, 5461).unwrap() < 1.0, "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
}

#[tokio::test]
async fn a_failover_keeps_the_series_of_replicas() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let agent = agent(&cluster, ADMIN).serve().await;
    let before = all_up(&agent).await;
    cluster.fail_over(3).await;
    let changed = |it: &Scrape| {
        assert!(success(it, 0, "replica").is_some(), "{}", it.text);
        it.count("topology_changes_total", "orders") > before.count("topology_changes_total", "orders")
    };
    agent.until("the topology has changed", changed).await;
    let scrape = all_up(&agent).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);

    // Nobody replaces a primary that is dead: it is missed as a replica.
    cluster.kill(3).await;
    cluster.promoted(0).await;
    let missed = |it: &Scrape| it.is_up("orders") && replicas(it) == [Some(0.0), Some(1.0), Some(1.0)];
    agent.until("the old primary is missed", missed).await;
    cluster.restart(3).await;
    cluster.settled().await;
    all_up(&agent).await;
}

#[tokio::test]
async fn without_the_right_to_read_replicas_only_the_primaries_are_watched() {
    let cluster = Cluster::start(Listen::Plaintext).await;
    for index in 0..6 {
        cluster.node(index).set_user("probe", LEAST);
    }
    let agent = agent(&cluster, "probe").serve().await;
    let found = |it: &Scrape| {
        it.is_up("orders")
            && it.get("cluster_nodes_watched{target=\"orders\"}") == Some(3.0)
            && it.get("cluster_nodes_unwatched{target=\"orders\"}") == Some(3.0)
    };
    let scrape = agent.until("the primaries are watched", found).await;
    assert_eq!(replicas(&scrape), [None; 3], "{}", scrape.text);
    agent.logs("give the user the right `+readonly`").await;
    let cluster = &agent.status().await["targets"][0]["cluster"];
    let advice = cluster["replica_failure"]["advice"].as_str().unwrap_or_default();
    assert!(advice.contains("`+readonly`"), "{cluster}");
    let states = cluster["shards"].as_array().unwrap().iter().map(|node| node["state"].clone());
    assert_eq!(states.filter(|state| state == "unwatched").count(), 3, "{cluster}");
    assert!(agent.get("/").await.body.contains("+readonly"), "the page names it, too");
    let denied = agent.log().matches("+readonly").count();
    let probes = scrape.count("probes_total", "orders");
    agent.until("probes go on", |it| it.count("probes_total", "orders") > probes + 3).await;
    assert_eq!(agent.log().matches("+readonly").count(), denied, "logged once");
}
