//! Made-up targets with a past, served by the agent's own endpoint.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cachepulse::clock::Clock;
use cachepulse::guard::Guard;
use cachepulse::http::{self, Heartbeats, Lifecycle, Liveness, Pages, Route, Server};
use cachepulse::identity::Token;
use cachepulse::metrics::Metrics;
use cachepulse::probe::{
    Failure, FailureReason, Mode, Outcome, Phase, PhaseTimes, Role, ServerInfo, Stage, Step, StepResult,
    StepResults,
};
use cachepulse::secret::Secret;
use cachepulse::status::{
    ClusterNode, ConnectionInfo, ConnectionState, IdentityStatus, Status, TargetStatus, Watch,
};
use cachepulse::target::{Endpoint, Target, TargetName};
use cachepulse::topology::{Slot, SlotSet};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

const INTERVAL: Duration = Duration::from_secs(10);

/// Texts that would be executed, or break the layout, if they were not escaped. Each fits a name.
const HOSTILE: &[&str] = &[
    "<script>window.executed = true</script>",
    "<img src=x onerror=window.executed=true>",
    "\"><svg onload=window.executed=true>",
    "' autofocus onfocus=window.executed=true x='",
    "</title></style></dl></ul><h1>taken over</h1>",
    "<!-- <a href=javascript:window.executed=true>",
    "javascript:window.executed=true",
    "&lt;script&gt; &amp; &#x3c;script&#x3e;",
    "../../metrics?q=1#fragment",
    "%3Cscript%3Ewindow.executed=true%3C/script%3E",
    "עברית العربية \u{202e}desrever",
    "🦀\u{200d}🔥 e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "{{ 7 * 7 }} ${7 * 7} @if",
];

/// The endpoint, and the targets that it shows.
pub(crate) struct Gallery {
    status: Status,
    wall: Arc<Mutex<SystemTime>>,
    random: fastrand::Rng,
    server: Server,
    targets: Vec<Exhibit>,
    _identity: IdentityStatus,
    _heartbeats: Heartbeats,
}

/// A target, and what happens to it.
struct Exhibit {
    status: TargetStatus,
    /// How long PING takes, about.
    ping: Duration,
    /// What it has been failing with, from when to when, counted from the end in seconds.
    outages: Vec<(u64, u64, Failure)>,
}

impl Gallery {
    fn new() -> Self {
        // 2026-11-27 10:00:00 UTC
        let wall = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_773_600)));
        let read = Arc::clone(&wall);
        let clock = Clock::new(move || *read.lock().unwrap());
        let (status, (liveness, heartbeats)) = (Status::new(clock.clone()), Liveness::new());
        // The label of the default identity.
        let identity = status.identity("auto");
        let expiry = *wall.lock().unwrap() + Duration::from_secs(86_400);
        identity.token(Duration::ZERO, &Token::new(Secret::new(String::new()), expiry));
        let (routes, guard, (lifecycle, _)) = (&Route::ALL, Guard::none(), Lifecycle::new());
        let metrics = Metrics::new(clock);
        let pages = Pages { metrics, status: status.clone(), liveness, lifecycle, routes, guard };
        let listener = http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let server = http::spawn(listener, pages).unwrap();
        let random = fastrand::Rng::with_seed(1);
        Self {
            status,
            wall,
            random,
            server,
            targets: Vec::new(),
            _identity: identity,
            _heartbeats: heartbeats,
        }
    }

    /// Targets whose names, servers and failures are hostile, and enough others for a second page.
    pub(crate) async fn hostile() -> Self {
        let mut gallery = Self::new();
        let long = "x".repeat(TargetName::MAX_LENGTH);
        for (number, text) in HOSTILE.iter().copied().chain([&*long]).enumerate() {
            let target = gallery.target(text, &format!("{}.example", "h".repeat(200)), 1);
            let mut failure =
                Failure::new(FailureReason::ServerError, Stage::Step(Step::Set), format!("{text} {text}"));
            failure.slots = Some(Arc::new(SlotSet::all()));
            let probed = if number % 2 == 0 { Ok(()) } else { Err(failure.clone()) };
            target.status.new_connection(probed, 3, phases(), SystemTime::UNIX_EPOCH);
            target.status.server(&ServerInfo::new(text, text, Some(Mode::Cluster), Some(Role::Primary)));
            let all: Vec<_> = (0..200).map(|number| node(number, text)).collect();
            target.status.topology(SlotSet::all(), all, 3, SystemTime::UNIX_EPOCH);
            target.status.node(0, None, Watch::Down, SystemTime::UNIX_EPOCH);
            target.status.node_failed(0, None, &failure, SystemTime::UNIX_EPOCH);
            target.status.topology_failed(&failure, SystemTime::UNIX_EPOCH);
            if number % 3 < 2 {
                target.outages.push((400, if number % 3 == 0 { 0 } else { 100 }, failure));
            }
        }
        for number in 0..100 {
            gallery.target(&format!("orders-{number}"), "orders.example", number + 1);
        }
        gallery.status.config_rejected(Some(&HOSTILE.join("\n")));
        gallery.pass(Duration::from_secs(600)).await;
        gallery
    }

    /// A few targets as people have them.
    pub(crate) async fn everyday() -> Self {
        let mut gallery = Self::new();
        let azure = |name: &str| format!("{name}.redis.cache.windows.net");
        for (place, name) in
            ["baskets", "orders", "rate-limits", "search", "sessions"].into_iter().enumerate()
        {
            let target = gallery.target(name, &azure(name), 1 + place as u64);
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_773_600 + 70_000);
            target.status.new_connection(Ok(()), 0, phases(), at);
        }
        let lost = Failure::new(FailureReason::Closed, Stage::Idle, "the server closed the connection");
        let refused = "WRONGPASS invalid username-password pair or user is disabled.";
        let refused = Failure::new(FailureReason::AuthRejected, Stage::Phase(Phase::Auth), refused);
        gallery.targets[1].outages.push((20_000, 19_940, lost.clone()));
        gallery.targets[3].outages.push((300, 250, refused));
        gallery.targets[4].outages.extend([(40_000, 39_900, lost), (130, 0, timed_out())]);
        let shards = [0..5_461, 5_461..10_923, 10_923..16_384].map(|slots| ClusterNode {
            slots: slots.filter_map(Slot::new).collect(),
            replica: None,
            is_absent: false,
            address: None,
        });
        let cluster = &gallery.targets[0].status;
        cluster.server(&ServerInfo::new("redis", "7.4.0", Some(Mode::Cluster), Some(Role::Primary)));
        cluster.topology(SlotSet::all(), shards.into(), 0, SystemTime::UNIX_EPOCH);
        for lowest in [0, 5_461, 10_923] {
            cluster.node(lowest, None, Watch::Up, SystemTime::UNIX_EPOCH);
        }
        gallery.pass(Duration::from_secs(70_000)).await;
        let failing = &gallery.targets[4].status;
        failing.connection(ConnectionState::Connecting);
        failing.connection_info(None);
        failing.new_connection(Err(timed_out()), 2, resolved(), *gallery.wall.lock().unwrap());
        gallery
    }

    fn target(&mut self, name: &str, host: &str, ping: u64) -> &mut Exhibit {
        let endpoint = Endpoint { host: host.into(), port: 6380 };
        let target = Target {
            interval: INTERVAL,
            ..Target::with_defaults(TargetName::new(name.trim()).unwrap(), endpoint)
        };
        let status = self.status.target(&target);
        status.connection_info(Some(&ConnectionInfo {
            address: Some(SocketAddr::from(([10, 0, 0, 4], 6380))),
            tls_version: Some("1.3"),
            username: Some(name.into()),
        }));
        status.certificate_expiry(*self.wall.lock().unwrap() + Duration::from_secs(40 * 86_400));
        status.connection(ConnectionState::Connected);
        status.server(&ServerInfo::new("redis", "7.2.4", Some(Mode::Standalone), Some(Role::Primary)));
        let ping = Duration::from_micros(300 * ping);
        self.targets.push(Exhibit { status, ping, outages: Vec::new() });
        self.targets.last_mut().unwrap()
    }

    /// Lets every target be probed for so long.
    async fn pass(&mut self, time: Duration) {
        self.status.started();
        let mut left = time;
        while let Some(rest) = left.checked_sub(INTERVAL) {
            left = rest;
            tokio::time::advance(INTERVAL).await;
            let at = {
                let mut wall = self.wall.lock().unwrap();
                *wall += INTERVAL;
                *wall
            };
            for target in &self.targets {
                target.probe(left, at, &mut self.random);
            }
        }
    }

    /// Returns the path of the page of a target.
    pub(crate) fn path(&self, place: usize) -> String {
        let overview = self.status.overview();
        let encoded = percent_encode(overview.targets[place].name().as_bytes(), NON_ALPHANUMERIC);
        format!("/targets/{encoded}?refresh=off")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }
}

impl Exhibit {
    /// Probes the target, so long before the end.
    fn probe(&self, left: Duration, at: SystemTime, random: &mut fastrand::Rng) {
        let is_away = |(from, until, _): &&(u64, u64, Failure)| (*until..*from).contains(&left.as_secs());
        let failure = self.outages.iter().find(is_away).map(|(_, _, failure)| failure.clone());
        let tail = 1.0 / (1.0 - random.f64()).powf(0.4);
        let outcome = outcome(failure, self.ping.mul_f64(tail));
        if outcome.result.is_err() {
            let now = tokio::time::Instant::now();
            self.status.unavailable(now - INTERVAL, now, at);
        }
        self.status.record(&outcome, 1, Duration::ZERO, outcome.result.is_ok(), at);
    }
}

fn outcome(failure: Option<Failure>, ping: Duration) -> Outcome {
    let mut steps = StepResults::default();
    let result = failure.map_or(Ok(()), Err);
    if result.is_ok() {
        for (step, share) in Step::ALL.into_iter().zip([1.0, 1.1, 1.05, 2.0]) {
            steps.set(step, StepResult::Success, ping.mul_f64(share));
        }
    }
    let (phases, duration) = match &result {
        Ok(()) => (PhaseTimes::default(), steps.iter().map(|(_, _, took)| took).sum()),
        Err(_) => (resolved(), Duration::from_secs(2)),
    };
    Outcome { result, attempts: 1, duration, phases, steps, clients: None }
}

/// The phases of a connection that was not accepted.
fn resolved() -> PhaseTimes {
    let mut phases = PhaseTimes::default();
    phases.set(Phase::Resolve, Duration::from_micros(30));
    phases
}

fn phases() -> PhaseTimes {
    let mut phases = PhaseTimes::default();
    for (phase, microseconds) in Phase::ALL.into_iter().zip([30, 1_200, 900, 4_000, 700]) {
        phases.set(phase, Duration::from_micros(microseconds));
    }
    phases
}

fn timed_out() -> Failure {
    Failure::new(FailureReason::ConnectTimeout, Stage::Phase(Phase::Connect), "10.0.0.4:6380: timed out")
}

/// Returns one of 200 nodes of a cluster.
fn node(number: u16, text: &str) -> ClusterNode {
    let slots = (number * 80..number * 80 + 80).filter_map(Slot::new).collect();
    ClusterNode {
        slots,
        replica: None,
        is_absent: false,
        address: Some(Endpoint { host: text.into(), port: 8500 }),
    }
}
