//! Repeats one operation of the agent for an instruction counter: `instructions OPERATION N`, where the operation is `probe`,
//! `probe-shards`, `reopening`, `scrape`, `scrape-openmetrics`, `scrape-protobuf` or `renewal`.
//!
//! The cost of one operation is the difference between 2 N and N repetitions, divided by N. To be reproducible, the driver
//! uses paused time, seeded randomness, one thread and a cache in memory, without sockets and TLS.

#[path = "../lab.rs"]
mod lab;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cachepulse::clock::Clock;
use cachepulse::identity::refresh::{Refresher, TokenState};
use cachepulse::identity::sign_in::{SignIn, Tokens};
use cachepulse::identity::{FetchFuture, Token, TokenSource};
use cachepulse::metrics::Format;
use cachepulse::secret::Secret;
use tokio::sync::watch;
use tokio::time::Instant;

use lab::{Behaviour, Cache, INTERVAL, LAST_COMMAND, Lab};

/// Longer than any measurement, so that renewals are counted without probes.
const NEVER: Duration = Duration::from_secs(3600 * 24 * 3650);
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
const SHARDS: u16 = 6;
const SCRAPED_TARGETS: usize = 10;
const SCRAPED_PROBES: u64 = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(what), Some(Ok(count))) = (args.next(), args.next().map(|count| count.parse())) else {
        panic!(
            "usage: instructions probe|probe-shards|reopening|scrape|scrape-openmetrics|scrape-protobuf|renewal N"
        );
    };
    tokio::time::pause();
    let lab = Lab::new();
    match what.as_str() {
        "probe" => lab.probe("t", count).await,
        // Each shard lists its clients.
        "probe-shards" => probe(&lab, Behaviour::Cluster(SHARDS), count * u64::from(SHARDS)).await,
        "reopening" => probe(&lab, Behaviour::Closing, count).await,
        "scrape" => scrape(&lab, Format::Text, count).await,
        "scrape-openmetrics" => scrape(&lab, Format::OpenMetrics, count).await,
        "scrape-protobuf" => scrape(&lab, Format::Protobuf, count).await,
        "renewal" => renewal(&lab, count).await,
        other => panic!("unknown measurement: {other}"),
    }
}

/// Probes a cache with this behaviour, until it has answered the last command of a probe `count` times.
async fn probe(lab: &Lab, behaviour: Behaviour, count: u64) {
    let cache = Cache::that(behaviour, LAST_COMMAND, count);
    lab.run("t", &cache, INTERVAL, SignIn::None).await;
}

async fn scrape(lab: &Lab, format: Format, count: u64) {
    // The series of a prober are removed when it is dropped, so the probers must outlive the scrapes.
    let caches: Vec<Cache> = (0..SCRAPED_TARGETS).map(|_| Cache::until("PING", SCRAPED_PROBES)).collect();
    let mut probers = tokio::task::JoinSet::new();
    for (index, cache) in caches.iter().enumerate() {
        let prober = lab.prober(&format!("target-{index}"), cache, INTERVAL, SignIn::None);
        probers.spawn(prober.run(Instant::now()));
    }
    for cache in &caches {
        cache.done().await;
    }
    for _ in 0..count {
        let length =
            io::copy(&mut lab.metrics.exposition(format), &mut io::sink()).expect("reading never fails");
        assert!(length > 10_000, "the scrape contains the series of the targets");
    }
}

async fn renewal(lab: &Lab, count: u64) {
    let cache = Cache::until("AUTH", count);
    let (publish, states) = watch::channel(TokenState::default());
    let refused = Arc::default();
    let refresher = Refresher {
        label: "bench".into(),
        source: Box::new(Mint { clock: lab.clock.clone(), minted: AtomicU64::new(0) }),
        publish,
        refused: Arc::clone(&refused),
        clock: lab.clock.clone(),
        rng: fastrand::Rng::with_seed(1),
        metrics: lab.metrics.identity("bench"),
        status: lab.status.identity("bench"),
    };
    tokio::select! {
        never = refresher.run() => match never {},
        () = lab.run("t", &cache, NEVER, SignIn::Tokens(Tokens::new(None, states, Arc::clone(&refused)))) => {}
    }
}

/// An identity endpoint that returns a new token for each request.
struct Mint {
    clock: Clock,
    minted: AtomicU64,
}

impl TokenSource for Mint {
    fn fetch(&self) -> FetchFuture<'_> {
        // The claims are {"oid":"bench"}.
        let jwt = format!("e30.eyJvaWQiOiJiZW5jaCJ9.{:0>1000}", self.minted.fetch_add(1, Relaxed));
        let token = Token::new(Secret::new(jwt), self.clock.now() + TOKEN_LIFETIME);
        Box::pin(std::future::ready(Ok(token)))
    }
}
