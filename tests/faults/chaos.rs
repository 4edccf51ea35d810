//! Compares the metrics with the true length of random outages.
//!
//! The true length is measured where the outage is caused: from just before its start until just after its end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use cachepulse_standin::{Admission, Ending};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::bench::TARGET;
use crate::lab::Lab;
use crate::program::Running;
use crate::row::LOAD;
use crate::run::Run;
use crate::scrape::Scrape;

const INTERVAL: Duration = Duration::from_secs(1);
/// The longest outage.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest timeout of the agent.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time until a recovered cache is up: 5 s, plus the duration of the probe.
const RECOVERY: Duration = Duration::from_secs(6);

/// The tolerance for a busy machine: less than in other tests, because this one checks durations.
const BUSY: Duration = LOAD.checked_div(3).unwrap();

const LIMITS: [&str; 8] = [
    "--interval",
    "1s",
    "--connect-timeout",
    "1s",
    "--command-timeout",
    "1s",
    "--identity",
    "managed_identity",
];

#[derive(Clone, Copy, Debug)]
enum Outage {
    Kill,
    Stop,
    Close,
    BlackHole,
    SignInRefused,
}

const ALL_OUTAGES: [Outage; 5] =
    [Outage::Kill, Outage::Stop, Outage::Close, Outage::BlackHole, Outage::SignInRefused];

impl Outage {
    async fn begin(self, lab: &mut Lab) {
        let cache = lab.azure.cache();
        match self {
            Self::Kill => lab.redis.kill().await,
            Self::Stop => lab.redis.signal(Signal::STOP),
            Self::Close => {
                cache.faults(|faults| faults.admission = Admission::HangUp(Ending::Close));
                cache.close_all(Ending::Close);
            }
            Self::BlackHole => cache.faults(|faults| faults.black_hole = true),
            Self::SignInRefused => cache.revoke(lab.azure.object_id()),
        }
    }

    async fn end(self, lab: &mut Lab) {
        match self {
            Self::Kill => lab.redis.restart().await,
            Self::Stop => lab.redis.signal(Signal::CONT),
            Self::Close | Self::BlackHole => lab.azure.cache().heal(),
            Self::SignInRefused => lab.azure.cache().grant(lab.azure.object_id()),
        }
    }
}

/// The metrics at one moment.
#[derive(Clone, Copy)]
struct Figures {
    probes: u64,
    failures: u64,
    disconnects: u64,
    unavailable: f64,
}

impl Figures {
    fn of(scrape: &Scrape) -> Self {
        Self {
            probes: scrape.count("probes_total", TARGET),
            failures: scrape.sum("probe_failures_total", TARGET),
            disconnects: scrape.sum("disconnects_total", TARGET),
            unavailable: scrape.value(&format!("unavailable_seconds_total{{target=\"{TARGET}\"}}")),
        }
    }
}

/// The report of a run, and its contradictions to the true outages.
#[derive(Default)]
struct Comparison {
    text: String,
    contradictions: Vec<String>,
}

impl Comparison {
    fn outage(&mut self, outage: Outage, truth: Duration, before: Figures, after: Figures, back: Duration) {
        let failures = after.failures - before.failures;
        let lost = after.disconnects - before.disconnects;
        let recorded = after.unavailable - before.unavailable;
        writeln!(
            self.text,
            "{:>14} {:>6.1} s  recorded {recorded:>6.1} s  failed probes {failures:>3}  lost connections {lost:>2}  \
             healthy after {:.1} s",
            format!("{outage:?}"),
            truth.as_secs_f64(),
            back.as_secs_f64(),
        )
        .unwrap();
        if truth > INTERVAL + TIMEOUT + BUSY && failures == 0 {
            self.contradictions.push(format!("{outage:?} of {truth:?} was missed"));
        }
        let off = (recorded - truth.as_secs_f64()).abs();
        if off > (INTERVAL + BUSY).as_secs_f64() {
            self.contradictions.push(format!("{outage:?} of {truth:?} is recorded as {recorded:.1} s"));
        }
        if back > RECOVERY + LOAD {
            self.contradictions.push(format!("{outage:?}: healthy after {back:?} only"));
        }
    }

    fn calm(&mut self, before: Figures, after: Figures) {
        if after.failures > before.failures || after.disconnects > before.disconnects {
            self.contradictions.push("a failure is recorded outside of any outage".to_owned());
        }
        if after.unavailable > before.unavailable {
            self.contradictions.push("unavailability is recorded outside of any outage".to_owned());
        }
    }
}

async fn healthy(agent: &Running, probes: u64) -> Figures {
    let up = |it: &Scrape| it.is_up(TARGET) && it.count("probes_total", TARGET) > probes;
    Figures::of(&agent.until("it is up", up).await)
}

/// Causes outages of up to `longest` for `length`.
async fn compare(seed: u64, length: Duration, longest: Duration) -> Comparison {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lab = Lab::start().await;
    let agent = lab.run(LIMITS).serve().await;
    let began = Instant::now();
    let mut comparison = Comparison::default();
    let mut last = healthy(&agent, 0).await;
    while began.elapsed() < length {
        let mut kinds = ALL_OUTAGES;
        random.shuffle(&mut kinds);
        for outage in kinds {
            // The logarithm of the length is uniform, so that short outages are as frequent as long ones.
            let magnitudes = (longest.as_secs_f64() / 0.1).log10();
            let planned = Duration::from_secs_f64(0.1 * 10_f64.powf(magnitudes * random.f64()));
            sleep(Duration::from_millis(random.u64(1_500..3_500))).await;
            let before = Figures::of(&agent.scrape().await);
            comparison.calm(last, before);

            let from = Instant::now();
            outage.begin(&mut lab).await;
            sleep(planned).await;
            outage.end(&mut lab).await;
            let truth = from.elapsed();
            let ended = Instant::now();
            let probes = Figures::of(&agent.scrape().await).probes;
            last = healthy(&agent, probes).await;
            comparison.outage(outage, truth, before, last, ended.elapsed());
            if began.elapsed() >= length {
                break;
            }
        }
    }
    comparison
}

async fn assert_true(seed: u64, length: Duration, longest: Duration) {
    let comparison = compare(seed, length, longest).await;
    let text = format!("\nseed {seed}\n{}", comparison.text);
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    assert!(comparison.contradictions.is_empty(), "{text}{}", comparison.contradictions.join("\n"));
}

/// The short form; `make chaos` runs longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_match_the_true_outages() {
    let Run { seed, length } = Run::of("CHAOS");
    assert_true(seed, length, LONGEST.min(length / 3)).await;
}
