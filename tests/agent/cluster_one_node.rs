//! A cluster that is probed as one node, because its topology is refused or not asked for.

use std::time::Duration;

use crate::cluster_bed::Cluster;
use crate::load::Load;
use crate::nodes::node;
use crate::program::{Program, cachepulse};
use crate::redis_server::{ADMIN, ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

const INTERVAL: Duration = Duration::from_millis(500);

/// The number of keys that were written.
const SET: &str = r#"step_results_total{result="success",step="set",target="orders"}"#;

/// Rights without the one to ask for the topology.
const NARROW: [&str; 6] = ["on", "~cachepulse:*", "+ping", "+set", "+get", "+client|list"];

/// The host fails over to its replica, which dies then.
async fn the_shard_is_followed(cluster: &mut Cluster, agent: Program) {
    let agent = agent.args(["--interval", "500ms", "--new-connection-every", "0s"]).serve().await;
    // A host that has not taken a key yet may always have been a replica.
    let takes_keys = |it: &Scrape| it.is_up("orders") && it.get(SET).is_some_and(|keys| keys > 0.0);
    let before = agent.until("it is up and takes keys", takes_keys).await;
    assert_eq!(before.sum("probe_failures_total", "orders"), 0, "{}", before.text);
    let load = Load::on(&agent);
    let late = load.so_far();
    cluster.fail_over(3).await;
    let probes = agent.scrape().await.count("probes_total", "orders");
    let goes_on = |it: &Scrape| it.is_up("orders") && it.count("probes_total", "orders") > probes + 5;
    let scrape = agent.until("probes go on", goes_on).await;
    let late = u64::try_from(load.since(late).as_millis() / INTERVAL.as_millis()).unwrap();
    let failures = scrape.sum("probe_failures_total", "orders");
    assert!(failures <= 1 + late, "{failures} failures, {late} due to load: {}", scrape.text);
    assert!(!scrape.text.contains("cachepulse_shard_success{"), "{}", scrape.text);

    cluster.kill(3).await;
    agent.until("it is down", |it| it.is_down("orders")).await;
    cluster.promoted(0).await;
    agent.until("the host serves again", |it| it.is_up("orders")).await;
}

#[tokio::test]
async fn a_demoted_host_leads_to_its_primary_where_the_topology_is_not_asked_for() {
    let mut cluster = Cluster::start(Listen::Tls).await;
    let agent = cluster.daemon(cluster.node(0).port(), ADMIN).args(["--cluster-mode", "off"]);
    the_shard_is_followed(&mut cluster, agent).await;
}

#[tokio::test]
async fn a_demoted_host_leads_to_its_primary_where_the_topology_is_denied() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let password = format!(">{PASSWORD}");
    for index in 0..cluster.size() {
        let words = [&["ACL", "SETUSER", "narrow", &password][..], &NARROW].concat();
        cluster.node(index).ask::<()>(&words);
    }
    let agent = cluster.daemon(cluster.node(0).port(), "narrow");
    the_shard_is_followed(&mut cluster, agent).await;
}

#[tokio::test]
async fn readings_of_a_cluster_without_slots_are_counted_and_none_of_a_server_that_is_no_cluster() {
    for is_cluster in [true, false] {
        let users = [("probe", ALL)];
        let (redis, _bus) = if is_cluster {
            let (redis, bus) = node(&users).await;
            (redis, Some(bus))
        } else {
            (RedisServer::start(Listen::Plaintext, &users).await, None)
        };
        let agent = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", "127.0.0.1"])
            .args(["--tls", "false", "--port", &redis.port().to_string(), "--interval", "300ms"])
            .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
            .env("PROBE_PASSWORD", PASSWORD)
            .serve()
            .await;
        let scrape = agent.until("two probes", |it| it.count("probes_total", "orders") > 1).await;
        if is_cluster {
            assert!(scrape.is_down("orders"), "{}", scrape.text);
            let read = |it: &Scrape| it.get(r#"topology_refreshes_total{result="success",target="orders"}"#);
            agent.until("readings are counted", |it| read(it).is_some_and(|count| count > 0.0)).await;
        } else {
            assert!(scrape.is_up("orders"), "{}", scrape.text);
            let is_of_cluster = |line: &&str| {
                ["cachepulse_topology_", "cachepulse_cluster_"].iter().any(|name| line.starts_with(name))
            };
            assert_eq!(scrape.text.lines().find(is_of_cluster), None);
        }
    }
}
