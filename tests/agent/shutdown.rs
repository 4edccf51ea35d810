//! The shutdown: graceful after the first signal, immediate after the second. `tests/faults` covers the shutdown in every
//! state of a prober.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::hostile::large;
use crate::lab::Lab;
use crate::program::{Running, eventually};

/// The default of `shutdown_grace_period`.
const GRACE: Duration = Duration::from_secs(10);

/// Starts an agent with one probe and long timeouts.
async fn patient(lab: &Lab) -> Running {
    let limits = ["--interval", "1h", "--connect-timeout", "5m", "--command-timeout", "5m"];
    lab.run(["--identity", "managed_identity"]).args(limits).serve().await
}

async fn assert_graceful(agent: Running, signal: Signal) {
    let signalled = Instant::now();
    agent.signal(signal);
    let ended = agent.ended().await;
    let elapsed = signalled.elapsed();
    assert!(elapsed < GRACE, "{elapsed:?}");
    assert!(ended.is_graceful(), "{ended:?}");
    let (_, logged) = ended.stderr.trim_end().rsplit_once(" duration_seconds=").unwrap();
    let logged = Duration::from_secs_f64(logged.parse().unwrap());
    assert!(logged <= elapsed, "{logged:?}, {elapsed:?}");
}

#[tokio::test]
async fn the_first_signal_between_probes_shuts_down_gracefully() {
    let lab = Lab::start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let agent = patient(&lab).await;
        agent.until("the one probe succeeds", |scrape| scrape.is_up("orders")).await;
        assert_graceful(agent, signal).await;
        eventually("its connection is gone", || lab.redis.clients().is_empty()).await;
    }
}

#[tokio::test]
async fn incomplete_requests_do_not_delay_the_shutdown() {
    let lab = Lab::start().await;
    let agent = patient(&lab).await;
    let mut clients = Vec::new();
    for start in ["G", "GET /metrics HTTP/1.1\r\nHost: ", "GET /readyz HTTP/1.1\r\nHost: agent\r\n\r\nG"] {
        let mut client = TcpStream::connect(agent.addr()).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        clients.push(client);
    }
    // Connections are accepted in order, so these are accepted when this returns.
    agent.scrape().await;
    assert_graceful(agent, Signal::TERM).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (_file, agent) = large().await;
    let mut client = TcpStream::connect(agent.addr()).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n").await.unwrap();
    // The response has begun. It is not read, so it does not end.
    client.peek(&mut [0]).await.unwrap();
    agent.signal(Signal::TERM);
    let addr = agent.addr();
    eventually("it accepts no more connections", || std::net::TcpStream::connect(addr).is_err()).await;
    assert!(!agent.log().contains("shutdown completed"), "{}", agent.log());
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("shutdown completed"), "{ended:?}");
}
