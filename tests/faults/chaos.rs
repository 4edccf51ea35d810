//! Compares the metrics with the true length of random outages, on fast and slow paths.
//!
//! The true length is measured where the outage is caused, as the least and the most that it may have been: what causes
//! and ends it takes time itself. What the load of the machine adds is measured in the same run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use cachepulse_standin::{Admission, Ending, HOST};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bench::TARGET;
use crate::gate::Gate;
use crate::lab::Lab;
use crate::load::Load;
use crate::program::{Running, cachepulse};
use crate::redis_server::RedisServer;
use crate::run::Run;
use crate::scrape::Scrape;

/// The longest outage.
const LONGEST: Duration = Duration::from_secs(30);
/// The lengths of a script that holds the server.
const SCRIPT: (f64, f64) = (0.5, 3.0);
/// The longest pause until a recovered cache is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// The round trips of a TLS connection and of a whole round on it.
const ROUND_TRIPS: u32 = 6;

/// How long the computing of a handshake and of a round may take, without waiting for a processor.
const COMPUTING: Duration = Duration::from_millis(500);
/// How long one command may take beside its round trip.
const COMMAND: Duration = Duration::from_millis(200);
/// How late a timeout may be before it says nothing about the cache.
const SPARE: Duration = Duration::from_secs(1);

/// The path from the agent to its cache, and how often the agent probes.
#[derive(Clone, Copy, Debug)]
struct Path {
    round_trip: Duration,
    interval: Duration,
    /// The server closes connections that are idle for so many seconds.
    idle_timeout: Option<u64>,
}

const fn path(round_trip: u64, interval: u64) -> Path {
    Path {
        round_trip: Duration::from_millis(round_trip),
        interval: Duration::from_millis(interval),
        idle_timeout: None,
    }
}

const PATHS: [Path; 8] = [
    path(0, 1_000),
    path(30, 100),
    path(30, 1_000),
    path(120, 100),
    path(120, 1_000),
    path(400, 100),
    path(400, 1_000),
    Path { idle_timeout: Some(1), ..path(0, 3_000) },
];

impl Path {
    /// The timeout of a connection, and of a command.
    fn timeout(self) -> Duration {
        Duration::from_secs(1) + 3 * self.round_trip
    }

    /// How long a connection and a whole round take.
    fn round(self) -> Duration {
        ROUND_TRIPS * self.round_trip + COMPUTING
    }

    /// The longest time from the start of an outage to its first sign: the start of the command that fails, or the loss.
    fn until_sign(self) -> Duration {
        self.interval + self.round_trip + COMMAND
    }

    /// The longest outage that need not fail a probe: no command timed out, or the connection was replaced within its
    /// grace, which is at most the timeout.
    fn unnoticed(self) -> Duration {
        self.until_sign() + self.timeout()
    }

    /// Configures the server. It keeps the configuration when it is restarted.
    fn configure(self, redis: &RedisServer) {
        let idle_timeout = self.idle_timeout.unwrap_or_default().to_string();
        redis.ask::<()>(&["CONFIG", "SET", "busy-reply-threshold", "10", "timeout", &idle_timeout]);
        redis.ask::<()>(&["CONFIG", "REWRITE"]);
    }

    /// Starts an agent on this path. The gate must outlive it.
    async fn agent(self, lab: &Lab) -> (Running, Gate) {
        let gate = Gate::slow(lab.azure.cache_port(), self.round_trip);
        let (port, ca_file) = (gate.port.to_string(), lab.ca_file());
        let [interval, timeout] = [self.interval, self.timeout()].map(|it| format!("{}ms", it.as_millis()));
        let program = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", TARGET])
            .args(["--host", HOST, "--port", &port, "--identity", "managed_identity"])
            .args(["--ca-file".as_ref(), ca_file.as_os_str()])
            .args(["--interval", &interval, "--connect-timeout", &timeout, "--command-timeout", &timeout]);
        (lab.app_service(program).serve().await, gate)
    }
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    Kill,
    Stop,
    Close,
    BlackHole,
    SignInRefused,
    Script,
}

const ALL_OUTAGES: [Outage; 6] =
    [Outage::Kill, Outage::Stop, Outage::Close, Outage::BlackHole, Outage::SignInRefused, Outage::Script];

impl Outage {
    /// Returns a length of up to `longest`. Its logarithm is uniform, so that short outages are as frequent as long ones.
    fn length(self, longest: Duration, random: &mut fastrand::Rng) -> Duration {
        let (least, most) = if let Self::Script = self { SCRIPT } else { (0.1, longest.as_secs_f64()) };
        Duration::from_secs_f64(least * (most / least).powf(random.f64()))
    }

    /// Runs the outage.
    async fn run(self, lab: &mut Lab, length: Duration, path: Path, load: &Load<'_>) -> Truth {
        let mut admin = lab.redis.admin().unwrap();
        let (from, before) = (Instant::now(), load.so_far());
        match self {
            Self::Kill => lab.redis.kill().await,
            Self::Stop => lab.redis.signal(Signal::STOP),
            Self::Close => {
                let cache = lab.azure.cache();
                cache.faults(|faults| faults.admission = Admission::HangUp(Ending::Close));
                cache.close_all(Ending::Close);
            }
            Self::BlackHole => lab.azure.cache().faults(|faults| faults.black_hole = true),
            Self::SignInRefused => lab.azure.cache().revoke(lab.azure.object_id()),
            Self::Script => {
                let mut holder = lab.redis.admin().unwrap();
                // It ends with an error when it is killed.
                tokio::task::spawn_blocking(move || {
                    redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut holder)
                });
            }
        }
        let begun = Instant::now();
        sleep(length.min(path.until_sign() + COMPUTING)).await;
        let of_sign = load.since(before);
        sleep_until(begun + length.min(path.unnoticed() + COMPUTING)).await;
        let delay = load.since(before);
        sleep_until(begun + length).await;
        let least = begun.elapsed();
        match self {
            Self::Kill => lab.redis.restart().await,
            Self::Stop => lab.redis.signal(Signal::CONT),
            Self::Close | Self::BlackHole => lab.azure.cache().heal(),
            Self::SignInRefused => lab.azure.cache().grant(lab.azure.object_id()),
            Self::Script => redis::cmd("SCRIPT").arg("KILL").exec(&mut admin).unwrap(),
        }
        Truth { least, most: from.elapsed(), of_sign, delay }
    }

    /// The longest time from the end of the outage until a round has succeeded. An attempt that was under way may still
    /// fail. A cache that rejects a user is asked less often.
    fn until_healthy(self, path: Path) -> Duration {
        let pause = if let Self::SignInRefused = self { PAUSE.max(path.interval) } else { path.interval };
        path.timeout().min(path.round()) + pause + path.round()
    }
}

/// An outage as it was caused.
struct Truth {
    least: Duration,
    most: Duration,
    /// What the load of the machine added until the first sign was due, and until it had to fail a probe.
    of_sign: Duration,
    delay: Duration,
}

/// An outage as the agent shows it.
struct Shown {
    before: Figures,
    after: Figures,
    /// How long it took until a probe succeeded.
    back: Duration,
    /// What the load of the machine added meanwhile.
    delay: Duration,
}

/// The metrics at one moment.
#[derive(Clone, Copy)]
struct Figures {
    probes: u64,
    failures: u64,
    disconnects: u64,
    /// How often CLIENT LIST was not answered. That fails no probe, so the outage begins with the loss of the connection.
    unanswered_lists: f64,
    unavailable: f64,
}

impl Figures {
    fn of(scrape: &Scrape) -> Self {
        Self {
            probes: scrape.count("probes_total", TARGET),
            failures: scrape.sum("probe_failures_total", TARGET),
            disconnects: scrape.sum("disconnects_total", TARGET),
            unanswered_lists: scrape
                .get(&format!(
                    "step_results_total{{result=\"failure\",step=\"client_list\",target=\"{TARGET}\"}}"
                ))
                .unwrap_or_default(),
            unavailable: scrape.value(&format!("unavailable_seconds_total{{target=\"{TARGET}\"}}")),
        }
    }
}

/// The report of a run, and its contradictions to the true outages.
struct Comparison {
    path: Path,
    text: String,
    contradictions: Vec<String>,
}

impl Comparison {
    fn contradicts(&mut self, what: &str) {
        self.contradictions.push(format!("{:?}: {what}", self.path));
    }

    fn outage(&mut self, outage: Outage, truth: &Truth, shown: &Shown) {
        let Shown { before, after, back, delay } = *shown;
        let failures = after.failures - before.failures;
        let lost = after.disconnects - before.disconnects;
        let recorded = Duration::from_secs_f64((after.unavailable - before.unavailable).max(0.0));
        let path = self.path;
        let may_be_late = failures == 0 || after.unanswered_lists > before.unanswered_lists;
        let until_sign =
            if may_be_late { path.unnoticed() + truth.delay } else { path.until_sign() + truth.of_sign };
        let least = truth.least.saturating_sub(until_sign);
        let until_healthy = outage.until_healthy(path) + delay;
        let most = truth.most + until_healthy;
        writeln!(
            self.text,
            "{:>14} {:>6.1} s  recorded {:>6.1} s ({:.1} to {:.1})  failed probes {failures:>3}  lost connections \
             {lost:>2}  healthy after {:.1} s ({:.1})  load {:.1} and {:.1} s",
            format!("{outage:?}"),
            truth.most.as_secs_f64(),
            recorded.as_secs_f64(),
            least.as_secs_f64(),
            most.as_secs_f64(),
            back.as_secs_f64(),
            until_healthy.as_secs_f64(),
            truth.delay.as_secs_f64(),
            delay.as_secs_f64(),
        )
        .unwrap();
        let Truth { least: lasted, .. } = truth;
        if failures == 0 && *lasted > path.unnoticed() + truth.delay {
            self.contradicts(&format!("{outage:?} of {lasted:?} was missed"));
        }
        if !(least..=most).contains(&recorded) {
            self.contradicts(&format!(
                "{outage:?} of {lasted:?} is recorded as {recorded:?}, not as {least:?} to {most:?}"
            ));
        }
        if back > until_healthy {
            self.contradicts(&format!("{outage:?}: healthy after {back:?}, not within {until_healthy:?}"));
        }
    }

    fn calm(&mut self, before: Figures, after: Figures, delay: Duration) {
        // A timeout may then be the machine's fault.
        if delay > SPARE {
            return;
        }
        if after.failures > before.failures {
            self.contradicts("a failure is recorded outside of any outage");
        }
        if self.path.idle_timeout.is_none() && after.disconnects > before.disconnects {
            self.contradicts("a lost connection is recorded outside of any outage");
        }
        if after.unavailable > before.unavailable {
            self.contradicts("unavailability is recorded outside of any outage");
        }
    }
}

async fn healthy(agent: &Running, probes: u64) -> Figures {
    let up = |it: &Scrape| it.is_up(TARGET) && it.count("probes_total", TARGET) > probes;
    Figures::of(&agent.until("it is up", up).await)
}

/// Causes outages of up to `longest` for `length`.
async fn compare(path: Path, seed: u64, length: Duration, longest: Duration) -> Comparison {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lab = Lab::start().await;
    path.configure(&lab.redis);
    let (agent, _proxy) = path.agent(&lab).await;
    let load = Load::on(&agent);
    let began = Instant::now();
    let mut comparison = Comparison { path, text: String::new(), contradictions: Vec::new() };
    let mut last = healthy(&agent, 0).await;
    while began.elapsed() < length {
        let mut kinds = ALL_OUTAGES;
        random.shuffle(&mut kinds);
        for outage in kinds {
            let planned = outage.length(longest, &mut random);
            let calm = load.so_far();
            sleep(Duration::from_millis(random.u64(1_500..3_500))).await;
            let before = Figures::of(&agent.scrape().await);
            comparison.calm(last, before, load.since(calm));

            let truth = outage.run(&mut lab, planned, path, &load).await;
            let (ended, delayed) = (Instant::now(), load.so_far());
            let probes = Figures::of(&agent.scrape().await).probes;
            last = healthy(&agent, probes).await;
            let (back, delay) = (ended.elapsed(), load.since(delayed));
            comparison.outage(outage, &truth, &Shown { before, after: last, back, delay });
            if began.elapsed() >= length {
                break;
            }
        }
    }
    if path.idle_timeout.is_some() && last.disconnects == 0 {
        comparison.contradicts("the server closed no idle connection");
    }
    comparison
}

/// The short form; `make chaos` runs longer.
// More threads than processors, because some steps of an outage block.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn the_metrics_match_the_true_outages_on_every_path() {
    let Run { seed, length } = Run::of("CHAOS");
    let longest = LONGEST.min(length / 3);
    let mut comparisons = JoinSet::new();
    for (path, seed) in PATHS.into_iter().zip(seed..) {
        comparisons.spawn(compare(path, seed, length, longest));
    }
    let mut contradictions = Vec::new();
    while let Some(comparison) = comparisons.join_next().await {
        let Comparison { path, text, contradictions: more } = comparison.unwrap();
        let Path { round_trip, interval, .. } = path;
        let report = format!("\nseed {seed}, round trip {round_trip:?}, interval {interval:?}\n{text}");
        std::io::stderr().write_all(report.as_bytes()).unwrap();
        contradictions.extend(more);
    }
    assert!(contradictions.is_empty(), "{}", contradictions.join("\n"));
}
