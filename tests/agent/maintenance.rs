//! Maintenance notices: asked for, counted, and never in the way of the verdict.

use std::time::Duration;

use cachepulse_standin::{Admission, Announcing, Ending, HOST, Profile};
use tokio::time::sleep;

use crate::cluster_bed::Cluster;
use crate::lab::Lab;
use crate::program::{Running, cachepulse, eventually, within};
use crate::redis_server::{ADMIN, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

const RIGHTS: &str = "resetchannels -@all +ping +set +get +client|list ~cachepulse:*";

impl Scrape {
    fn maintenance(&self, gauge: &str) -> Option<f64> {
        self.get(&format!("maintenance_{gauge}{{target=\"orders\"}}"))
    }

    fn notices(&self, event: &str) -> u64 {
        self.count_of("maintenance_events_total", "event", event, "orders")
    }

    fn is_agreed(&self) -> bool {
        self.maintenance("notifications") == Some(1.0)
    }

    #[track_caller]
    fn assert_unbroken(&self) {
        assert!(self.is_up("orders"), "{}", self.text);
        assert_eq!(self.sum("probe_failures_total", "orders"), 0, "{}", self.text);
        assert!(self.value(r#"unavailable_seconds_total{target="orders"}"#) == 0.0, "{}", self.text);
    }
}

async fn start(lab: &Lab, announcing: Announcing) -> Running {
    lab.azure.cache().set_profile(Profile { announcing, ..Profile::default() });
    let agent = lab.run(["--identity", "managed_identity", "--interval", "300ms", "--maintenance", "on"]);
    let agent = agent.serve().await;
    agent.until("the cache agrees to send notices", Scrape::is_agreed).await;
    agent
}

/// Starts an agent against a redis-server without a front, and waits for its second probe.
async fn start_direct(redis: &RedisServer, mode: &str) -> Running {
    let agent = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", "127.0.0.1"])
        .args(["--tls", "false", "--port", &redis.port().to_string(), "--interval", "300ms"])
        .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
        .args(["--maintenance", mode, "--log-level", "debug"])
        .env("PROBE_PASSWORD", PASSWORD)
        .serve()
        .await;
    agent.until("two probes", |it| it.count("probes_total", "orders") > 1).await;
    agent
}

#[tokio::test]
async fn the_maintenance_of_a_node_is_announced_and_its_outage_counts() {
    let lab = Lab::start().await;
    let agent = start(&lab, Announcing::Channel).await;
    let cache = lab.azure.cache();
    cache.announce("NodeMaintenanceScheduled", "2021-03-02T23:26:57");
    agent.until("a time of the past is another event", |it| it.notices("other") == 1).await;
    cache.announce("NodeMaintenanceStarting", "");
    cache.announce("NodeMaintenanceStart", "");
    let scrape = agent.until("it starts", |it| it.notices("node_maintenance_start") == 1).await;
    assert_eq!(scrape.maintenance("active"), Some(1.0));
    assert_eq!(scrape.maintenance("scheduled_timestamp_seconds"), None);
    scrape.assert_unbroken();
    cache.faults(|faults| faults.admission = Admission::Refuse);
    cache.close_all(Ending::Close);
    agent.until("the outage shows", |it| it.failures("connect_refused", "orders") > 0).await;
    cache.heal();
    let scrape = agent.until("the cache is back", |it| it.is_up("orders")).await;
    assert_eq!(scrape.maintenance("active"), Some(1.0));
    assert!(scrape.value(r#"unavailable_seconds_total{target="orders"}"#) > 0.0);
    // The new connection may not have subscribed yet.
    within("it ends", async {
        while agent.scrape().await.notices("node_maintenance_ended") == 0 {
            cache.announce("NodeMaintenanceEnded", "");
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert_eq!(agent.scrape().await.maintenance("active"), Some(0.0));
    let status = agent.status().await;
    let maintenance = &status["targets"][0]["maintenance"];
    assert_eq!(maintenance["events"][0]["event"], "node_maintenance_ended");
    assert_eq!(maintenance["notifications"], true);
    let log = agent.log();
    for message in ["maintenance notice received", "maintenance announced", "maintenance over"] {
        assert!(log.contains(message), "{message} in:\n{log}");
    }
}

#[tokio::test]
async fn an_endpoint_that_moves_is_left_before_it_goes() {
    let lab = Lab::start().await;
    let agent = start(&lab, Announcing::Pushes).await;
    let cache = lab.azure.cache();
    cache.push(b">4\r\n$9\r\nMIGRATING\r\n:1\r\n:10\r\n$1\r\n1\r\n");
    cache.push(b">3\r\n$8\r\nMIGRATED\r\n:2\r\n$1\r\n1\r\n");
    let endpoint = format!("{HOST}:{}", lab.azure.cache_port());
    let moving = format!(">4\r\n$6\r\nMOVING\r\n:3\r\n:15\r\n${}\r\n{endpoint}\r\n", endpoint.len());
    cache.push(moving.as_bytes());
    let is_replaced = |it: &Scrape| it.connects("success", "orders") == 2;
    agent.until("a new connection takes over", is_replaced).await;
    assert_eq!(lab.redis.clients().len(), 1, "the old one is closed");
    let scrape = agent.scrape().await;
    assert_eq!(["migrating", "migrated", "moving", "other"].map(|event| scrape.notices(event)), [1, 1, 1, 0]);
    assert_eq!(scrape.sum("disconnects_total", "orders"), 0, "{}", scrape.text);
    scrape.assert_unbroken();
}

#[tokio::test]
async fn a_user_with_the_right_gets_what_is_published_and_loses_nothing_with_it() {
    let rules = format!("{RIGHTS} +subscribe &AzureRedisEvents");
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", &rules)]).await;
    let agent = start_direct(&redis, "on").await;
    agent.until("it subscribes", Scrape::is_agreed).await;
    redis.ask::<()>(&["ACL", "SETUSER", ADMIN, "allchannels"]);
    let payload =
        "NotificationType|NodeMaintenanceStart|StartTimeInUTC||IsReplica|False|IPAddress||SSLPort|15001";
    assert_eq!(redis.ask::<i64>(&["PUBLISH", "AzureRedisEvents", payload]), 1);
    agent.until("it is counted", |it| it.notices("node_maintenance_start") == 1).await;
    // Anyone who may publish can send what no reply may be.
    let huge = "x".repeat(20_000_000);
    redis.ask::<i64>(&["PUBLISH", "AzureRedisEvents", &huge]);
    redis.ask::<i64>(&["PUBLISH", "AzureRedisEvents", "\r\n\0|\u{1b}[31m"]);
    let scrape = agent.until("hostile ones, too", |it| it.notices("other") == 2).await;
    scrape.assert_unbroken();
    assert_eq!(scrape.sum("disconnects_total", "orders"), 0, "{}", scrape.text);
    // A server hangs up on subscribers that lose the right.
    redis.ask::<()>(&["ACL", "SETUSER", "probe", "resetchannels"]);
    let scrape = agent.until("a connection without notices", |it| !it.is_agreed()).await;
    scrape.assert_unbroken();
    assert!(scrape.sum("disconnects_total", "orders") > 0, "{}", scrape.text);
}

#[tokio::test]
async fn a_user_without_both_rights_is_refused_once_and_nothing_fails() {
    // From Redis 6.2 on, the command and the channel are granted apart.
    for missing in ["+subscribe", "&AzureRedisEvents"] {
        let rules = format!("{RIGHTS} +subscribe &AzureRedisEvents").replace(&format!(" {missing}"), "");
        let redis = RedisServer::start(Listen::Plaintext, &[("probe", &rules)]).await;
        let agent = start_direct(&redis, "on").await;
        agent.logs("request=\"CLIENT MAINT_NOTIFICATIONS ON\"").await;
        let before = agent.scrape().await;
        // A new connection does not ask again either.
        redis.ask::<u64>(&["CLIENT", "KILL", "USER", "probe"]);
        let more = |it: &Scrape| {
            it.connects("success", "orders") > before.connects("success", "orders")
                && it.count("probes_total", "orders") > before.count("probes_total", "orders") + 3
        };
        let scrape = agent.until("some more probes", more).await;
        scrape.assert_unbroken();
        assert_eq!(scrape.maintenance("notifications"), Some(0.0));
        let log = agent.log();
        assert_eq!(log.matches("maintenance notices not available").count(), 2, "{log}");
        let errors: String = redis.ask(&["INFO", "errorstats"]);
        assert!(errors.contains("errorstat_NOPERM:count=1\r\n"), "SUBSCRIBE, once: {errors}");
    }
}

#[tokio::test]
async fn a_host_of_nobody_we_know_is_asked_for_nothing() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", RIGHTS)]).await;
    for mode in ["auto", "off"] {
        let agent = start_direct(&redis, mode).await;
        let scrape = agent.scrape().await;
        scrape.assert_unbroken();
        assert!(!scrape.text.contains("\ncachepulse_maintenance"), "{}", scrape.text);
        assert!(!agent.log().contains("notices"), "{}", agent.log());
    }
    let denied: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert_eq!(denied.len(), 0, "{denied:?}");
    let commands: String = redis.ask(&["INFO", "commandstats"]);
    assert!(!commands.contains("subscribe") && !commands.contains("maint"), "{commands}");
}

#[tokio::test]
async fn a_node_of_a_cluster_that_denies_notices_keeps_none_from_another() {
    const SUBSCRIBED: &[&str] = &["PUBSUB", "NUMSUB", "AzureRedisEvents"];
    let cluster = Cluster::start(Listen::Plaintext).await;
    for node in [0, 2] {
        let words = ["ACL", "SETUSER", "probe", "+subscribe", "&AzureRedisEvents"];
        cluster.node(node).ask::<()>(&words);
    }
    let agent = cluster.agent(cluster.node(0).port()).args(["--maintenance", "on"]).serve().await;
    let are_up = |it: &Scrape| it.get(r#"cluster_slots_available{target="orders"}"#) == Some(16_384.0);
    agent.until("the shards are up", are_up).await;
    let count = |node| cluster.node(node).ask::<(String, u64)>(SUBSCRIBED).1;
    eventually("the two are subscribed to", || count(0) == 1 && count(2) == 1).await;
    let denied = || cluster.node(1).ask::<Vec<redis::Value>>(&["ACL", "LOG"]).len();
    eventually("the third one has denied it", || denied() > 0).await;
    let probes = agent.scrape().await.count("probes_total", "orders");
    let scrape = agent.until("probes go on", |it| it.count("probes_total", "orders") > probes + 2).await;
    assert!(scrape.is_agreed(), "{}", scrape.text);
    scrape.assert_unbroken();
}
