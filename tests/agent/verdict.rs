//! What a healthy but unusual redis-server must look like, and one that is not quite healthy.

use std::time::Duration;

use crate::nodes::{UP, id, meet, node, until};
use crate::program::{Program, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// The rights that the documentation says a probe needs.
const LEAST: &str = "~cachepulse:* +ping +set +get +client|list";

fn agent(redis: &RedisServer, interval: &str) -> Program {
    cachepulse([
        "run",
        "--listen",
        "127.0.0.1:0",
        "--name",
        "orders",
        "--host",
        "127.0.0.1",
        "--tls",
        "false",
    ])
    .args(["--port", &redis.port().to_string(), "--interval", interval])
    .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
    .env("PROBE_PASSWORD", PASSWORD)
}

fn unavailable(scrape: &Scrape) -> f64 {
    scrape.value("unavailable_seconds_total{target=\"orders\"}")
}

fn assert_healthy(scrape: &Scrape) {
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert!(unavailable(scrape) == 0.0, "{}", scrape.text);
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_is_healthy() {
    let redis = RedisServer::start_with(Listen::Plaintext, &[("probe", ALL)], "timeout 1\n").await;
    let agent = agent(&redis, "5s").serve().await;
    let closed =
        |it: &Scrape| it.disconnects("closed", "orders") >= 4 && it.count("probes_total", "orders") > 1;
    assert_healthy(&agent.until("idle connections are closed", closed).await);
}

#[tokio::test]
async fn the_least_rights_raise_no_error_in_a_hundred_connections() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", LEAST)]).await;
    let mut admin = redis.admin().unwrap();
    let mut ask = |words: &str| {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>()).query::<redis::Value>(&mut admin).unwrap()
    };
    // Opening this connection has caused errors: the server does not know all that a client library asks for.
    ask("CONFIG RESETSTAT");
    let defaults = format!(
        "{{port: {}, tls: false, interval: 100ms, username: probe, \
         identity: {{type: password, password: {{env: PROBE_PASSWORD}}}}}}",
        redis.port()
    );
    let names: Vec<String> = (0..10).map(|number| format!("target-{number}")).collect();
    let targets: Vec<_> = names.iter().map(|name| format!("{{name: {name}, host: 127.0.0.1}}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let targets = targets.join(", ");
    let config = format!("{{http: {{listen: \"127.0.0.1:0\"}}, defaults: {defaults}, targets: [{targets}]}}");
    std::fs::write(&file, config).unwrap();
    let agent = cachepulse(["run", "--config", file.to_str().unwrap()]).env("PROBE_PASSWORD", PASSWORD);
    let agent = agent.serve().await;
    for connects in 1..=10 {
        let connected =
            |it: &Scrape| names.iter().all(|name| it.is_up(name) && it.connects("success", name) >= connects);
        let scrape = agent.until("all are connected", connected).await;
        assert!(names.iter().all(|name| scrape.connects("failure", name) == 0), "{}", scrape.text);
        ask("CLIENT KILL USER probe");
    }
    assert_eq!(ask("ACL LOG"), redis::Value::Array(Vec::new()));
    assert_eq!(ask("INFO errorstats"), redis::Value::BulkString(b"# Errorstats\r\n".to_vec()));
}

#[tokio::test]
async fn a_server_without_the_command_client_is_healthy() {
    let lines = "rename-command CLIENT \"\"\n";
    let redis = RedisServer::start_with(Listen::Plaintext, &[("probe", ALL)], lines).await;
    let agent = agent(&redis, "300ms").serve().await;
    let unsupported = r#"step_results_total{result="unsupported",step="client_list",target="orders"}"#;
    let scrape = agent.until("it is probed", |scrape| scrape.get(unsupported) > Some(2.0)).await;
    assert_healthy(&scrape);
    assert_eq!(scrape.connects("success", "orders"), 1);
}

#[tokio::test]
async fn a_server_without_hello_is_signed_in_with_auth() {
    let lines = "rename-command HELLO \"\"\n";
    let redis = RedisServer::start_with(Listen::Plaintext, &[("probe", ALL)], lines).await;
    let agent = agent(&redis, "300ms").serve().await;
    let probed = |it: &Scrape| it.count("probes_total", "orders") > 2;
    let scrape = agent.until("it is probed", probed).await;
    assert_healthy(&scrape);
    assert_eq!((scrape.connects("success", "orders"), scrape.connects("failure", "orders")), (1, 0));
}

#[tokio::test]
async fn a_slot_that_is_migrated_to_another_node_is_left_for_another_slot() {
    let ((ours, _bus), other) = (node(&[("probe", ALL)]).await, node(&[("probe", ALL)]).await);
    ours.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    other.0.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    meet(&ours, &other).await;
    let (other, _bus) = other;
    for node in [&ours, &other] {
        until(node, UP.0, UP.1).await;
    }
    // As one node: a cluster's shards have links of their own.
    let agent = agent(&ours, "300ms").args(["--cluster-mode", "off"]).serve().await;
    agent.until("it is up", |scrape| scrape.is_up("orders")).await;

    let keys = || ours.ask::<Vec<String>>(&["KEYS", "cachepulse:*"]);
    let key = keys().remove(0);
    let slot = ours.ask::<u16>(&["CLUSTER", "KEYSLOT", &key]).to_string();
    other.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(&ours)]);
    ours.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(&other)]);
    let port = other.port().to_string();
    let user = ["AUTH2", "admin", PASSWORD, "KEYS", &key];
    ours.ask::<String>(&[&["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "REPLACE"][..], &user].concat());

    let another = |_: &Scrape| keys().iter().any(|name| *name != key);
    let before = agent.until("another key is written", another).await;
    let probes = before.count("probes_total", "orders");
    let goes_on = |it: &Scrape| it.count("probes_total", "orders") > probes + 5;
    let scrape = agent.until("probes go on while the slot is migrated", goes_on).await;
    // The slot may have left between the SET and the GET of one probe: that attempt fails.
    assert!(scrape.is_up("orders") && scrape.sum("probe_failures_total", "orders") <= 1, "{}", scrape.text);
    assert_eq!(scrape.connects("success", "orders"), 1);
    let asked: String = ours.ask(&["INFO", "errorstats"]);
    assert!(asked.contains("errorstat_ASK:count=1\r\n"), "{asked}");
}

#[tokio::test]
async fn a_script_that_holds_the_server_is_an_outage_of_its_own_length() {
    let lines = "busy-reply-threshold 100\n";
    let redis = RedisServer::start_with(Listen::Plaintext, &[("probe", ALL)], lines).await;
    let agent = agent(&redis, "2s").serve().await;
    agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    let mut admin = redis.admin().unwrap();
    let script = "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end \
                  local stop = now() + 3000 while now() < stop do end";
    let held = tokio::task::spawn_blocking(move || redis::cmd("EVAL").arg(script).arg(0).exec(&mut admin));
    agent.until("it is busy", |scrape| scrape.failures("busy", "orders") > 0).await;
    held.await.unwrap().unwrap();
    let scrape = agent.until("it is up again", |scrape| scrape.is_up("orders")).await;
    // It may begin up to an interval after the script, and end within a pause after it.
    assert!((0.5..3.0 + 4.0).contains(&unavailable(&scrape)), "{}", unavailable(&scrape));
    assert_eq!(scrape.sum("probe_failures_total", "orders"), scrape.failures("busy", "orders"));
}

#[tokio::test]
async fn a_server_that_is_stopped_for_less_than_the_command_timeout_fails_no_probe() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
    let agent = agent(&redis, "500ms").args(["--command-timeout", "10s"]).serve().await;
    let before = agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    redis.signal(rustix::process::Signal::STOP);
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    redis.signal(rustix::process::Signal::CONT);
    let probes = before.count("probes_total", "orders");
    let after = agent.until("it goes on", |it| it.count("probes_total", "orders") > probes + 5).await;
    assert_healthy(&after);
}
