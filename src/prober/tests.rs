//! A prober on paused time, against a cache that lives in memory and misbehaves on request.

#![allow(clippy::float_cmp, reason = "counters hold whole numbers")]

mod asking;
mod cache;
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
mod slots;
mod steps;
mod ticks;
mod token_life;
mod tokens;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};

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
use cache::{Cache, HANG_UP, HELLO, READONLY, commands};
use tokens::token;

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
        if line.is_none()
            && ["reason=", "result=", "step=", "phase=", "event="].iter().any(|it| series.contains(it))
        {
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
        overview.details(&overview.targets[0]).history.day
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
        memory: TargetMemory::default(),
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
