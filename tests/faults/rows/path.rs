//! Slow paths, idle timeouts and refusals before sign-in, each with a real redis-server.

use std::time::Duration;

use cachepulse_standin::HOST;
use rustix::process::Signal;
use tokio::time::sleep;

use super::Group;
use crate::bench::{TARGET, USER};
use crate::gate::Gate;
use crate::port::Port;
use crate::program::{BINARY, Program, Running, cachepulse, program};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::row::Row;
use crate::scrape::Scrape;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Path");
    rows.scenario("round trips of 150 ms, and a connection killed", "lost connection: `closed`", || {
        Box::pin(slow())
    });
    rows.scenario("round trips of 15 ms, probed every 100 ms", "no failure", || Box::pin(often()));
    rows.scenario(
        "round trips of 120 ms, and the agent stopped for 3 s at a time",
        "late ticks only",
        || Box::pin(stopped()),
    );
    rows.scenario(
        "idle connections closed by the server before each probe",
        "lost connection: `closed`",
        || Box::pin(idle_timeout()),
    );
    rows.scenario("protected mode, from another machine", "`connection_denied`", || {
        Box::pin(protected_mode())
    });
    rows.rows
}

/// Adds the flags for a redis-server with TLS and a user, and for an agent with the default timeouts.
fn signed_in(program: Program, redis: &RedisServer, port: u16) -> Program {
    program
        .args(["--host", HOST, "--port", &port.to_string(), "--username", USER])
        .args(["--identity", "password", "--password-env", "PROBE_PASSWORD"])
        .args(["--ca-file".as_ref(), redis.ca_file().as_os_str()])
        .env("PROBE_PASSWORD", PASSWORD)
}

fn run(redis: &RedisServer, port: u16, interval: &str) -> Program {
    let run = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET, "--interval", interval]);
    signed_in(run, redis, port)
}

/// Waits until `more` probes have run, and requires that none has ever failed.
async fn stays_healthy(agent: &Running, more: u64) -> Result<Scrape, String> {
    let probes = agent.scrape().await.count("probes_total", TARGET);
    let scrape = agent.until("probes go on", |it| it.count("probes_total", TARGET) > probes + more).await;
    let unavailable = scrape.value(&format!("unavailable_seconds_total{{target=\"{TARGET}\"}}"));
    if scrape.is_up(TARGET) && scrape.sum("probe_failures_total", TARGET) == 0 && unavailable == 0.0 {
        Ok(scrape)
    } else {
        Err(format!("a probe failed, or {unavailable} s were unavailable:\n{}", scrape.text))
    }
}

async fn slow() -> Result<String, String> {
    let redis = RedisServer::start(Listen::Tls, &[(USER, ALL)]).await;
    let gate = Gate::slow(redis.port(), Duration::from_millis(150));
    let agent = run(&redis, gate.port, "1s").serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    stays_healthy(&agent, 3).await?;
    redis.ask::<u64>(&["CLIENT", "KILL", "USER", USER]);
    agent.until("the loss is noticed", |it| it.disconnects("closed", TARGET) == 1).await;
    stays_healthy(&agent, 3).await?;
    let checked = signed_in(cachepulse(["check"]), &redis, gate.port).run().await;
    if checked.code != Some(0) {
        return Err(format!("check failed:\n{}{}", checked.stdout, checked.stderr));
    }
    Ok("no probe failed; check agrees".to_owned())
}

async fn often() -> Result<String, String> {
    let redis = RedisServer::start(Listen::Tls, &[(USER, ALL)]).await;
    let gate = Gate::slow(redis.port(), Duration::from_millis(15));
    let agent = run(&redis, gate.port, "100ms").serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    stays_healthy(&agent, 30).await?;
    Ok("no failure".to_owned())
}

async fn stopped() -> Result<String, String> {
    let redis = RedisServer::start(Listen::Tls, &[(USER, ALL)]).await;
    let gate = Gate::slow(redis.port(), Duration::from_millis(120));
    let agent = run(&redis, gate.port, "300ms").serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    for _ in 0..4 {
        // A round has just ended: wait until the next one is under way.
        sleep(Duration::from_millis(250)).await;
        agent.signal(Signal::STOP);
        sleep(Duration::from_secs(3)).await;
        agent.signal(Signal::CONT);
        stays_healthy(&agent, 3).await?;
    }
    match stays_healthy(&agent, 3).await?.count("late_ticks_total", TARGET) {
        0 => Err("no tick was late".to_owned()),
        late => Ok(format!("{late} late ticks, no failure")),
    }
}

async fn idle_timeout() -> Result<String, String> {
    let redis = RedisServer::start_with(Listen::Tls, &[(USER, ALL)], "timeout 1\n").await;
    let agent = run(&redis, redis.port(), "4s").serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    sleep(Duration::from_secs(1)).await;
    let scrape = stays_healthy(&agent, 3).await?;
    match scrape.disconnects("closed", TARGET) {
        0 => Err("the server closed no connection".to_owned()),
        lost => Ok(format!("{lost} connections lost, no probe failed")),
    }
}

/// In a network namespace of its own, where the address of the server is not that of a loopback interface.
async fn protected_mode() -> Result<String, String> {
    const ADDRESS: &str = "192.0.2.1";
    let port = Port::reserve().number;
    let script = format!(
        "ip link set lo up && ip address add {ADDRESS}/32 dev lo && \
         {{ redis-server --bind {ADDRESS} --port {port} --save '' --protected-mode yes >/dev/null & }} && \
         for try in 1 2 3 4 5 6 7 8 9 10; do \
             {BINARY} check --host {ADDRESS} --port {port} --tls false --identity none --output json >checked; \
             grep -q connect_refused checked || break; sleep 0.3; \
         done; cat checked; kill $!"
    );
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let script = format!("cd '{}' && {script}", folder.path().display());
    let checked = program("unshare", ["-rn", "sh", "-c", &script]).run().await;
    let says = |text| checked.stdout.contains(text);
    if says("connection_denied") && says("running in protected mode") {
        Ok("`connection_denied` with the server's text".to_owned())
    } else {
        Err(format!("no connection_denied (needs unshare and ip):\n{}{}", checked.stdout, checked.stderr))
    }
}
