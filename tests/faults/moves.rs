//! Caches that move while the old node serves on: nothing closes the connection that leads there.

use std::time::Duration;

use cachepulse::secret::SecretSource;

use crate::bench::{TARGET, USER, by_password};
use crate::cluster;
use crate::gate::Gate;
use crate::names::{Lookup, Names};
use crate::prober::Probing;
use crate::program::eventually;
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

const HOME: &str = "127.0.0.1";
/// Another loopback address of Linux.
const ELSEWHERE: &str = "127.0.0.2";

fn assert_unbroken(scrape: &Scrape) {
    assert!(scrape.is_up(TARGET), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", TARGET), 0, "{}", scrape.text);
    assert!(scrape.value(r#"unavailable_seconds_total{target="orders"}"#) == 0.0, "{}", scrape.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_moves_the_connection_and_the_verdict_is_that_of_the_new_node() {
    let old = RedisServer::start(Listen::Plaintext, &[(USER, ALL)]).await;
    let mut new = RedisServer::start(Listen::Plaintext, &[(USER, ALL)]).await;
    let _gate = Gate::at(ELSEWHERE.parse().unwrap(), old.port(), new.port());
    let names = Names::new(Lookup::addresses([HOME]));
    let mut password = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut password, PASSWORD.as_bytes()).unwrap();
    let agent = Probing::start(&names, old.port(), SecretSource::File(password.path().to_owned()));
    eventually("it is up", || agent.scrape().is_up(TARGET)).await;
    names.set(Lookup::addresses([ELSEWHERE]));
    eventually("the connection is replaced", || agent.scrape().connects("success", TARGET) == 2).await;
    let scrape = agent.scrape();
    assert_unbroken(&scrape);
    assert_eq!(scrape.sum("disconnects_total", TARGET), 0, "{}", scrape.text);
    eventually("the old connection is closed", || old.clients().is_empty()).await;
    assert_eq!(new.agent(USER).name, "cachepulse");
    new.kill().await;
    eventually("it is down, although the old node is up", || agent.scrape().is_down(TARGET)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_behind_a_proxy_costs_one_reconnect() {
    let (primary, replica) = cluster::with_replica(&[(USER, ALL)]).await;
    let gate = Gate::open(primary.port());
    let agent = by_password(["--host", HOME, "--port", &gate.port.to_string(), "--tls", "false"]);
    // As one node: links to shards lead past the proxy.
    let agent = agent.args(["--new-connection-every", "0s", "--cluster-mode", "off"]).serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    cluster::fail_over(&primary, &replica).await;
    gate.lead_new(Some(replica.port()));
    let wrong = agent.until("it reconnects", |it| it.connects("success", TARGET) > 1).await;
    assert_eq!(wrong.disconnects("wrong_node", TARGET), 1, "{}", wrong.text);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let scrape = agent.scrape().await;
    assert!(scrape.is_up(TARGET), "{}", scrape.text);
    assert!(scrape.sum("probe_failures_total", TARGET) <= 1, "{}", scrape.text);
    assert_eq!(scrape.connects("success", TARGET), 2, "{}", scrape.text);
    assert_eq!(scrape.sum("disconnects_total", TARGET), 1, "{}", scrape.text);
}
