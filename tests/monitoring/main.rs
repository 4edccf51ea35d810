//! What real Prometheus reads from the agent's endpoint while many threads record: `make monitoring-test`. Needs python3 and
//! the Prometheus of `tests/monitoring/tools`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cachepulse::clock::Clock;
use cachepulse::guard::Guard;
use cachepulse::http::{self, Lifecycle, Liveness, Pages, Route};
use cachepulse::metrics::{Metrics, TargetMetrics};
use cachepulse::probe::{Step, StepResult, StepResults};
use cachepulse::status::Status;
use cachepulse::target::TargetName;

const THREADS: u64 = 8;

#[test]
fn no_scrape_fails_while_eight_threads_record_and_native_quantiles_are_within_5_percent() {
    let metrics = Metrics::new(Clock::system());
    let target = metrics.target(&TargetName::new("orders").unwrap());
    let ((liveness, _heartbeats), (lifecycle, _reloads)) = (Liveness::new(), Lifecycle::new());
    let (status, routes, guard) = (Status::new(Clock::system()), &Route::ALL, Guard::none());
    let pages = Pages { metrics, status, liveness, lifecycle, routes, guard };
    let listener = http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let server = http::spawn(listener, pages).unwrap();

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/monitoring/recording.py");
    let mut prometheus = Command::new("python3")
        .args(["-B", script, &server.local_addr().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(prometheus.stdout.take().unwrap()).lines();
    let is_over = AtomicBool::new(false);
    let mut durations = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (target, is_over) = (&target, &is_over);
                scope.spawn(move || record(target, fastrand::Rng::with_seed(seed), is_over))
            })
            .collect();
        let scraped = output.next();
        is_over.store(true, Relaxed);
        assert_eq!(scraped.map(Result::unwrap).as_deref(), Some("scraped"));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });

    durations.sort_unstable();
    let quantile = |percent: usize| durations[durations.len() * percent / 100].as_secs_f64();
    let recorded = serde_json::json!({
        "count": durations.len(),
        "quantiles": {"0.5": quantile(50), "0.9": quantile(90), "0.99": quantile(99)},
    });
    writeln!(prometheus.stdin.take().unwrap(), "{recorded}").unwrap();
    output.for_each(|line| println!("{}", line.unwrap()));
    assert!(prometheus.wait().unwrap().success());
}

/// Records durations until it is over, and returns them. Pauses leave the machine to those who scrape.
#[expect(clippy::disallowed_methods, reason = "it is a thread that records, and not a task")]
fn record(target: &TargetMetrics, mut random: fastrand::Rng, is_over: &AtomicBool) -> Vec<Duration> {
    let mut durations = Vec::new();
    while !is_over.load(Relaxed) {
        for _ in 0..100 {
            // Round trips from 0.2 ms on, with a long tail.
            let took = Duration::from_secs_f64(2e-4 / (1.0 - random.f64()).powf(0.7));
            let mut steps = StepResults::default();
            steps.set(Step::Ping, StepResult::Success, took);
            target.steps(&steps);
            durations.push(took);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    durations
}
