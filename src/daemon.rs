//! The daemon: runs the agent and its HTTP endpoints, and handles signals and changes of the configuration file.

mod configured;
mod discovery;
mod endpoints;
mod guarding;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use self::configured::Configured;
use self::discovery::Discovery;
use self::endpoints::Endpoints;
pub use self::endpoints::Listeners;
use self::guarding::Guarding;
use crate::agent::{Agent, Services, TaskEnded};
use crate::clock::{Clock, seconds};
use crate::config::watch::{Rejection, Watch};
use crate::config::{Config, Http, Overrides};
use crate::connection::resolver::Resolver;
use crate::connection::tls::roots::Roots;
use crate::descriptors;
use crate::files::Files;
use crate::http::{BindError, Lifecycle, Liveness, Pages, Reloaded, Route};
use crate::identity::TokenIdentity;
use crate::identity::entra::EntraTokens;
use crate::identity::platform::Platform;
use crate::identity::supplied::SuppliedTokens;
use crate::identity::transport::Transport;
use crate::metrics::{Metrics, Part};
use crate::os;
use crate::service_manager::{ServiceManager, State};
use crate::signal::{Signal, Signals};
use crate::status::Status;
use crate::telemetry::Telemetry;

/// What to do at the start if the configuration is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnInvalidConfig {
    /// Exit with 64
    // An empty variable counts as absent.
    #[default]
    #[value(alias = "")]
    Exit,
    /// Serve the HTTP endpoint, and begin as soon as the configuration is valid; for sidecars, which must not make their
    /// pod unready
    Wait,
}

/// The daemon before its start.
pub struct Daemon {
    /// The configuration, or why it cannot be used.
    pub config: Result<Config, Rejection>,
    /// What to do if it cannot be used.
    pub on_invalid_config: OnInvalidConfig,
    /// The flags that apply while it cannot be used.
    pub overrides: Overrides,
    /// Loads the configuration again: when its file changes, while it is rejected, and on SIGHUP.
    pub watch: Option<Watch>,
    /// The bound sockets of the endpoints: a daemon that cannot serve does not start to probe. It moves to the addresses of
    /// its first valid configuration, if they are others.
    pub listeners: Listeners,
    /// The services of the agent.
    pub services: Services,
    /// The log. A reload can change its level.
    pub telemetry: Telemetry,
}

/// Returns where the agent serves: as `config` says, or without one at the addresses of flags, else the default.
#[must_use]
pub fn addresses(config: Option<&Config>, overrides: &Overrides) -> Http {
    config.map_or_else(|| Http::default().with(overrides), |config| config.http.clone())
}

/// Returns the services of a real agent: the system clock, tokens from Entra, and the host name as the
/// instance. TLS trusts `roots`, and `files` were read for the configuration.
#[must_use]
pub fn services(roots: Roots, files: Files) -> Services {
    let clock = Clock::system();
    let resolver = Resolver::system(files.clone());
    let transport = Arc::new(Transport::new(&roots, resolver.clone()));
    let platform = Platform::system(transport, files.clone());
    let host = os::host_name();
    Services {
        metrics: Metrics::new(clock.clone()),
        status: Status::new(clock.clone()),
        clock,
        files,
        resolver,
        roots,
        token_source: Box::new(move |identity| match identity {
            TokenIdentity::Entra(identity) => Box::new(EntraTokens::new(identity.clone(), platform.clone())),
            TokenIdentity::Supplied(supplied) => {
                Box::new(SuppliedTokens::new(supplied.clone(), platform.clone()))
            }
        }),
        instance: host.into(),
    }
}

impl Daemon {
    /// Runs until a signal requests a shutdown, which completes within the grace period. Without a valid configuration it
    /// waits for one, if that is wanted.
    ///
    /// # Errors
    /// [`DaemonError`] if the daemon could not start, or a part of it ended unexpectedly.
    pub async fn run(self) -> Result<(), DaemonError> {
        let Self { config, on_invalid_config, overrides, mut watch, listeners, services, telemetry } = self;
        descriptors::raise_limit();
        let mut signals = Signals::new().map_err(DaemonError::Signals)?;
        let (metrics, status, clock) =
            (services.metrics.clone(), services.status.clone(), services.clock.clone());
        metrics.count_tasks(Part::Probing, &tokio::runtime::Handle::current());
        let (mut manager, watchdog) = ServiceManager::new(|name| std::env::var_os(name));
        let (liveness, mut heartbeats) = Liveness::new();
        let mut watchdog = pin!(watchdog.feed(liveness.clone()));
        let (lifecycle, mut reloads) = Lifecycle::new();
        lifecycle.enable(Http::default().with(&overrides).lifecycle);
        let routes = &Route::ALL;
        let mut guarding = Guarding::new(services.files.clone(), metrics.clone(), status.clone());
        let of_config = config.as_ref().map(|config| config.web_config.as_ref());
        guarding.start(of_config.unwrap_or(overrides.web_config.as_ref()));
        let pages = Pages {
            metrics: metrics.clone(),
            status: status.clone(),
            liveness,
            lifecycle: lifecycle.clone(),
            routes,
            guard: guarding.guard(),
        };
        let mut endpoints = Endpoints::new(listeners, pages);
        let mut discovery = Discovery::new(services.files.clone(), metrics.clone(), status.clone());
        let mut agent = Agent::new(services);
        let is_guarded = overrides.web_config.is_some();
        let mut configured =
            Configured::new(is_guarded, metrics, status.clone(), clock, telemetry, lifecycle);
        let begun = match config {
            Ok(config) => configured.accept(&mut agent, &mut discovery, &mut endpoints, config).await?,
            Err(error) => Err(error),
        };
        match (begun, on_invalid_config) {
            (Ok(()), _) => accepted(&mut watch, &guarding),
            (Err(error), OnInvalidConfig::Wait) => configured.reject(&*error),
            (Err(error), OnInvalidConfig::Exit) => return Err(DaemonError::Start(error)),
        }
        configured.log_start(&agent, &endpoints.serve()?);
        let end = loop {
            manager
                .notify(if is_reloading(watch.as_ref(), &guarding) { State::Reloading } else { State::Ready })
                .await;
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Terminate | Signal::Interrupt => break Ok(signal.as_str()),
                    Signal::Reload => {
                        if !reload(&mut watch, &mut guarding) {
                            warn!("SIGHUP ignored; there is no configuration file");
                        }
                    }
                },
                loaded = next(&mut watch, &mut configured) => {
                    let is_start = configured.current.is_none();
                    if let (Ok(config), true) = (&loaded, is_start) {
                        // Before anything of it can be seen.
                        guarding.start(config.web_config.as_ref());
                    }
                    let is_accepted =
                        configured.apply(&mut agent, &mut discovery, &mut endpoints, loaded).await?;
                    if is_accepted {
                        accepted(&mut watch, &guarding);
                        if is_start {
                            configured.log_start(&agent, &endpoints.serve()?);
                        }
                    }
                }
                found = discovery.next() => configured.discover(&mut agent, &mut discovery, found).await,
                loaded = guarding.next() => guarding.apply(loaded),
                () = reloads.next() => {
                    if !reload(&mut watch, &mut guarding) {
                        reloads.finish(Reloaded::NoFile);
                    }
                }
                () = heartbeats.respond() => {}
                never = &mut watchdog => match never {},
                ended = agent.task_ended() => break Err(DaemonError::Task(ended)),
                () = endpoints.failed() => break Err(DaemonError::Server),
            }
            if !is_reloading(watch.as_ref(), &guarding) {
                let is_rejected = configured.is_rejected() || guarding.is_rejected();
                reloads.finish(if is_rejected { Reloaded::Rejected } else { Reloaded::Accepted });
            }
        };
        let begun = Instant::now();
        // Without a configuration there is nothing worth waiting for.
        let grace_period = configured.current.map_or(Duration::ZERO, |config| config.shutdown_grace_period);
        let grace_period_seconds = seconds(grace_period);
        info!(signal = end.as_ref().ok(), grace_period_seconds, "shutdown started");
        manager.notify(State::Stopping).await;
        status.drain();
        agent.stop().await;
        endpoints.close(grace_period).await;
        info!(duration_seconds = seconds(begun.elapsed()), "shutdown completed");
        end.map(drop)
    }
}

/// Loads the configuration and the web configuration again. Returns whether there is one that comes from a file.
fn reload(watch: &mut Option<Watch>, guarding: &mut Guarding) -> bool {
    if let Some(watch) = watch {
        watch.reload();
    }
    guarding.reload() || watch.is_some()
}

/// Whether the result of a [`reload`] is still to come.
fn is_reloading(watch: Option<&Watch>, guarding: &Guarding) -> bool {
    watch.is_some_and(Watch::is_reloading) || guarding.is_reloading()
}

/// Records that the last configuration is in use. One of flags stays in use.
fn accepted(watch: &mut Option<Watch>, guarding: &Guarding) {
    if let Some(watch) = watch {
        watch.accepted(guarding.path());
    }
    watch.take_if(|watch| !watch.has_file());
}

/// Waits for the next configuration: one that was loaded, or that of the start whose address could not be bound. Cancel
/// safe.
async fn next(watch: &mut Option<Watch>, configured: &mut Configured) -> Result<Config, Rejection> {
    let loaded = async {
        match watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        loaded = loaded => {
            configured.forget_rejected();
            loaded
        }
        config = configured.retry() => Ok(config),
    }
}

/// The daemon could not start, or a part of it ended unexpectedly.
#[derive(Debug)]
pub enum DaemonError {
    /// The configuration cannot be used.
    Start(Rejection),
    /// The address at which it waited cannot be bound again.
    Bind(BindError),
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
            Self::Bind(error) => return error.fmt(f),
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
            Self::Start(error) => Some(&**error),
            Self::Bind(error) => error.source(),
            Self::Signals(error) | Self::Thread(error) => Some(error),
            Self::Task(error) => Some(error),
            Self::Server => None,
        }
    }
}
