//! Repeats one operation of the agent for an instruction counter: `instructions probe|scrape|renewal N`.
//!
//! The cost of one operation is the difference between 2 N and N repetitions, divided by N. To be reproducible, the driver
//! uses paused time, seeded randomness, one thread and a cache in memory, without sockets and TLS.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use cachepulse::clock::Clock;
use cachepulse::connection::dial::DialFailure;
use cachepulse::connection::dialer::{Dial, Dialed, Peer};
use cachepulse::identity::refresh::{Refresher, TokenState};
use cachepulse::identity::sign_in::{SignIn, Tokens};
use cachepulse::identity::{FetchFuture, Identity, Token, TokenSource};
use cachepulse::metrics::{Format, Metrics};
use cachepulse::probe::PhaseTimes;
use cachepulse::prober::{KnownNodes, Prober, Setup};
use cachepulse::secret::Secret;
use cachepulse::status::Status;
use cachepulse::target::{Endpoint, Target, TargetName, Tls};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(10);
/// Longer than any measurement, so that renewals are counted without probes.
const NEVER: Duration = Duration::from_secs(3600 * 24 * 3650);
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
const CLIENTS: usize = 20;
const SCRAPED_TARGETS: usize = 10;
const SCRAPED_PROBES: u64 = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(what), Some(Ok(count))) = (args.next(), args.next().map(|count| count.parse())) else {
        panic!("usage: instructions probe|scrape|renewal N");
    };
    tokio::time::pause();
    let lab = Lab::new();
    match what.as_str() {
        "probe" => lab.probe("t", count).await,
        "scrape" => lab.scrape(count).await,
        "renewal" => lab.renewal(count).await,
        other => panic!("unknown measurement: {other}"),
    }
}

/// The services of an agent.
struct Lab {
    metrics: Metrics,
    status: Status,
    clock: Clock,
}

impl Lab {
    fn new() -> Self {
        let clock = Clock::from_tokio(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Self { metrics: Metrics::new(clock.clone()), status: Status::new(clock.clone()), clock }
    }

    async fn probe(&self, name: &str, count: u64) {
        // The last command of the last probe.
        let cache = Cache::until("CLIENT\r\n$4\r\nLIST", count);
        self.run(name, &cache, INTERVAL, SignIn::None).await;
    }

    async fn scrape(&self, count: u64) {
        // The series of a prober are removed when it is dropped, so the probers must outlive the scrapes.
        let caches: Vec<Cache> = (0..SCRAPED_TARGETS).map(|_| Cache::until("PING", SCRAPED_PROBES)).collect();
        let mut probers = tokio::task::JoinSet::new();
        for (index, cache) in caches.iter().enumerate() {
            let prober = self.prober(&format!("target-{index}"), cache, INTERVAL, SignIn::None);
            probers.spawn(prober.run(Instant::now()));
        }
        for cache in &caches {
            cache.0.done.notified().await;
        }
        for _ in 0..count {
            let length =
                io::copy(&mut self.metrics.exposition(Format::Text), &mut io::sink()).expect("reading never fails");
            assert!(length > 10_000, "the scrape contains the series of the targets");
        }
    }

    async fn renewal(&self, count: u64) {
        let cache = Cache::until("AUTH", count);
        let (publish, states) = watch::channel(TokenState::default());
        let refused = Arc::default();
        let refresher = Refresher {
            label: "bench".into(),
            source: Box::new(Mint { clock: self.clock.clone(), minted: AtomicU64::new(0) }),
            publish,
            refused: Arc::clone(&refused),
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(1),
            metrics: self.metrics.identity("bench"),
            status: self.status.identity("bench"),
        };
        tokio::select! {
            never = refresher.run() => match never {},
            () = self.run("t", &cache, NEVER, SignIn::Tokens(Tokens::new(None, states, Arc::clone(&refused)))) => {}
        }
    }

    /// Probes until `cache` is done.
    async fn run(&self, name: &str, cache: &Cache, interval: Duration, sign_in: SignIn) {
        let prober = self.prober(name, cache, interval, sign_in);
        tokio::select! {
            never = prober.run(Instant::now()) => match never {},
            () = cache.0.done.notified() => {}
        }
    }

    fn prober(&self, name: &str, cache: &Cache, interval: Duration, sign_in: SignIn) -> Prober<Cache> {
        let target = Arc::new(target(name, interval));
        Prober::new(Setup {
            dialer: cache.clone(),
            sign_in,
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(1),
            metrics: self.metrics.target(&target.name),
            status: self.status.target(&target),
            instance: "bench".into(),
            offset: Duration::ZERO,
            started: Instant::now(),
            known_nodes: KnownNodes::default(),
            target,
        })
    }
}

fn target(name: &str, interval: Duration) -> Target {
    Target {
        tls: Tls::Off,
        identity: Arc::new(Identity::None),
        interval,
        attempts: NonZeroU32::MIN,
        // They have a rhythm of their own, and would be counted into whatever is measured.
        new_connection_every: None,
        dns_refresh: None,
        ..Target::with_defaults(
            TargetName::new(name).expect("the names above are valid"),
            Endpoint { host: "cache".into(), port: 6380 },
        )
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

/// A cache that notifies `done` after a number of `command`s.
#[derive(Clone)]
struct Cache(Arc<Inner>);

struct Inner {
    command: &'static str,
    left: AtomicU64,
    done: Notify,
    clients: String,
}

impl Cache {
    fn until(command: &'static str, count: u64) -> Self {
        let list: String = (0..CLIENTS).map(client).collect();
        let clients = format!("={}\r\ntxt:{list}\r\n", list.len() + 4);
        Self(Arc::new(Inner { command, left: AtomicU64::new(count), done: Notify::new(), clients }))
    }

    fn reply(&self, request: &str, value: &mut String) -> String {
        if request.contains(self.0.command) && self.0.left.fetch_sub(1, Relaxed) == 1 {
            self.0.done.notify_one();
        }
        let mut words = request.split("\r\n").skip(2).step_by(2);
        match words.next() {
            // PING comes with it.
            Some("HELLO") => "%2\r\n+proto\r\n:3\r\n+id\r\n:7\r\n+PONG\r\n".into(),
            Some("PING") => "+PONG\r\n".into(),
            Some("SET") => {
                words.nth(1).unwrap_or_default().clone_into(value);
                "+OK\r\n".into()
            }
            Some("GET") => format!("${}\r\n{value}\r\n", value.len()),
            Some("CLIENT") => self.0.clients.clone(),
            _ => "+OK\r\n".into(),
        }
    }
}

/// Returns a line of `CLIENT LIST` in the format of Redis 7.
fn client(id: usize) -> String {
    format!(
        "id={id} addr=10.0.0.9:{port} laddr=10.0.0.4:6380 fd={id} name=cachepulse age=3600 idle=1 flags=N db=0 \
         sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 \
         omem=0 tot-mem=22298 events=r cmd=client|list user=default redir=-1 resp=2\n",
        port = 40_000 + id,
    )
}

impl Dial for Cache {
    type Stream = Stream;

    fn to(&self, _endpoint: Endpoint) -> Self {
        self.clone()
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Stream>, DialFailure> {
        let stream = Stream { cache: self.clone(), value: String::new(), reply: Vec::new() };
        Ok(Dialed { stream, phases: PhaseTimes::default(), peer: Peer::default(), deadline })
    }

    async fn leads_to(&self, _address: SocketAddr, _deadline: Instant) -> Option<bool> {
        None
    }
}

/// A connection whose peer replies during the write.
struct Stream {
    cache: Cache,
    value: String,
    reply: Vec<u8>,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reply = &mut self.get_mut().reply;
        if reply.is_empty() {
            // A reply only follows a write, so no waker is needed.
            return Poll::Pending;
        }
        let length = reply.len().min(buffer.remaining());
        buffer.put_slice(&reply[..length]);
        reply.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let request = std::str::from_utf8(bytes).expect("a prober writes text");
        stream.reply = stream.cache.reply(request, &mut stream.value).into_bytes();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
