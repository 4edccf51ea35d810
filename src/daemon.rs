//! The daemon: runs the agent and its HTTP endpoint, and handles signals and changes of the configuration file.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::agent::{Agent, ReconcileError, Services, TaskEnded};
use crate::clock::{Clock, seconds};
use crate::config::Config;
use crate::config::watch::Watch;
use crate::connection::resolver::Resolver;
use crate::connection::tls::roots::Roots;
use crate::descriptors;
use crate::error::Chain;
use crate::files::Files;
use crate::http::{self, Listener, Liveness, Pages};
use crate::identity::entra::EntraTokens;
use crate::identity::platform::Platform;
use crate::identity::transport::Transport;
use crate::metrics::{Metrics, Part};
use crate::signal::{Signal, Signals};
use crate::status::Status;
use crate::telemetry::Telemetry;

/// The daemon before its start.
pub struct Daemon {
    /// The configuration.
    pub config: Config,
    /// The configuration file. It is reloaded when it changes, and on SIGHUP.
    pub watch: Option<Watch>,
    /// The endpoint's bound socket: a daemon that cannot serve does not start to probe.
    pub listener: Listener,
    /// The services of the agent.
    pub services: Services,
    /// The log. A reload can change its level.
    pub telemetry: Telemetry,
}

/// Returns the services of a real agent: the system clock, tokens from Entra, and the host name as the
/// instance. TLS trusts `roots`, and `files` were read for the configuration.
#[must_use]
pub fn services(roots: Roots, files: Files) -> Services {
    let clock = Clock::system();
    let resolver = Resolver::system(files.clone());
    let transport = Arc::new(Transport::new(&roots, resolver.clone()));
    let platform = Platform::system(transport, files.clone());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Services {
        metrics: Metrics::new(),
        status: Status::new(clock.clone()),
        clock,
        files,
        resolver,
        roots,
        token_source: Box::new(move |identity| {
            Box::new(EntraTokens::new(identity.clone(), platform.clone()))
        }),
        instance: host.into(),
    }
}

impl Daemon {
    /// Runs until a signal requests a shutdown, which completes within the grace period.
    ///
    /// # Errors
    /// [`DaemonError`] if the daemon could not start, or a part of it ended unexpectedly.
    pub async fn run(self) -> Result<(), DaemonError> {
        let Self { mut config, mut watch, listener, services, telemetry } = self;
        descriptors::raise_limit();
        let mut signals = Signals::new().map_err(DaemonError::Signals)?;
        let (metrics, status, clock) =
            (services.metrics.clone(), services.status.clone(), services.clock.clone());
        metrics.count_tasks(Part::Probing, &tokio::runtime::Handle::current());
        let (liveness, mut heartbeats) = Liveness::new();
        let pages = Pages { metrics: metrics.clone(), status: status.clone(), liveness };
        let mut agent = Agent::new(services);
        agent.reconcile(&config.targets).await.map_err(DaemonError::Start)?;
        metrics.config_loaded(clock.now());
        let reload = Reload { metrics, clock, telemetry };
        let mut server = http::spawn(listener, pages).map_err(DaemonError::Thread)?;
        info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %server.local_addr(),
            targets = config.targets.len(),
            "agent started"
        );
        log_warnings(&config);
        let end = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Terminate | Signal::Interrupt => break Ok(signal.as_str()),
                    Signal::Reload => {
                        if let Some(watch) = &mut watch {
                            watch.reload();
                        } else {
                            warn!("SIGHUP ignored; there is no configuration file");
                        }
                    }
                },
                loaded = next(&mut watch) => {
                    let is_accepted = reload.apply(&mut agent, &mut config, loaded).await;
                    if let (true, Some(watch)) = (is_accepted, &mut watch) {
                        watch.accepted();
                    }
                }
                () = heartbeats.respond() => {}
                ended = agent.task_ended() => break Err(DaemonError::Task(ended)),
                () = server.failed() => break Err(DaemonError::Server),
            }
        };
        let begun = Instant::now();
        let grace_period_seconds = seconds(config.shutdown_grace_period);
        info!(signal = end.as_ref().ok(), grace_period_seconds, "shutdown started");
        status.drain();
        agent.stop().await;
        server.shutdown(config.shutdown_grace_period).await;
        info!(duration_seconds = seconds(begun.elapsed()), "shutdown completed");
        end.map(drop)
    }
}

/// Logs what may be wrong with a configuration, here or on this machine.
fn log_warnings(config: &Config) {
    descriptors::warn_if_too_few(config.targets.len());
    for warning in &config.warnings {
        warn!(%warning, "configuration warning");
    }
}

async fn next(watch: &mut Option<Watch>) -> Loaded {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

type Loaded = Result<Config, crate::config::LoadError>;

/// Applies reloaded configurations.
struct Reload {
    metrics: Metrics,
    clock: Clock,
    telemetry: Telemetry,
}

impl Reload {
    /// Applies a reloaded configuration. An invalid one changes nothing and shows in the metrics. Returns whether it is in
    /// use.
    async fn apply(&self, agent: &mut Agent, config: &mut Config, loaded: Loaded) -> bool {
        let reloaded = match loaded {
            Ok(reloaded) => reloaded,
            Err(error) => return self.reject(&error),
        };
        // Somebody may have raised the hard limit.
        descriptors::raise_limit();
        if let Err(error) = agent.reconcile(&reloaded.targets).await {
            return self.reject(&error);
        }
        self.metrics.config_loaded(self.clock.now());
        self.telemetry.set_configured_level(reloaded.log.level);
        if reloaded.http != config.http || reloaded.log.format != config.log.format {
            warn!("http.listen or log.format changed; restart to apply");
        }
        info!(targets = reloaded.targets.len(), "configuration reloaded");
        log_warnings(&reloaded);
        *config = reloaded;
        true
    }

    fn reject(&self, error: &dyn std::error::Error) -> bool {
        self.metrics.config_rejected();
        error!(error = %Chain(error), "configuration rejected; keeping the previous one");
        false
    }
}

/// The daemon could not start, or a part of it ended unexpectedly.
#[derive(Debug)]
pub enum DaemonError {
    /// The targets cannot be started.
    Start(ReconcileError),
    /// The signal handlers cannot be installed.
    Signals(std::io::Error),
    /// The HTTP endpoint's thread cannot be started.
    Thread(std::io::Error),
    /// A prober or a refresh loop ended.
    Task(TaskEnded),
    /// The HTTP endpoint ended.
    Server,
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start(_) => "the agent cannot start",
            Self::Signals(_) => "signals cannot be received",
            Self::Thread(_) => "the thread of the HTTP endpoint cannot be started",
            Self::Task(_) => "the agent ends because a part of it failed; please report this",
            Self::Server => "the agent ends because its HTTP endpoint failed; please report this",
        })
    }
}

impl std::error::Error for DaemonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Signals(error) | Self::Thread(error) => Some(error),
            Self::Task(error) => Some(error),
            Self::Server => None,
        }
    }
}
