//! The whole loop on paused time, against a cache with a random round-trip time that is taken away at random.
//!
//! The truth is known: what the prober records must be what was done to it. A run that fails is named by its seed;
//! `SIMULATION_SEED=n cargo test simulation` plays it again, and `make simulation-test` plays five times as many.

use super::*;
use crate::prober::seeds::seeds;

const RUNS: u64 = 40;
/// Timers are that coarse.
const TIMER: Duration = Duration::from_millis(1);
const MS: Duration = Duration::from_millis(1);
/// The longest pause before an attempt while the cache is away.
const PAUSE: Duration = Duration::from_secs(5);

/// What is done to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Its process is gone.
    Killed,
    /// Packets vanish on the way.
    Silent,
    /// It answers every command with an error.
    Loading,
}

#[derive(Clone)]
struct Server(Arc<Mutex<ServerState>>);

struct ServerState {
    trip: Duration,
    fault: Option<Fault>,
    /// Closes connections that are idle for so long.
    idle: Duration,
    value: String,
    open: Vec<tokio::task::AbortHandle>,
    dials: u64,
    /// The token that was presented last.
    presented: String,
}

impl Server {
    fn with<T>(&self, change: impl FnOnce(&mut ServerState) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn begin(&self, fault: Fault) {
        self.with(|state| {
            state.fault = Some(fault);
            if fault == Fault::Killed {
                state.open.drain(..).for_each(|task| task.abort());
            }
        });
    }

    fn reply(&self, words: &[String]) -> String {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.with(|state| match words[..] {
            ["HELLO", "3", "AUTH", _, token, ..] => {
                state.presented = token.to_owned();
                HELLO.into()
            }
            ["AUTH", _, token] => {
                state.presented = token.to_owned();
                "+OK\r\n".into()
            }
            _ if state.fault == Some(Fault::Loading) => "-LOADING Redis is loading\r\n".into(),
            ["PING"] => "+PONG\r\n".into(),
            ["SET", _, value, ..] => {
                state.value = value.to_owned();
                "+OK\r\n".into()
            }
            ["GET", _] => format!("${}\r\n{}\r\n", state.value.len(), state.value),
            ["CLIENT", "LIST"] => "$22\r\nid=7 addr=10.0.0.1:50\n\r\n".into(),
            _ => "+OK\r\n".into(),
        })
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut bytes = vec![0; 4096];
        let idle = self.with(|state| state.idle);
        while let Ok(Ok(length @ 1..)) = tokio::time::timeout(idle, stream.read(&mut bytes)).await {
            let silent = |state: &mut ServerState| state.fault == Some(Fault::Silent);
            let lost = self.with(silent);
            sleep(self.with(|state| state.trip)).await;
            if lost || self.with(silent) {
                continue;
            }
            let reply: String = commands(&bytes[..length]).iter().map(|words| self.reply(words)).collect();
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
        if self.with(|state| state.fault) == Some(Fault::Silent) {
            // The peer gets no end of file.
            std::future::pending::<()>().await;
        }
    }
}

impl Dial for Server {
    type Stream = DuplexStream;

    fn to(&self, _endpoint: Endpoint) -> Self {
        self.clone()
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<DuplexStream>, DialFailure> {
        let trip = self.with(|state| {
            state.dials += 1;
            state.trip
        });
        let failed = |reason| {
            let failure = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            DialFailure { failure, phases: PhaseTimes::default() }
        };
        let silent = self.with(|state| state.fault == Some(Fault::Silent));
        if silent || tokio::time::timeout_at(deadline, sleep(trip)).await.is_err() {
            tokio::time::sleep_until(deadline).await;
            return Err(failed(FailureReason::ConnectTimeout));
        }
        if self.with(|state| state.fault) == Some(Fault::Killed) {
            return Err(failed(FailureReason::ConnectRefused));
        }
        let (near, far) = duplex(64 * 1024);
        let task = tokio::spawn(self.clone().serve(far)).abort_handle();
        self.with(|state| state.open.push(task));
        Ok(Dialed { stream: near, phases: PhaseTimes::default(), peer: Peer::default(), deadline })
    }

    async fn leads_to(&self, _address: SocketAddr, _deadline: Instant) -> Option<bool> {
        None
    }
}

/// What the metrics say at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    failures: f64,
    unavailable: f64,
}

struct Run {
    seed: u64,
    rng: fastrand::Rng,
    target: Target,
    server: Server,
    running: Running,
    clock: Clock,
    tokens: watch::Sender<TokenState>,
    began: Instant,
}

impl Run {
    fn start(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        // From 10 µs to 600 ms, by magnitude: an opening takes three round trips, and must fit into its timeout.
        let trip = Duration::from_secs_f64(1e-5 * 60_000_f64.powf(rng.f64()));
        let interval = [100 * MS, SECOND, 10 * SECOND][rng.usize(..3)];
        let idle =
            [Duration::from_millis(rng.u64(2_500..20_000)), Duration::from_secs(1_000_000)][rng.usize(..2)];
        let server = Server(Arc::new(Mutex::new(ServerState {
            trip,
            fault: None,
            idle,
            value: String::new(),
            open: Vec::new(),
            dials: 0,
            presented: String::new(),
        })));
        let attempts = std::num::NonZeroU32::new(rng.u32(1..=3)).unwrap();
        let target = Target { interval, attempts, ..target() };
        let clock = clock();
        let (tokens, states) = watch::channel(token("0", &clock, 3600 * SECOND));
        let sign_in = SignIn::Tokens(Tokens::new(None, states, Arc::default()));
        let running = start_prober(server.clone(), target.clone(), sign_in, clock.clone());
        Self { seed, rng, target, server, running, clock, tokens, began: Instant::now() }
    }

    fn seen(&self) -> Seen {
        Seen { failures: self.running.all_failures(), unavailable: self.running.unavailable() }
    }

    fn trip(&self) -> Duration {
        self.server.with(|state| state.trip)
    }

    /// How long it may take until a fault that came or went is known: the next tick, what is under way, a pause, and
    /// an opening with a round.
    fn latency(&self) -> Duration {
        let Target { interval, connect_timeout, command_timeout, .. } = self.target;
        interval + connect_timeout + command_timeout + PAUSE + 12 * (self.trip() + TIMER)
    }

    /// Lets the cache be for a while, but for things that harm nobody.
    async fn calm(&mut self) {
        let before = self.seen();
        for part in 0..6 {
            let ticks = self.rng.u32(1..6);
            sleep((self.target.interval * ticks).clamp(SECOND, 6 * SECOND)).await;
            if self.rng.u8(..3) == 0 {
                let name = format!("{}", Instant::now().duration_since(self.began).as_millis());
                self.tokens.send_replace(token(&name, &self.clock, 3600 * SECOND));
                // An opening with the token before and a round may be under way.
                sleep(16 * (self.trip() + TIMER)).await;
                let presented = self.server.with(|state| state.presented.clone());
                assert_eq!(presented, name, "seed {}: the token is presented at once", self.seed);
            }
            let seen = self.seen();
            assert_eq!(seen, before, "seed {}: a failure out of nothing in part {part}", self.seed);
        }
        assert!(self.running.is_up(), "seed {}: down in calm", self.seed);
    }

    /// Takes the cache away, gives it back, and compares what was recorded with the truth.
    async fn storm(&mut self) {
        let fault = [Fault::Killed, Fault::Silent, Fault::Loading][self.rng.usize(..3)];
        let lasts = Duration::from_secs_f64(0.1 * 300_f64.powf(self.rng.f64()));
        let before = self.seen();
        self.server.begin(fault);
        sleep(lasts).await;
        self.server.with(|state| state.fault = None);
        let latency = self.latency();
        sleep(latency).await;
        let after = self.seen();
        let context = format!(
            "seed {}: {fault:?} for {lasts:?}, interval {:?}, {:?} a round trip: {before:?}, {after:?}",
            self.seed,
            self.target.interval,
            self.trip(),
        );
        assert!(self.running.is_up(), "{context}");
        let recorded = after.unavailable - before.unavailable;
        if lasts > latency {
            assert!(recorded > 0.0 && after.failures > before.failures, "missed, {context}");
        }
        assert!((recorded - lasts.as_secs_f64()).abs() < latency.as_secs_f64(), "{context}");
        // Every tick but those of this moment has its outcome.
        let due = self.began.elapsed().as_secs_f64() / self.target.interval.as_secs_f64();
        let waiting = due.floor() + 1.0 - self.running.probes();
        let most = (5 * self.trip()).as_secs_f64() / self.target.interval.as_secs_f64() + 2.0;
        assert!((0.0..=most).contains(&waiting), "{waiting} ticks wait, {context}");
        assert_eq!(self.running.value(r#"late_ticks_total{target="t"}"#), 0.0, "{context}");
    }

    async fn play(mut self) {
        sleep(5 * SECOND).await;
        for _ in 0..4 {
            self.calm().await;
            self.storm().await;
        }
        self.calm().await;
        let seconds = self.began.elapsed().as_secs_f64();
        let ticks = seconds / self.target.interval.as_secs_f64();
        let most = ticks * f64::from(self.target.attempts.get()) + seconds;
        let (day, unavailable) = (self.running.day(), self.running.unavailable());
        let difference = day.unavailable.as_secs_f64() - unavailable;
        assert!(
            difference.abs() < 0.1,
            "seed {}: the page says {day:?}, the metric {unavailable}",
            self.seed
        );
        let watched = day.watched.as_secs_f64() / seconds;
        assert!((0.95..=1.01).contains(&watched), "seed {}: {day:?} in {seconds} s", self.seed);
        let dials = self.server.with(|state| state.dials) as f64;
        assert!(dials < most, "seed {}: {dials} connections in {seconds} s", self.seed);
    }
}

#[test]
fn what_is_recorded_is_what_was_done_to_the_cache() {
    let play = |seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async { Run::start(seed).play().await });
    };
    seeds(RUNS).for_each(play);
}
