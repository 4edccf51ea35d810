//! An agent's services and a prober on a cache in memory, reproducible to the instruction: seeded randomness, and time that
//! the caller pauses.

#[path = "cache.rs"]
mod cache;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cachepulse::clock::Clock;
use cachepulse::connection::dialer::Dial;
use cachepulse::identity::Identity;
use cachepulse::identity::sign_in::SignIn;
use cachepulse::metrics::Metrics;
use cachepulse::prober::{Prober, Setup, TargetMemory};
use cachepulse::status::Status;
use cachepulse::target::{Endpoint, Target, TargetName, Tls};
use tokio::time::Instant;

pub(crate) use cache::{Behaviour, Cache};

/// Between probes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// The last command of a probe, as it is sent.
pub(crate) const LAST_COMMAND: &str = "CLIENT\r\n$4\r\nLIST";

/// The services of an agent.
pub(crate) struct Lab {
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
    pub(crate) clock: Clock,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let clock = Clock::from_tokio(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Self { metrics: Metrics::new(clock.clone()), status: Status::new(clock.clone()), clock }
    }

    /// Runs `count` probes.
    pub(crate) async fn probe(&self, name: &str, count: u64) {
        let cache = Cache::until(LAST_COMMAND, count);
        self.run(name, &cache, INTERVAL, SignIn::None).await;
    }

    /// Probes until `cache` is done.
    pub(crate) async fn run(&self, name: &str, cache: &Cache, interval: Duration, sign_in: SignIn) {
        let prober = self.prober(name, cache, interval, sign_in);
        tokio::select! {
            never = prober.run(Instant::now()) => match never {},
            () = cache.done() => {}
        }
    }

    /// Creates a prober of the cache that `dialer` leads to.
    pub(crate) fn prober<D: Dial>(
        &self,
        name: &str,
        dialer: &D,
        interval: Duration,
        sign_in: SignIn,
    ) -> Prober<D> {
        let target = Arc::new(target(name, interval));
        Prober::new(Setup {
            dialer: dialer.clone(),
            sign_in,
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(1),
            metrics: self.metrics.target(&target.name),
            status: self.status.target(&target),
            instance: "bench".into(),
            offset: Duration::ZERO,
            started: Instant::now(),
            memory: TargetMemory::default(),
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
