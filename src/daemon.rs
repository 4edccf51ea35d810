//! The daemon: the agent behind its HTTP endpoint, steered by signals and by its configuration file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::agent::{Agent, Environment, ReconcileError, TaskEnded};
use crate::clock::{Clock, seconds};
use crate::config::Config;
use crate::config::watch::Watch;
use crate::connection::tls::Roots;
use crate::error::Chain;
use crate::http::{self, Listener, Liveness, Pages};
use crate::identity::azure::AzureTokens;
use crate::identity::transport::{Carry, Transport};
use crate::metrics::{Metrics, Part};
use crate::signal::{Signal, Signals};
use crate::status::Status;
use crate::telemetry::Telemetry;

/// What a daemon is started with.
pub struct Daemon {
    /// What the operator decided.
    pub config: Config,
    /// The file it came from, which is watched and read again on SIGHUP.
    pub file: Option<PathBuf>,
    /// The endpoint's socket, bound already: a daemon that cannot serve does not start probing.
    pub listener: Listener,
    /// What the agent works with.
    pub environment: Environment,
    /// The log, whose level a reload may change.
    pub telemetry: Telemetry,
}

/// What the agent works with outside of tests: the machine's clock, Entra by `azure_identity`, and a name for this
/// process that no other of this machine has for long. TLS trusts `roots`.
#[must_use]
pub fn environment(roots: Roots) -> Environment {
    let clock = Clock::system();
    let transport: Arc<dyn Carry> = Arc::new(Transport::new(&roots));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Environment {
        metrics: Metrics::new(),
        status: Status::new(clock.clone()),
        clock,
        roots,
        token_source: Box::new(move |identity| {
            Box::new(AzureTokens::new(identity.clone(), Arc::clone(&transport)))
        }),
        instance: host.into(),
    }
}

impl Daemon {
    /// Runs until a signal asks for the end, and ends within the grace period.
    ///
    /// # Errors
    /// [`DaemonError`]: it could not start, or a part of it ended unasked.
    pub async fn run(self) -> Result<(), DaemonError> {
        let Self { mut config, file, listener, environment, telemetry } = self;
        let mut signals = Signals::new().map_err(DaemonError::Signals)?;
        let (metrics, status, clock) =
            (environment.metrics.clone(), environment.status.clone(), environment.clock.clone());
        metrics.count_tasks(Part::Probing, &tokio::runtime::Handle::current());
        let (liveness, mut heartbeats) = Liveness::new();
        let pages = Pages { metrics: metrics.clone(), status: status.clone(), liveness };
        let mut agent = Agent::new(environment);
        agent.reconcile(&config.targets).await.map_err(DaemonError::Start)?;
        metrics.config_loaded(clock.now());
        let reload = Reload { metrics, clock, telemetry };
        let mut watch = file.map(Watch::new);
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
                    Signal::Shutdown => break Ok(()),
                    Signal::Reload => {
                        if let Some(watch) = &mut watch {
                            reload.apply(&mut agent, &mut config, watch.load()).await;
                        } else {
                            warn!("SIGHUP ignored; there is no configuration file");
                        }
                    }
                },
                loaded = changed(&mut watch) => reload.apply(&mut agent, &mut config, loaded).await,
                () = heartbeats.answer() => {}
                ended = agent.task_ended() => break Err(DaemonError::Task(ended)),
                () = server.failed() => break Err(DaemonError::Server),
            }
        };
        let begun = Instant::now();
        info!(grace_period_seconds = seconds(config.shutdown_grace_period), "shutdown started");
        status.drain();
        agent.stop().await;
        server.shutdown(config.shutdown_grace_period).await;
        info!(duration_seconds = seconds(begun.elapsed()), "shutdown completed");
        end
    }
}

fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        warn!(%warning, "configuration warning");
    }
}

async fn changed(watch: &mut Option<Watch>) -> Loaded {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

type Loaded = Result<Config, crate::config::LoadError>;

/// What a reload is told to.
struct Reload {
    metrics: Metrics,
    clock: Clock,
    telemetry: Telemetry,
}

impl Reload {
    /// Puts a configuration that was read again into effect. A bad one changes nothing and is visible in the metrics.
    async fn apply(&self, agent: &mut Agent, config: &mut Config, loaded: Loaded) {
        let reloaded = match loaded {
            Ok(reloaded) => reloaded,
            Err(error) => return self.reject(&error),
        };
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
    }

    fn reject(&self, error: &dyn std::error::Error) {
        self.metrics.config_rejected();
        error!(error = %Chain(error), "configuration rejected; keeping the previous one");
    }
}

/// A daemon could not start, or a part of it ended unasked.
#[derive(Debug)]
pub enum DaemonError {
    /// The targets cannot be run.
    Start(ReconcileError),
    /// The handlers of signals cannot be set.
    Signals(std::io::Error),
    /// The endpoint's thread cannot be started.
    Thread(std::io::Error),
    /// A prober or a refresh loop ended.
    Task(TaskEnded),
    /// The endpoint ended.
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
