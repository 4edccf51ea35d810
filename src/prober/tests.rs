//! A prober on paused time, against a cache that lives in memory and misbehaves on request.

#![allow(clippy::float_cmp, reason = "counters hold whole numbers")]

mod asking;
mod companion;
mod front;
mod keys;
mod maintenance;
mod moved;
mod protocol;
mod replicas;
mod roles;
mod shards;
mod simulation;
mod token_life;
mod tokens;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::*;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::{Dialed, Dialer, Peer};
use crate::connection::testing::resolver;
use crate::identity::Token;
use crate::identity::refresh::TokenState;
use crate::identity::sign_in::Tokens;
use crate::metrics::{Format, Metrics};
use crate::probe::{Failure, FailureReason, Phase, PhaseTimes, Stage};
use crate::secret::Secret;
use crate::status::{Availability, Status};
use crate::target::{ClientList as ClientListOf, ClientListMode, Endpoint};
use crate::telemetry::testing::logged;
use crate::topology::{Slot, SlotSet};
use tokens::token;

/// A cache in memory; clones are the same cache. With an endpoint, the node of it that is there.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<State>>, Option<Endpoint>);

#[derive(Default)]
struct State {
    /// What dialing ends in, instead of a connection.
    away: Option<FailureReason>,
    /// How long dialing takes.
    slow_dial: Duration,
    /// The addresses of the name; `None` if lookups fail. Connections lead to the first.
    addresses: Option<Vec<SocketAddr>>,
    /// How often the server has moved.
    epoch: watch::Sender<u64>,
    /// Replies by command, instead of the real ones. An empty reply is silence, [`HANG_UP`] the end.
    canned: HashMap<&'static str, String>,
    keys: HashMap<String, String>,
    /// The slots of this node of a cluster; `None` if it has all.
    own_slots: Option<SlotSet>,
    /// Keys whose slot is on its way to another node.
    migrating: Vec<String>,
    /// Connections before this one lead to a node that was demoted.
    demoted: usize,
    /// Connections before this one lead to a replica outside of a cluster.
    replicas: usize,
    /// The version that HELLO names, with mode and role.
    version: Option<&'static str>,
    /// The slots in which no key can be written.
    full: SlotSet,
    /// The reply of a named node to `ASKING`, and what ends dialing it.
    asking: Option<&'static str>,
    named_away: Option<FailureReason>,
    /// The commands that named nodes got, with their endpoints.
    asked: Vec<String>,
    commands: Vec<String>,
    dials: Vec<Instant>,
    open: Vec<tokio::task::AbortHandle>,
    /// Sends pushes on each connection, closed ones included.
    pushing: Vec<mpsc::UnboundedSender<String>>,
    /// Where connections were opened to instead of the target's endpoint.
    led_to: Vec<String>,
}

impl Cache {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn can(&self, command: &'static str, reply: &str) {
        self.with(|state| state.canned.insert(command, reply.into()));
    }

    /// Closes every connection.
    fn hang_up(&self) {
        self.with(|state| state.open.drain(..).for_each(|task| task.abort()));
    }

    /// Sends `push` on every connection.
    fn push(&self, push: &str) {
        self.with(|state| state.pushing.iter().for_each(|to| drop(to.send(push.into()))));
    }

    fn count(&self, command: &str) -> usize {
        self.with(|state| state.commands.iter().filter(|sent| sent.starts_with(command)).count())
    }

    fn reply(&self, words: &[String], connection: usize) -> String {
        if let Some(endpoint) = &self.1 {
            return self.with(|state| state.named(words, endpoint));
        }
        self.with(|state| {
            let is_demoted = connection < state.demoted;
            if let ("HELLO", Some(canned)) = (words[0].as_str(), state.canned.get("HELLO")) {
                state.commands.push("HELLO".into());
                return canned.clone();
            }
            if words[0] == "HELLO" {
                let hello = state.hello(connection);
                let Some(at) = words.iter().position(|word| word == "AUTH") else {
                    if words.len() == 1 {
                        state.commands.push("HELLO".into());
                    }
                    return hello;
                };
                // A sign-in is a sign-in.
                state.commands.push(words[at..at + 3].join(" "));
                return state.canned.get("AUTH").map_or(hello, Clone::clone);
            }
            state.commands.push(words.join(" "));
            let name = if words[0] == "CLIENT" { words[..2].join(" ") } else { words[0].clone() };
            if let Some(canned) = state.canned.get(name.as_str()) {
                return canned.clone();
            }
            match name.as_str() {
                "PING" => "+PONG\r\n".into(),
                "SET" | "GET" if is_demoted => "-MOVED 42 10.0.0.9:8500\r\n".into(),
                "SET" | "GET" if state.migrating.contains(&words[1]) => "-ASK 42 10.0.0.9:8500\r\n".into(),
                "SET" if state.full.contains(Slot::of_key(words[1].as_bytes())) => OOM.into(),
                "SET" if connection < state.replicas => READONLY.into(),
                "SET" if !state.has(&words[1]) => {
                    format!("-MOVED {} 10.0.0.9:8500\r\n", Slot::of_key(words[1].as_bytes()))
                }
                "SET" => state.set(words),
                "GET" => state.get(words),
                "SUBSCRIBE" => format!(">3\r\n+subscribe\r\n+{}\r\n:1\r\n", words[1]),
                "CLUSTER" => "-ERR This instance has cluster support disabled\r\n".into(),
                "CLIENT LIST" => "$22\r\nid=7 addr=10.0.0.1:50\n\r\n".into(),
                _ => "+OK\r\n".into(),
            }
        })
    }

    async fn serve(
        self,
        mut stream: DuplexStream,
        connection: usize,
        mut pushes: mpsc::UnboundedReceiver<String>,
    ) {
        let mut bytes = vec![0; 4096];
        loop {
            // A prober writes at once what it wants answered in one round trip.
            let length = tokio::select! {
                length = stream.read(&mut bytes) => length.unwrap_or(0),
                Some(push) = pushes.recv() => {
                    stream.write_all(push.as_bytes()).await.unwrap();
                    continue;
                }
            };
            if length == 0 {
                return;
            }
            let reply: String =
                commands(&bytes[..length]).iter().map(|words| self.reply(words, connection)).collect();
            let (reply, hangs_up) =
                reply.split_once(HANG_UP).map_or((&*reply, false), |(reply, _)| (reply, true));
            if stream.write_all(reply.as_bytes()).await.is_err() || hangs_up {
                return;
            }
        }
    }
}

impl State {
    fn has(&self, key: &str) -> bool {
        self.own_slots.as_ref().is_none_or(|slots| slots.contains(Slot::of_key(key.as_bytes())))
    }

    fn set(&mut self, words: &[String]) -> String {
        self.keys.insert(words[1].clone(), words[2].clone());
        "+OK\r\n".into()
    }

    fn get(&self, words: &[String]) -> String {
        let found = self.keys.get(&words[1]);
        found.map_or("$-1\r\n".into(), |value| format!("${}\r\n{value}\r\n", value.len()))
    }

    /// The reply of the node at `endpoint`, to which the slots that are asked for are on their way.
    fn named(&mut self, words: &[String], endpoint: &Endpoint) -> String {
        self.asked.push(format!("{endpoint} {}", words[0]));
        match words[0].as_str() {
            "HELLO" => HELLO.into(),
            "PING" => "+PONG\r\n".into(),
            "ASKING" => self.asking.unwrap_or("+OK\r\n").into(),
            _ if self.asking.is_some() => "-MOVED 42 10.0.0.1:8500\r\n".into(),
            "SET" => self.set(words),
            _ => self.get(words),
        }
    }

    /// What RESP3 is agreed with.
    fn hello(&self, connection: usize) -> String {
        let Some(version) = self.version else { return HELLO.into() };
        let role = if connection < self.demoted.max(self.replicas) { "replica" } else { "master" };
        let mode = if self.demoted > 0 { "cluster" } else { "standalone" };
        format!(
            "%5\r\n+proto\r\n:3\r\n+server\r\n+redis\r\n+version\r\n+{version}\r\n+mode\r\n+{mode}\r\n+role\r\n+{role}\r\n"
        )
    }
}

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
/// The reply of a peer that closes the connection.
const HANG_UP: &str = "hang up";
/// What RESP3 is agreed with.
const HELLO: &str = "%2\r\n+proto\r\n:3\r\n+id\r\n:7\r\n";

/// The commands in `bytes`, which are whole.
fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let words = (0..count.parse().unwrap()).map(|_| lines.nth(1).unwrap().to_owned());
        commands.push(words.collect());
    }
    commands
}

impl Dial for Cache {
    type Stream = DuplexStream;

    fn to(&self, endpoint: Endpoint) -> Self {
        self.with(|state| state.led_to.push(endpoint.to_string()));
        // The port of nodes that are named by a redirection.
        Self(Arc::clone(&self.0), (endpoint.port == 8500).then_some(endpoint))
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<DuplexStream>, DialFailure> {
        let started = Instant::now();
        let (away, slow) = self.with(|state| {
            if self.1.is_some() {
                return (state.named_away, state.slow_dial);
            }
            state.dials.push(Instant::now());
            (state.away, state.slow_dial)
        });
        let failed = |reason| {
            let failure = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            DialFailure { failure, phases: PhaseTimes::default() }
        };
        if tokio::time::timeout_at(deadline, sleep(slow)).await.is_err() {
            return Err(failed(FailureReason::ConnectTimeout));
        }
        if let Some(reason) = away {
            return Err(failed(reason));
        }
        let (near, far) = duplex(64 * 1024);
        let connection = self.with(|state| state.dials.len());
        let (pushing, pushes) = mpsc::unbounded_channel();
        let task = tokio::spawn(self.clone().serve(far, connection, pushes)).abort_handle();
        self.with(|state| {
            state.open.push(task);
            state.pushing.push(pushing);
        });
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Connect, started.elapsed());
        let address = self.with(|state| state.addresses.iter().flatten().next().copied());
        let epoch = self.with(|state| *state.epoch.borrow());
        Ok(Dialed { stream: near, phases, peer: Peer { address, epoch, ..Peer::default() }, deadline })
    }

    async fn moved_from(&self, peer: &Peer) -> Failure {
        let mut epoch = self.with(|state| state.epoch.subscribe());
        epoch.wait_for(|epoch| *epoch != peer.epoch).await.unwrap();
        Failure::new(FailureReason::WrongNode, Stage::Idle, "the server has moved")
    }

    async fn leads_to(&self, address: SocketAddr, _deadline: Instant) -> Option<bool> {
        self.with(|state| state.addresses.as_ref().map(|addresses| addresses.contains(&address)))
    }
}

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);

fn target() -> Target {
    Target {
        interval: INTERVAL,
        connect_timeout: 5 * SECOND,
        command_timeout: 2 * SECOND,
        reply_limit: 64 * 1024,
        // Tests of the companion turn these on.
        new_connection_every: None,
        dns_refresh: None,
        ..Target::plain("t")
    }
}

struct Running {
    metrics: Metrics,
    status: Status,
    task: tokio::task::JoinHandle<Infallible>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn value(&self, series: &str) -> f64 {
        let text = std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap();
        let name = format!("cachepulse_{series} ");
        let line = text.lines().find(|line| line.starts_with(&name));
        // Such a series appears with its first event.
        if line.is_none() && ["reason=", "result=", "step=", "phase="].iter().any(|it| series.contains(it)) {
            return 0.0;
        }
        let line = line.unwrap_or_else(|| panic!("no series {series} in:\n{text}"));
        line[name.len()..].parse().unwrap()
    }

    fn probes(&self) -> f64 {
        self.value(r#"probes_total{target="t"}"#)
    }

    fn failures(&self, reason: &str) -> f64 {
        self.value(&format!(r#"probe_failures_total{{reason="{reason}",target="t"}}"#))
    }

    fn all_failures(&self) -> f64 {
        let text = std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("cachepulse_probe_failures_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn disconnects(&self, reason: &str) -> f64 {
        self.value(&format!(r#"disconnects_total{{reason="{reason}",target="t"}}"#))
    }

    fn unavailable(&self) -> f64 {
        self.value(r#"unavailable_seconds_total{target="t"}"#)
    }

    /// Returns what the pages show of the last day.
    fn day(&self) -> Availability {
        let overview = self.status.overview();
        overview.targets[0].details(overview.now).history.day
    }

    fn is_up(&self) -> bool {
        self.value(r#"probe_success{target="t"}"#) > 0.5
    }
}

fn clock() -> Clock {
    Clock::from_tokio(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

fn start(cache: &Cache, target: Target) -> Running {
    start_with(cache, target, SignIn::None, clock())
}

fn start_with(cache: &Cache, target: Target, sign_in: SignIn, clock: Clock) -> Running {
    start_prober(cache.clone(), target, sign_in, clock)
}

fn start_prober<D: Dial<Stream: 'static> + 'static>(
    dialer: D,
    target: Target,
    sign_in: SignIn,
    clock: Clock,
) -> Running {
    start_after(Duration::ZERO, dialer, target, sign_in, clock)
}

/// Starts a prober whose first tick is `offset` from now, because other targets start as well.
fn start_after<D: Dial<Stream: 'static> + 'static>(
    offset: Duration,
    dialer: D,
    target: Target,
    sign_in: SignIn,
    clock: Clock,
) -> Running {
    start_seeded(42, offset, dialer, target, sign_in, clock)
}

fn start_seeded<D: Dial<Stream: 'static> + 'static>(
    seed: u64,
    offset: Duration,
    dialer: D,
    target: Target,
    sign_in: SignIn,
    clock: Clock,
) -> Running {
    let (prober, metrics, status) = made(seed, offset, dialer, target, sign_in, clock);
    Running { metrics, status, task: tokio::spawn(prober.run(Instant::now() + offset)) }
}

/// Returns what a prober is made of, and what it reports to.
fn setup<D: Dial<Stream: 'static> + 'static>(
    seed: u64,
    offset: Duration,
    dialer: D,
    target: Target,
    sign_in: SignIn,
    clock: Clock,
) -> (Setup<D>, Metrics, Status) {
    let metrics = Metrics::new(clock.clone());
    let status = Status::new(clock.clone());
    let setup = Setup {
        dialer,
        sign_in,
        clock,
        rng: fastrand::Rng::with_seed(seed),
        metrics: metrics.target(&target.name),
        status: status.target(&target),
        instance: "pod".into(),
        offset,
        started: Instant::now(),
        known_nodes: KnownNodes::default(),
        target: Arc::new(target),
    };
    (setup, metrics, status)
}

/// Returns a prober that does not run yet, and what it reports to.
fn made<D: Dial<Stream: 'static> + 'static>(
    seed: u64,
    offset: Duration,
    dialer: D,
    target: Target,
    sign_in: SignIn,
    clock: Clock,
) -> (Prober<D>, Metrics, Status) {
    let (setup, metrics, status) = setup(seed, offset, dialer, target, sign_in, clock);
    (Prober::new(setup), metrics, status)
}

#[tokio::test(start_paused = true)]
async fn every_tick_has_one_outcome_on_one_connection() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(95 * SECOND).await;
    assert_eq!(running.probes(), 10.0);
    assert_eq!(running.all_failures(), 0.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 1.0);
    assert_eq!(running.value(r#"cache_clients{target="t"}"#), 1.0);
    assert_eq!(running.unavailable(), 0.0);
    let key = cache.with(|state| state.keys.keys().next().unwrap().clone());
    assert!(key.starts_with("cachepulse:pod-"), "{key}");
}

#[tokio::test(start_paused = true)]
async fn every_tick_has_one_outcome_while_the_cache_is_away() {
    let cache = Cache::default();
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    let running = start(&cache, target());
    sleep(95 * SECOND).await;
    assert_eq!(running.probes(), 10.0);
    assert_eq!(running.failures("connect_refused"), 10.0);
    assert!(!running.is_up());
    // Retries pause at most five seconds, and never turn into a storm.
    let dials = cache.with(|state| state.dials.len());
    assert!((20..80).contains(&dials), "{dials}");
}

#[tokio::test(start_paused = true)]
async fn a_tick_cuts_no_opening_short_and_every_tick_has_its_outcome() {
    let cache = Cache::default();
    cache.with(|state| state.slow_dial = 60 * SECOND);
    let running = start(&cache, Target { interval: SECOND, ..target() });
    sleep(Duration::from_millis(4_900)).await;
    assert_eq!(running.probes(), 0.0, "nothing is known before the first opening has ended");
    sleep(Duration::from_millis(15_600)).await;
    let waiting = 20.5 - running.probes();
    assert!((0.0..=1.5).contains(&waiting), "{waiting}");
    assert_eq!(running.failures("connect_timeout"), running.probes());
    assert_eq!(running.value(r#"late_ticks_total{target="t"}"#), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_takes_longer_to_connect_to_than_from_tick_to_tick_is_healthy() {
    let cache = Cache::default();
    cache.with(|state| state.slow_dial = Duration::from_millis(2_500));
    let running = start(&cache, Target { interval: SECOND, ..target() });
    sleep(Duration::from_millis(13_900)).await;
    assert!(running.is_up());
    assert_eq!((running.probes(), running.all_failures()), (14.0, 0.0), "a tick, an outcome");
    assert_eq!(running.unavailable(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_between_ticks_is_counted_and_replaced_at_once_without_an_outage() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(12 * SECOND).await;
    cache.hang_up();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(running.disconnects("closed"), 1.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 2.0);
    sleep(30 * SECOND).await;
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_idle_connections_is_healthy() {
    let cache = Cache::default();
    let running = start(&cache, target());
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move {
            loop {
                sleep(Duration::from_millis(3_700)).await;
                cache.hang_up();
            }
        }
    });
    sleep(195 * SECOND).await;
    closing.abort();
    assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (20.0, 0.0, 0.0));
    assert_eq!(running.disconnects("closed"), 52.0);
}

#[tokio::test(start_paused = true)]
async fn a_reopening_that_outlasts_its_grace_is_an_outage_without_a_failed_tick() {
    let cache = Cache::default();
    let running = start(&cache, Target { connect_timeout: 60 * SECOND, ..target() });
    sleep(12 * SECOND).await;
    cache.with(|state| state.slow_dial = 7 * SECOND);
    cache.hang_up();
    sleep(17 * SECOND).await;
    assert_eq!(running.value(r#"connects_total{result="failure",target="t"}"#), 0.0);
    assert_eq!(running.value(r#"connects_total{result="success",target="t"}"#), 2.0);
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 7.0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_counts_from_its_first_sign_to_the_next_success() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(12 * SECOND).await;
    cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
    cache.hang_up();
    sleep(13 * SECOND).await;
    assert_eq!(running.failures("connect_refused"), 1.0);
    cache.with(|state| state.away = None);
    sleep(10 * SECOND).await;
    assert!(running.is_up());
    // Lost at 12 s, away until 25 s, and followed up within 5 s.
    let unavailable = running.unavailable();
    assert!((13.0..18.1).contains(&unavailable), "{unavailable}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_opens_20_s_after_the_start_costs_no_unavailable_time_with_a_grace() {
    for (grace, unavailable) in [(0, 20.0..25.1), (5, 15.0..20.1), (30, 0.0..0.1)] {
        let cache = Cache::default();
        cache.with(|state| state.away = Some(FailureReason::ConnectRefused));
        let running = start(&cache, Target { startup_grace: grace * SECOND, ..target() });
        sleep(20 * SECOND).await;
        cache.with(|state| state.away = None);
        sleep(20 * SECOND).await;
        assert!(running.is_up());
        assert!(running.failures("connect_refused") >= 2.0);
        assert!(unavailable.contains(&running.unavailable()), "{grace}: {}", running.unavailable());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_grows_while_it_lasts_however_rare_the_ticks() {
    let cache = Cache::default();
    cache.can("PING", "-LOADING Redis is loading the dataset in memory\r\n");
    let running = start(&cache, Target { interval: 600 * SECOND, ..target() });
    sleep(60 * SECOND + Duration::from_millis(1)).await;
    assert!((55.0..=60.1).contains(&running.unavailable()), "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_returns_is_up_within_five_seconds_between_ticks() {
    let cache = Cache::default();
    cache.with(|state| state.away = Some(FailureReason::ConnectTimeout));
    let running = start(&cache, Target { interval: 60 * SECOND, ..target() });
    sleep(30 * SECOND).await;
    cache.with(|state| state.away = None);
    sleep(5 * SECOND).await;
    assert!(running.is_up());
    assert_eq!(running.probes(), 1.0, "a follow-up is no tick");
    let unavailable = running.unavailable();
    assert!((30.0..35.0).contains(&unavailable), "{unavailable}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_hangs_up_is_not_hammered() {
    let cache = Cache::default();
    let running = start(&cache, Target { interval: 600 * SECOND, ..target() });
    sleep(SECOND).await;
    for _ in 0..600 {
        cache.hang_up();
        sleep(Duration::from_millis(100)).await;
    }
    let dials = cache.with(|state| state.dials.len());
    assert!(dials < 40, "{dials} dials in a minute");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_found_by_the_command_timeout_and_replaced() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(SECOND).await;
    cache.can("PING", "");
    sleep(10 * SECOND).await;
    cache.with(|state| state.canned.clear());
    sleep(5 * SECOND).await;
    // The first attempt of the second tick timed out, a later one found a cache that answers.
    assert_eq!(running.disconnects("command_timeout"), 1.0);
    assert_eq!(running.probes(), 2.0);
    assert_eq!(running.all_failures(), 0.0);
    assert!((2.0..4.5).contains(&running.unavailable()), "{}", running.unavailable());
}

#[tokio::test(start_paused = true)]
async fn what_the_cache_forbids_is_denied_and_only_fails_the_probe_where_it_is_required() {
    let forbidden = "-NOPERM this user has no permissions to run the 'client' command\r\n";
    for (mode, failures) in
        [(ClientListMode::Optional, 0.0), (ClientListMode::Required, 1.0), (ClientListMode::Off, 0.0)]
    {
        let cache = Cache::default();
        cache.can("CLIENT LIST", forbidden);
        let client_list = ClientListOf { mode, every: None };
        let running = start(&cache, Target { client_list, ..target() });
        sleep(SECOND).await;
        assert_eq!(running.failures("permission_denied"), failures, "{mode:?}");
        let denied = running.value(r#"step_results_total{result="denied",step="client_list",target="t"}"#);
        assert_eq!(denied, if mode == ClientListMode::Off { 0.0 } else { 1.0 }, "{mode:?}");
    }
    let cache = Cache::default();
    cache.can("SET", forbidden);
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert_eq!(running.failures("permission_denied"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn client_list_runs_in_every_nth_probe() {
    let cache = Cache::default();
    let every = NonZeroU32::new(3);
    let client_list = ClientListOf { mode: ClientListMode::Optional, every };
    let _running = start(&cache, Target { client_list, ..target() });
    sleep(65 * SECOND).await;
    assert_eq!((cache.count("SET"), cache.count("CLIENT LIST")), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_does_not_come_back_fails_at_once_and_is_not_retried() {
    let cache = Cache::default();
    cache.can("GET", "$5\r\nother\r\n");
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert_eq!(running.failures("value_mismatch"), 1.0);
    let report = running.status.document();
    assert_eq!(report.targets[0].recent[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn each_condition_of_the_server_has_its_reason() {
    for (command, reply, reason) in [
        ("PING", "-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        ("SET", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out_of_memory"),
        ("SET", "-READONLY You can't write against a read only replica.\r\n", "read_only"),
        ("GET", "-CLUSTERDOWN The cluster is down\r\n", "cluster_down"),
        ("PING", "-ERR unknown command 'PING'\r\n", "server_error"),
        ("GET", "$-1\r\n", "value_mismatch"),
        ("GET", "$99999\r\n", "reply_too_large"),
        ("PING", "HTTP/1.1 400 Bad Request\r\n", "protocol_error"),
        ("PING", "-NOAUTH Authentication required.\r\n", "auth_rejected"),
        ("SET", "", "command_timeout"),
    ] {
        let cache = Cache::default();
        cache.can(command, reply);
        let running = start(&cache, target());
        sleep(9 * SECOND).await;
        assert_eq!(running.failures(reason), 1.0, "{command} {reply:?}");
        assert_eq!(running.all_failures(), 1.0, "{command} {reply:?}");
        cache.with(|state| state.canned.clear());
        sleep(2 * SECOND).await;
        assert!(running.is_up(), "{command} {reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_without_tokens_is_never_told_of_policies() {
    let cache = Cache::default();
    cache.can("SET", "-NOAUTH Authentication required.\r\n");
    let running = start(&cache, target());
    sleep(SECOND).await;
    let document = running.status.document();
    let failure = document.targets[0].failures[0].failure.as_ref().unwrap();
    assert_eq!(failure.reason, FailureReason::AuthRejected);
    assert!(!failure.advice.contains("policy"), "{}", failure.advice);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_a_cluster_is_probed_with_a_key_of_its_own() {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(a_sixteenth()));
    let running = start(&cache, target());
    sleep(25 * SECOND).await;
    assert_eq!(running.all_failures(), 0.0);
    // It was searched once and kept.
    let searched = cache.count("SET") - 2;
    sleep(10 * SECOND).await;
    assert_eq!(cache.count("SET"), searched + 3);
}

fn a_sixteenth() -> SlotSet {
    [Slot::new(1000).unwrap()..=Slot::new(2023).unwrap()].into_iter().collect()
}

/// Lets the slots of all keys that were written so far be on their way.
fn migrate(cache: &Cache) {
    cache.with(|state| state.migrating = state.keys.drain().map(|(key, _)| key).collect());
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_is_left_for_another_on_the_same_connection() {
    // Where all keys are the node's own, and where they must be searched.
    for own_slots in [None, Some(a_sixteenth())] {
        let cache = Cache::default();
        cache.with(|state| state.own_slots = own_slots.clone());
        let running = start(&cache, Target { attempts: NonZeroU32::MIN, ..target() });
        sleep(5 * SECOND).await;
        migrate(&cache);
        let (sets, dials) = (cache.count("SET"), cache.with(|state| state.dials.len()));
        sleep(30 * SECOND).await;
        assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (4.0, 0.0, 0.0));
        assert_eq!(cache.with(|state| state.dials.len()), dials);
        if own_slots.is_none() {
            assert_eq!(cache.count("SET") - sets, 4, "the key of before once, and another in each probe");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_leaves_between_set_and_get_costs_one_attempt() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(5 * SECOND).await;
    cache.can("GET", "-ASK 42 10.0.0.9:8500\r\n");
    sleep(5 * SECOND + Duration::from_millis(1)).await;
    cache.with(|state| state.canned.clear());
    migrate(&cache);
    sleep(20 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures()), (4.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_demoted_node_is_left_for_the_one_that_its_name_leads_to_now() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(5 * SECOND).await;
    cache.with(|state| state.demoted = 2);
    sleep(30 * SECOND).await;
    assert_eq!(running.all_failures(), 0.0);
    assert_eq!(running.disconnects("wrong_node"), 1.0);
    // The key of before, one other, and the key of before again.
    assert_eq!(cache.count("SET"), 6);
    assert_eq!(cache.with(|state| state.keys.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_has_our_keys_is_not_asked_for_them_again_and_again() {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(SlotSet::default()));
    let running = start(&cache, target());
    sleep(59 * SECOND).await;
    // A follow-up of the first tick has left the key to shards, for which this server knows no topology.
    assert_eq!((running.probes(), running.failures("wrong_node")), (6.0, 5.0));
    let (sets, dials) = (cache.count("SET"), cache.with(|state| state.dials.len()));
    assert!(sets <= 64 + dials + 6, "{sets} on {dials} connections");
}

#[tokio::test(start_paused = true)]
async fn nothing_about_an_optional_client_list_fails_a_probe() {
    for (reply, result, lost) in [
        ("-ERR unknown command 'CLIENT', with args beginning with: 'LIST' \r\n", "unsupported", 0.0),
        ("-NOPERM this user has no permissions to run the 'client' command\r\n", "denied", 0.0),
        ("+OK\r\n", "failure", 0.0),
        ("*1\r\n+OK\r\n", "failure", 0.0),
        ("$9999\r\nid=1", "failure", 3.0),
        ("$2\r\nxxxx", "failure", 3.0),
    ] {
        let cache = Cache::default();
        cache.can("CLIENT LIST", reply);
        let running = start(&cache, target());
        sleep(25 * SECOND).await;
        let results = running
            .value(&format!(r#"step_results_total{{result="{result}",step="client_list",target="t"}}"#));
        assert_eq!((running.probes(), results), (3.0, 3.0), "{reply:?}");
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "{reply:?}");
        let disconnects = ["command_timeout", "protocol_error"].map(|reason| running.disconnects(reason));
        assert_eq!(disconnects.iter().sum::<f64>(), lost, "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_the_machine_slept_through_is_counted_as_late() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(SECOND).await;
    tokio::time::advance(47 * SECOND).await;
    sleep(SECOND).await;
    assert_eq!(running.value(r#"late_ticks_total{target="t"}"#), 4.0);
    assert_eq!(running.probes(), 2.0);
    // Newest first: the one that was due after 10 s came after 48 s.
    let document = running.status.document();
    let delays =
        document.targets[0].recent.iter().filter_map(|it| it.scheduler_delay_seconds).map(f64::round);
    assert_eq!(delays.collect::<Vec<_>>(), [38.0, 0.0]);
}

/// A future keeps a place for each value that it is handed and for each that it moves on, so that a careless change doubles
/// what every target costs.
#[tokio::test(start_paused = true)]
async fn what_a_target_keeps_while_nothing_happens_stays_small() {
    let endpoint = Endpoint { host: "localhost".into(), port: 6379 };
    let dialer = Dialer::new(endpoint, None, resolver());
    let (prober, ..) = made(42, Duration::ZERO, dialer, target(), SignIn::None, clock());
    let link = size_of_val(&*prober.front);
    let maker = size_of_val(&*prober.links);
    let task = size_of_val(&prober.run(Instant::now()));
    assert!(task + link + maker < 7 * 1024, "task {task}, link {link}, its maker {maker} bytes");
}
