//! Probes of new connections while the open connection works.

use cachepulse_standin::{CommandFault, FaultReply};

use crate::lab::Lab;
use crate::program::{Running, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// Starts an agent and waits until new connections succeed.
async fn start(redis: &RedisServer) -> Running {
    let agent = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", "127.0.0.1"])
        .args(["--tls", "false", "--port", &redis.port().to_string(), "--interval", "300ms"])
        .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
        .args(["--new-connection-every", "10s"])
        .env("PROBE_PASSWORD", PASSWORD)
        .serve()
        .await;
    agent.until("a new connection succeeds", |it| it.new_connections("success", "orders") > 0).await;
    agent
}

async fn until_failed(agent: &Running, reason: &str) {
    let what = format!("a new connection fails with {reason}");
    let scrape = agent.until(&what, |it| it.new_connection_failures(reason, "orders") > 0).await;
    assert!(in_a_row(&scrape) > 0.0, "{}", scrape.text);
    assert!(scrape.value(r#"new_connection_success{target="orders"}"#) == 0.0, "{}", scrape.text);
}

fn in_a_row(scrape: &Scrape) -> f64 {
    scrape.value(r#"new_connection_consecutive_failures{target="orders"}"#)
}

/// Waits until new connections succeed again. All the time the open connection has worked.
async fn until_recovered(agent: &Running) {
    let scrape = agent.until("new connections succeed again", |it| in_a_row(it) == 0.0).await;
    assert!(scrape.is_up("orders"), "{}", scrape.text);
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0, "{}", scrape.text);
    assert_eq!(scrape.sum("disconnects_total", "orders"), 0, "{}", scrape.text);
    assert_eq!(scrape.sum("connects_total", "orders"), 1, "{}", scrape.text);
    assert!(scrape.value(r#"unavailable_seconds_total{target="orders"}"#) == 0.0, "{}", scrape.text);
}

#[tokio::test]
async fn a_full_server_is_seen_while_the_open_connection_works() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
    let agent = start(&redis).await;
    // Nobody else gets in any more, the tests neither.
    let mut admin = redis.admin().unwrap();
    let mut limit = |clients: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxclients", clients]).exec(&mut admin).unwrap();
    };
    limit("1");
    until_failed(&agent, "too_many_clients").await;
    let page = agent.get("/").await.body;
    assert!(page.contains("<b>too_many_clients</b> at auth"), "{page}");
    limit("100");
    until_recovered(&agent).await;
}

#[tokio::test]
async fn a_changed_password_is_seen_while_the_open_connection_works() {
    let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
    let agent = start(&redis).await;
    redis.ask::<()>(&["ACL", "SETUSER", "probe", "resetpass", ">another-password"]);
    until_failed(&agent, "auth_rejected").await;
    redis.ask::<()>(&["ACL", "SETUSER", "probe", &format!(">{PASSWORD}")]);
    until_recovered(&agent).await;
    // Metrics are ahead of the log.
    agent.logs("new connections succeed again").await;
    let log = agent.log();
    let lines =
        ["new connection failed", "new connections succeed again"].map(|text| log.matches(text).count());
    assert_eq!(lines, [1, 1], "{log}");
}

#[tokio::test]
async fn a_revoked_policy_is_seen_while_the_open_connection_works() {
    let lab = Lab::start().await;
    let agent = lab.run(["--identity", "managed_identity", "--interval", "300ms"]);
    let agent = agent.args(["--new-connection-every", "10s"]).serve().await;
    agent.until("a new connection succeeds", |it| it.new_connections("success", "orders") > 0).await;
    // The identity may give the same token again.
    let tokens =
        |it: &Scrape| it.value("token_refresh_duration_seconds_count{identity=\"managed_identity\"}");
    let before = tokens(&agent.scrape().await);
    // As a cache that ends no session for it: only new connections send HELLO.
    let words = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let refused = CommandFault::replied("HELLO", FaultReply::Raw(words.to_vec()));
    lab.azure.cache().faults(|faults| faults.commands.push(refused.clone()));
    until_failed(&agent, "auth_rejected").await;
    agent.until("another token is requested", |it| tokens(it) > before).await;
    lab.azure.cache().heal();
    until_recovered(&agent).await;
}
