//! A prober in the test process, with the test's resolver, its metrics and its log.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachepulse::clock::Clock;
use cachepulse::connection::dialer::Dialer;
use cachepulse::files::Files;
use cachepulse::identity::Identity;
use cachepulse::identity::sign_in::SignIn;
use cachepulse::metrics::{Format, Metrics};
use cachepulse::prober::{Prober, Setup, TargetMemory};
use cachepulse::secret::{SecretSource, WatchedSecret};
use cachepulse::status::Status;
use cachepulse::target::{Endpoint, Target, TargetName, Tls};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use crate::bench::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, INTERVAL, TARGET, USER};
use crate::names::Names;
use crate::scrape::Scrape;

/// A running prober. It stops when dropped.
pub(crate) struct Probing {
    metrics: Metrics,
    log: Log,
    task: JoinHandle<Infallible>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Probing {
    /// Starts to probe a name that `names` resolves, with `password`.
    pub(crate) fn start(names: &Names, port: u16, password: SecretSource) -> Self {
        let endpoint = Endpoint { host: "cache.test".into(), port };
        let target = Arc::new(Target {
            tls: Tls::Off,
            identity: Arc::new(Identity::Password(password.clone())),
            username: Some(USER.into()),
            interval: INTERVAL,
            connect_timeout: CONNECT_TIMEOUT,
            command_timeout: COMMAND_TIMEOUT,
            attempts: 1.try_into().unwrap(),
            dns_refresh: Some(Duration::from_secs(1)),
            ..Target::with_defaults(TargetName::new(TARGET).unwrap(), endpoint.clone())
        });
        let metrics = Metrics::new(Clock::system());
        let prober = Prober::new(Setup {
            dialer: Dialer::new(endpoint, None, names.resolver()),
            sign_in: SignIn::Secret {
                username: Some(USER.into()),
                secret: WatchedSecret::new(password, &Files::system()),
            },
            clock: Clock::system(),
            rng: fastrand::Rng::new(),
            metrics: metrics.target(&target.name),
            status: Status::new(Clock::system()).target(&target),
            instance: "faults".into(),
            offset: Duration::ZERO,
            started: Instant::now(),
            memory: TargetMemory::default(),
            target,
        });
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let task = tokio::spawn(prober.run(Instant::now()).with_subscriber(lines.finish()));
        Self { metrics, log, task }
    }

    pub(crate) fn scrape(&self) -> Scrape {
        assert!(!self.task.is_finished(), "the prober has ended");
        Scrape::new(std::io::read_to_string(self.metrics.exposition(Format::Text)).unwrap())
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
