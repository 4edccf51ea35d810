//! A few faults end to end: the reason in the metrics, and the recovery.

use std::time::Duration;

use cachepulse_standin::{Admission, TokenFault};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::lab::Lab;
use crate::program::{Program, cachepulse, eventually};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// The longest time until a recovered cache is up, if the interval is shorter.
const RECOVERY: Duration = Duration::from_secs(5);

/// Returns an agent that connects directly to a redis-server, with a password.
fn straight(redis: &RedisServer) -> Program {
    cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--host", "localhost"])
        .args(["--port", &redis.port().to_string()])
        .args(["--ca-file".as_ref(), redis.ca_file().as_os_str()])
        .args(["--identity", "password", "--username", "probe", "--password-env", "PROBE_PASSWORD"])
        .env("PROBE_PASSWORD", PASSWORD)
}

#[tokio::test]
async fn a_killed_redis_server_is_connect_refused_and_recovers_after_a_restart() {
    let mut redis = RedisServer::start(Listen::Tls, &[("probe", ALL)]).await;
    let agent = straight(&redis).args(["--interval", "500ms"]).serve().await;
    let before = agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    let killed = Instant::now();
    redis.kill().await;
    let down = agent.until("it is down", |scrape| scrape.failures("connect_refused", "orders") > 1).await;
    let seen = Instant::now();
    let ended = |it: &Scrape| it.disconnects("closed", "orders") + it.disconnects("reset", "orders");
    assert_eq!(ended(&down), ended(&before) + 1, "{}", down.text);
    assert!(down.is_down("orders"));
    let unavailable = |it: &Scrape| it.value("unavailable_seconds_total{target=\"orders\"}");
    agent.until("the time counts", |scrape| unavailable(scrape) > unavailable(&down) + 1.0).await;

    let shortest = seen.elapsed();
    redis.restart().await;
    let back = Instant::now();
    let up = agent.until("it is up again", |scrape| scrape.is_up("orders")).await;
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    assert!(up.connects("success", "orders") > before.connects("success", "orders"));
    let messages = ["cache available", "cache unavailable", "cache available"];
    eventually("each change is logged once", || {
        let log = agent.log();
        let changes =
            log.lines().filter_map(|line| messages[..2].iter().find(|change| line.contains(**change)));
        changes.collect::<Vec<_>>().ends_with(&messages.each_ref())
    })
    .await;
    let longest = killed.elapsed();
    let log = agent.log();
    let last = log.lines().rfind(|line| line.contains("cache available")).unwrap();
    let field = |name: &str| last.split(' ').find_map(|field| field.strip_prefix(name)).unwrap();
    let outage = Duration::from_secs_f64(field("outage_seconds=").parse().unwrap());
    assert!(shortest < outage && outage < longest, "{shortest:?}, {longest:?}: {last}");
    assert!(["closed", "reset", "connect_refused"].contains(&field("reason=")), "{last}");
}

#[tokio::test]
async fn a_lost_connection_is_reopened_long_before_the_next_tick() {
    let mut redis = RedisServer::start(Listen::Tls, &[("probe", ALL)]).await;
    let agent = straight(&redis).args(["--interval", "1h"]).serve().await;
    agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    redis.kill().await;
    agent.until("the loss is noticed at once", |it| it.sum("disconnects_total", "orders") == 1).await;
    agent.until("it tries", |it| it.connects("failure", "orders") > 0).await;
    redis.restart().await;
    let back = Instant::now();
    let scrape = agent.until("it is open again", |it| it.connects("success", "orders") == 2).await;
    // One retry delay of at most 5 s, plus the duration of the attempt.
    assert!(back.elapsed() < RECOVERY + Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(scrape.count("probes_total", "orders"), 1);
}

#[tokio::test]
async fn a_stopped_redis_server_is_a_command_timeout() {
    let redis = RedisServer::start(Listen::Tls, &[("probe", ALL)]).await;
    let limits = ["--interval", "1s", "--command-timeout", "300ms", "--attempts", "1"];
    let agent = straight(&redis).args(limits).serve().await;
    let before = agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    redis.signal(Signal::STOP);
    let down = agent.until("it is down", |scrape| scrape.is_down("orders")).await;
    let reason = "command_timeout";
    assert_eq!(down.failures(reason, "orders"), before.failures(reason, "orders") + 1, "{}", down.text);
    assert_eq!(down.disconnects(reason, "orders"), before.disconnects(reason, "orders") + 1);
    redis.signal(Signal::CONT);
    agent.until("it is up again", |scrape| scrape.is_up("orders")).await;
}

#[tokio::test]
async fn a_cache_that_refuses_connections_is_connect_refused() {
    let lab = Lab::start().await;
    lab.azure.cache().faults(|faults| faults.admission = Admission::Refuse);
    let agent = lab.run(["--interval", "500ms"]).serve().await;
    let down = agent.until("it is down", |it| it.failures("connect_refused", "orders") > 0).await;
    assert_eq!(down.sum("disconnects_total", "orders"), 0, "there was no connection to lose");
    lab.azure.cache().heal();
    agent.until("it is up", |scrape| scrape.is_up("orders")).await;
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_until_the_cache_ends_the_session() {
    let lab = Lab::with_tokens_of(Duration::from_secs(5)).await;
    let agent = lab.run(["--identity", "managed_identity", "--interval", "500ms"]).serve().await;
    let before = agent.until("it is up", |scrape| scrape.is_up("orders")).await;
    lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::status(500)));
    let failed = r#"token_refreshes_total{identity="managed_identity",result="failure"}"#;
    let expired = agent.until("the session ends", |it| it.disconnects("token_expired", "orders") > 0).await;
    assert!(expired.value(failed) > 0.0);
    agent.until("probes fail", |scrape| scrape.failures("token_expired", "orders") > 0).await;
    assert!(lab.azure.cache().counters().expired > 0);

    lab.azure.endpoint().set(|settings| settings.fault = None);
    let up = agent.until("it is up again", |scrape| scrape.is_up("orders")).await;
    for other in ["no_token", "auth_rejected", "closed", "reset"] {
        assert_eq!(up.failures(other, "orders"), before.failures(other, "orders"), "{}", up.text);
    }
}

#[tokio::test]
async fn the_agent_recovers_from_an_identity_endpoint_that_is_down_at_the_start() {
    let lab = Lab::start().await;
    lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::status(503)));
    let agent = lab.run(["--identity", "managed_identity", "--interval", "500ms"]).serve().await;
    let down = agent.until("there is no token", |scrape| scrape.failures("no_token", "orders") > 0).await;
    assert_eq!(down.failures("no_token", "orders"), down.sum("probe_failures_total", "orders"));
    assert_eq!(lab.azure.cache().counters().connections, 0, "it does not connect without credentials");
    agent.logs("token refresh failed; retrying").await;
    lab.azure.endpoint().set(|settings| settings.fault = None);
    agent.until("it is up", |scrape| scrape.is_up("orders")).await;
}
