//! Roles of real servers: planned failovers outside of a cluster, replicas, and slots on their way.

use std::time::Duration;

use cachepulse::topology::Slot;
use tokio::time::sleep;

use crate::bench::{TARGET, USER, by_password};
use crate::cluster;
use crate::gate::Gate;
use crate::nodes::{UP, id, meet, node, until};
use crate::program::{Running, cachepulse, eventually};
use crate::redis_server::{ADMIN, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

const HOST: &str = "127.0.0.1";
/// The documented least rights, and those for a replica.
const LEAST: &str = "resetkeys -@all +ping +set +get +client|list ~cachepulse:*";
const LEAST_OF_REPLICA: &str = "resetkeys -@all +ping +get +client|list ~cachepulse:*";

/// Returns a primary and its replica, outside of a cluster.
async fn pair(rules: &str) -> (RedisServer, RedisServer) {
    let primary = RedisServer::start(Listen::Plaintext, &[(USER, rules)]).await;
    let replica = RedisServer::start(Listen::Plaintext, &[(USER, rules)]).await;
    for server in [&primary, &replica] {
        server.ask::<()>(&["CONFIG", "SET", "masteruser", ADMIN, "masterauth", PASSWORD]);
    }
    replica.ask::<()>(&["REPLICAOF", HOST, &primary.port().to_string()]);
    until(&replica, &["INFO", "replication"], "master_link_status:up").await;
    until(&primary, &["INFO", "replication"], "state=online").await;
    (primary, replica)
}

/// Starts an agent of the server at `port`.
async fn agent<const N: usize>(port: u16, arguments: [&str; N]) -> Running {
    let port = port.to_string();
    by_password(["--host", HOST, "--port", &port, "--tls", "false", "--new-connection-every", "0s"])
        .args(arguments)
        .serve()
        .await
}

fn assert_rights_suffice(server: &RedisServer) {
    let refused: Vec<redis::Value> = server.ask(&["ACL", "LOG"]);
    assert!(refused.is_empty(), "{refused:?}");
    let errors: String = server.ask(&["INFO", "errorstats"]);
    assert!(!errors.contains("NOPERM"), "{errors}");
}

fn role(scrape: &Scrape) -> &str {
    let line = scrape.text.lines().find(|line| line.starts_with("cachepulse_server_info{"));
    let line = line.unwrap_or_else(|| panic!("no role in:\n{}", scrape.text));
    line.split_once("role=\"").unwrap().1.split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_behind_a_name_fails_no_probe() {
    let (primary, replica) = pair(LEAST).await;
    let gate = Gate::open(primary.port());
    let agent = agent(gate.port, []).await;
    let scrape = agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    assert_eq!(role(&scrape), "primary");
    gate.lead_new(Some(replica.port()));
    primary.ask::<()>(&["FAILOVER", "TO", HOST, &replica.port().to_string(), "TIMEOUT", "10000"]);
    agent.until("it reconnects", |it| it.connects("success", TARGET) > 1).await;
    let probes = agent.scrape().await.count("probes_total", TARGET);
    let scrape = agent.until("it goes on", |it| it.count("probes_total", TARGET) > probes + 3).await;
    assert!(scrape.is_up(TARGET), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    assert_eq!(scrape.connects("success", TARGET), 2, "{}", scrape.text);
    assert_eq!(scrape.disconnects("read_only", TARGET), 1, "{}", scrape.text);
    assert_eq!(scrape.sum("disconnects_total", TARGET), 1, "{}", scrape.text);
    assert_eq!((scrape.count("role_changes_total", TARGET), role(&scrape)), (1, "primary"));
    assert!(agent.log().contains("server role changed"), "{}", agent.log());
    assert_rights_suffice(&primary);
    assert_rights_suffice(&replica);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_given_as_host_is_named_as_such_and_asked_for_one_key_per_connection() {
    let (_primary, standalone) = pair(LEAST).await;
    let (_other, of_cluster) = cluster::with_replica(&[(USER, LEAST)]).await;
    for (replica, reason) in [(&standalone, "read_only"), (&of_cluster, "wrong_node")] {
        let agent = agent(replica.port(), ["--cluster-mode", "off"]).await;
        let scrape = agent.until("it fails", |it| it.failures(reason, TARGET) > 5).await;
        assert_eq!((scrape.is_up(TARGET), role(&scrape)), (false, "replica"), "{}", scrape.text);
        let status = agent.get("/status").await.body;
        assert!(status.contains("replica"), "{status}");
        assert!(status.contains("expect_role: replica"), "{status}");
        let commands: String = replica.ask(&["INFO", "commandstats"]);
        let set = commands.lines().find(|line| line.starts_with("cmdstat_set:")).unwrap();
        let number = |name: &str| -> u64 {
            let value = set.split([':', ',']).find_map(|field| field.strip_prefix(name)).unwrap();
            value.parse().unwrap()
        };
        let (sets, connects) =
            (number("calls=") + number("rejected_calls="), agent.scrape().await.connects("success", TARGET));
        assert!(sets <= connects, "{sets} SETs on {connects} connections");
        assert_rights_suffice(replica);
        let port = replica.port().to_string();
        let check = cachepulse(["check", "--host", HOST, "--port", &port, "--tls", "false"])
            .args(["--identity", "password", "--username", USER, "--password-env", "PROBE_PASSWORD"])
            .args(["--cluster-mode", "off"])
            .env("PROBE_PASSWORD", PASSWORD);
        let ended = check.run().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("replica"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expected_replica_is_read_and_its_promotion_seen() {
    let (_primary, replica) = pair(LEAST_OF_REPLICA).await;
    let expecting = ["--expect-role", "replica", "--cluster-refresh", "1s"];
    let agent = agent(replica.port(), expecting).await;
    let scrape = agent.until("some probes", |it| it.count("probes_total", TARGET) > 3).await;
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    assert_eq!(role(&scrape), "replica");
    replica.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    let scrape = agent.until("the promotion", |it| it.count("role_changes_total", TARGET) > 0).await;
    assert_eq!((role(&scrape), scrape.is_up(TARGET)), ("primary", true));
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    assert_rights_suffice(&replica);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_any_role_is_written_once_it_is_the_primary() {
    let (_primary, replica) = pair(LEAST).await;
    let agent = agent(replica.port(), ["--expect-role", "any", "--cluster-refresh", "1s"]).await;
    let scrape = agent.until("some probes", |it| it.count("probes_total", TARGET) > 3).await;
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    replica.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    eventually("a key is written", || replica.ask::<u64>(&["DBSIZE"]) > 0).await;
    let scrape = agent.scrape().await;
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    assert_rights_suffice(&replica);
}

/// Returns a cluster of a node that has all slots and one that has none.
async fn two_nodes(rules: &str) -> (RedisServer, RedisServer) {
    let ((here, _), there) = (node(&[(USER, rules)]).await, node(&[(USER, rules)]).await);
    here.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    meet(&here, &there).await;
    until(&here, UP.0, UP.1).await;
    until(&there.0, UP.0, UP.1).await;
    (here, there.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_key_is_followed_to_the_node_that_its_slot_is_on_its_way_to() {
    let key = "cachepulse:fixed";
    let slot = Slot::of_key(key.as_bytes()).to_string();
    for (rules, is_allowed) in [(format!("{LEAST} +asking"), true), (LEAST.to_owned(), false)] {
        let (here, there) = two_nodes(&rules).await;
        let agent = agent(here.port(), ["--cluster-mode", "off", "--key", key]).await;
        agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
        there.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(&here)]);
        here.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(&there)]);
        // A key that is still here is served here.
        here.ask::<()>(&["DEL", key]);
        if is_allowed {
            eventually("the key is written there", || {
                there.ask::<Vec<String>>(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]) == [key]
            })
            .await;
            sleep(Duration::from_secs(1)).await;
            let scrape = agent.scrape().await;
            assert!(scrape.sum("probe_failures_total", TARGET) <= 1, "{}", scrape.text);
            assert!(scrape.is_up(TARGET) && scrape.connects("success", TARGET) == 1, "{}", scrape.text);
            assert_rights_suffice(&there);
        } else {
            let denied = format!("step_results_total{{result=\"denied\",step=\"set\",target=\"{TARGET}\"}}");
            let scrape = agent.until("it is denied", |it| it.get(&denied) > Some(3.0)).await;
            assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
            assert!(scrape.is_up(TARGET) && scrape.connects("success", TARGET) == 1, "{}", scrape.text);
            let refused: Vec<redis::Value> = there.ask(&["ACL", "LOG"]);
            assert_eq!(refused.len(), 1, "asked once, not in each probe: {refused:?}");
        }
        assert_rights_suffice(&here);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_keys_find_the_part_of_the_slots_that_is_not_served() {
    let (node, _bus) = node(&[(USER, LEAST)]).await;
    node.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until(&node, UP.0, UP.1).await;
    let agent = agent(node.port(), ["--cluster-mode", "off", "--keys", "4"]).await;
    let scrape = agent.until("each key's turn", |it| it.count("probes_total", TARGET) > 4).await;
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    node.ask::<()>(&["CLUSTER", "DELSLOTSRANGE", "4096", "8191"]);
    agent.until("it fails", |it| it.failures("cluster_down", TARGET) > 3).await;
    let status = agent.get("/status").await.body;
    assert!(status.contains("Hash slot not served (key cachepulse:"), "{status}");
    node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "4096", "8191"]);
    agent.until("it is up", |it| it.is_up(TARGET)).await;
    assert_rights_suffice(&node);
}
