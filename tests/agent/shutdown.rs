//! How the agent ends: in peace at the first signal, at once at the second. That it ends in peace whatever it is at is
//! among the faults (`tests/faults`).

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::lab::Lab;
use crate::program::{Running, eventually};

/// The default of `shutdown_grace_period`.
const GRACE: Duration = Duration::from_secs(10);

/// An agent whose one probe has all the time in the world.
async fn patient(lab: &Lab) -> Running {
    let limits = ["--interval", "1h", "--connect-timeout", "5m", "--command-timeout", "5m"];
    lab.run(["--identity", "managed_identity"]).args(limits).serve().await
}

async fn ends_in_peace(agent: Running, signal: Signal) {
    let asked = Instant::now();
    agent.signal(signal);
    let ended = agent.ended().await;
    assert!(asked.elapsed() < GRACE, "{:?}", asked.elapsed());
    assert!(ended.is_in_peace(), "{ended:?}");
}

#[tokio::test]
async fn between_probes() {
    let lab = Lab::start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let agent = patient(&lab).await;
        agent.until("the one probe succeeds", |scrape| scrape.is_up("orders")).await;
        ends_in_peace(agent, signal).await;
        eventually("its connection is gone", || lab.redis.clients().is_empty()).await;
    }
}

/// A client that has begun a request and does not end it.
async fn slow_client(agent: &Running) -> TcpStream {
    let mut client = TcpStream::connect(agent.addr()).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.unwrap();
    // Answered after the slow one was accepted.
    agent.scrape().await;
    client
}

#[tokio::test]
async fn a_request_that_does_not_end_is_waited_for_until_the_grace_period_is_over() {
    let lab = Lab::start().await;
    let agent = lab.run(["--shutdown-grace-period", "100ms"]).serve().await;
    let _client = slow_client(&agent).await;
    ends_in_peace(agent, Signal::TERM).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let lab = Lab::start().await;
    let agent = lab.run(["--shutdown-grace-period", "10m"]).serve().await;
    let _client = slow_client(&agent).await;
    agent.signal(Signal::TERM);
    let addr = agent.addr();
    eventually("it takes no more requests", || std::net::TcpStream::connect(addr).is_err()).await;
    assert!(!agent.log().contains("shutdown completed"), "{}", agent.log());
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("shutdown completed"), "{ended:?}");
}
