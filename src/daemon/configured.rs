//! The configuration in use, and what happens to a new one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::DaemonError;
use super::discovery::Discovery;
use super::endpoints::{Addresses, Endpoints};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::watch::Rejection;
use crate::config::web::Unguarded;
use crate::config::{Config, Format, Found, Http};
use crate::descriptors;
use crate::error::Chain;
use crate::http::{BindError, Lifecycle};
use crate::metrics::Metrics;
use crate::status::Status;
use crate::telemetry::Telemetry;

/// The pause before an address is tried again that cannot be bound. No file changes when it becomes free.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// The configuration in use. There is none while the agent waits for its first valid one.
pub(super) struct Configured {
    pub(super) current: Option<Config>,
    /// What only a restart changes, as it was at the start.
    of_start: Option<(Http, Format)>,
    /// Whether the endpoint is guarded without a configuration, too.
    is_guarded: bool,
    metrics: Metrics,
    status: Status,
    clock: Clock,
    telemetry: Telemetry,
    lifecycle: Lifecycle,
    /// A valid configuration whose address cannot be bound, and when it is tried again.
    held: Option<(Config, Instant)>,
    /// The last rejection, as logged.
    rejected: Option<String>,
}

impl Configured {
    /// Nothing is configured yet.
    pub(super) fn new(
        is_guarded: bool,
        metrics: Metrics,
        status: Status,
        clock: Clock,
        telemetry: Telemetry,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            current: None,
            of_start: None,
            is_guarded,
            metrics,
            status,
            clock,
            telemetry,
            lifecycle,
            held: None,
            rejected: None,
        }
    }

    /// Puts `config` into use, at the start with its addresses. If one cannot be bound, or its certificates cannot be
    /// used, nothing changes.
    ///
    /// # Errors
    /// [`DaemonError`] as [`Endpoints::move_to`].
    pub(super) async fn accept(
        &mut self,
        agent: &mut Agent,
        discovery: &mut Discovery,
        endpoints: &mut Endpoints,
        config: Config,
    ) -> Result<Result<(), Rejection>, DaemonError> {
        if self.current.is_some() {
            return Ok(self.reconcile(agent, discovery, config).await);
        }
        let (http, held) = (config.http.clone(), config.clone());
        let reconcile = async || self.reconcile(agent, discovery, config).await;
        let accepted = endpoints.move_to(&http, reconcile).await?;
        if accepted.as_ref().is_err_and(|error| error.is::<BindError>()) {
            self.held = Some((held, Instant::now() + RETRY));
        }
        Ok(accepted)
    }

    /// Waits until a configuration is to be tried again. Cancel safe.
    pub(super) async fn retry(&mut self) -> Config {
        if let Some((_, at)) = &self.held {
            sleep_until(*at).await;
        }
        match self.held.take() {
            Some((config, _)) => config,
            None => std::future::pending().await,
        }
    }

    /// Whether the last configuration that was loaded cannot be used.
    pub(super) fn is_rejected(&self) -> bool {
        self.rejected.is_some()
    }

    /// Forgets what was rejected: another configuration was loaded.
    pub(super) fn forget_rejected(&mut self) {
        (self.held, self.rejected) = (None, None);
    }

    async fn reconcile(
        &mut self,
        agent: &mut Agent,
        discovery: &mut Discovery,
        config: Config,
    ) -> Result<(), Rejection> {
        self.probe(agent, discovery, &config, &config.found()).await?;
        discovery.watch(&config);
        self.metrics.configure(config.metrics);
        self.metrics.config_loaded(self.clock.now());
        self.status.config_accepted();
        self.telemetry.set_configured_level(config.log.level);
        let needs_restart = (config.http.clone(), config.log.format);
        if let Some(of_start) = &self.of_start {
            if needs_restart != *of_start {
                warn!("http or log.format changed; restart to apply");
            }
            info!(targets = agent.running(), "configuration reloaded");
            log_warnings(&config, agent.running());
        } else {
            self.lifecycle.enable(config.http.lifecycle);
            self.telemetry.set_format(config.log.format);
            self.of_start = Some(needs_restart);
        }
        self.current = Some(config);
        Ok(())
    }

    /// Probes the targets of `config`, whose files with targets say `found`.
    async fn probe(
        &self,
        agent: &mut Agent,
        discovery: &mut Discovery,
        config: &Config,
        found: &Found,
    ) -> Result<(), Rejection> {
        let partition = config.partition.partition()?;
        let merged = discovery.merge(self.current.as_ref(), config, found, partition);
        agent.reconcile(&merged.own).await?;
        self.metrics.partition_targets(partition.map(|_| merged.known));
        discovery.accept(merged);
        Ok(())
    }

    /// Probes the targets that files name now. If they cannot be probed, nothing changes.
    pub(super) async fn discover(
        &self,
        agent: &mut Agent,
        discovery: &mut Discovery,
        found: Result<Found, Rejection>,
    ) {
        let Some(config) = &self.current else { return };
        let probed = match found {
            Ok(found) => self.probe(agent, discovery, config, &found).await,
            Err(rejection) => Err(rejection),
        };
        match probed {
            Ok(()) => {
                info!(targets = agent.running(), "target files reloaded");
                descriptors::warn_if_too_few(agent.running());
            }
            Err(error) => {
                error!(error = %Chain(&*error), "target files rejected; keeping the previous targets");
            }
        }
    }

    /// Puts a loaded configuration into use, or shows why it cannot be used. Returns whether it is in use.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub(super) async fn apply(
        &mut self,
        agent: &mut Agent,
        discovery: &mut Discovery,
        endpoints: &mut Endpoints,
        loaded: Result<Config, Rejection>,
    ) -> Result<bool, DaemonError> {
        let accepted = match loaded {
            Ok(config) => {
                // Somebody may have raised the hard limit.
                descriptors::raise_limit();
                self.accept(agent, discovery, endpoints, config).await?
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &accepted {
            self.reject(&**error);
        }
        Ok(accepted.is_ok())
    }

    /// Logs that `agent` probes, or waits for its first valid configuration.
    pub(super) fn log_start(&self, agent: &Agent, addresses: &Addresses) {
        let version = env!("CARGO_PKG_VERSION");
        let (listen, health_listen) = (addresses.main, addresses.health.map(display));
        let Some(config) = &self.current else {
            return info!(version, %listen, health_listen, "agent waiting");
        };
        info!(version, %listen, health_listen, targets = agent.running(), "agent started");
        log_warnings(config, agent.running());
    }

    /// Shows why a configuration cannot be used. The current one stays.
    pub(super) fn reject(&mut self, error: &(dyn std::error::Error + 'static)) {
        // The operator wants the endpoint to be guarded, and it is not.
        let is_private = self.current.is_none() && !self.is_guarded && error.is::<Unguarded>();
        let error = Chain(error).to_string();
        self.metrics.config_rejected();
        self.status.config_rejected((!is_private).then_some(&error));
        if self.rejected.as_ref() == Some(&error) {
            debug!(error, "configuration still rejected");
        } else if self.current.is_some() {
            error!(error, "configuration rejected; keeping the previous one");
        } else {
            error!(error, "configuration rejected; waiting for a valid one");
        }
        self.rejected = Some(error);
    }
}

/// Logs what may be wrong with a configuration, or with so many targets on this machine.
fn log_warnings(config: &Config, targets: usize) {
    descriptors::warn_if_too_few(targets);
    for warning in &config.warnings {
        warn!(%warning, "configuration warning");
    }
}
