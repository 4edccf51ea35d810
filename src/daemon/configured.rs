//! The configuration in use, and what happens to a new one.

use std::net::SocketAddr;

use tracing::{error, info, warn};

use crate::agent::{Agent, ReconcileError};
use crate::clock::Clock;
use crate::config::watch::Rejection;
use crate::config::{Config, Overrides};
use crate::descriptors;
use crate::error::Chain;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::telemetry::Telemetry;

/// The configuration in use. There is none while the agent waits for its first valid one.
pub(super) struct Configured {
    pub(super) current: Option<Config>,
    pub(super) overrides: Overrides,
    pub(super) metrics: Metrics,
    pub(super) status: Status,
    pub(super) clock: Clock,
    pub(super) telemetry: Telemetry,
}

impl Configured {
    /// Puts `config` into use. If its certificates cannot be used, nothing changes.
    pub(super) async fn accept(&mut self, agent: &mut Agent, config: Config) -> Result<(), ReconcileError> {
        agent.reconcile(&config.targets).await?;
        self.metrics.configure(config.metrics);
        self.metrics.config_loaded(self.clock.now());
        self.status.config_accepted();
        self.telemetry.set_configured_level(config.log.level);
        if let Some(previous) = &self.current {
            if config.http != previous.http || config.log.format != previous.log.format {
                warn!("http.listen or log.format changed; restart to apply");
            }
            info!(targets = config.targets.len(), "configuration reloaded");
            log_warnings(&config);
        } else {
            self.telemetry.set_format(self.overrides.log_format.unwrap_or(config.log.format));
        }
        self.current = Some(config);
        Ok(())
    }

    /// Puts a loaded configuration into use, or shows why it cannot be used. Returns whether it is in use.
    pub(super) async fn apply(&mut self, agent: &mut Agent, loaded: Result<Config, Rejection>) -> bool {
        let rejection = match loaded {
            Ok(config) => {
                // Somebody may have raised the hard limit.
                descriptors::raise_limit();
                match self.accept(agent, config).await {
                    Ok(()) => return true,
                    Err(error) => error.into(),
                }
            }
            Err(error) => error,
        };
        self.reject(&*rejection);
        false
    }

    /// Logs that the agent probes, or waits for its first valid configuration.
    pub(super) fn log_start(&self, listen: SocketAddr) {
        let version = env!("CARGO_PKG_VERSION");
        let Some(config) = &self.current else {
            return info!(version, %listen, "agent waiting");
        };
        info!(version, %listen, targets = config.targets.len(), "agent started");
        log_warnings(config);
    }

    /// Shows why a configuration cannot be used. The current one stays.
    pub(super) fn reject(&self, error: &(dyn std::error::Error + 'static)) {
        let error = Chain(error).to_string();
        self.metrics.config_rejected();
        self.status.config_rejected(Some(&error));
        if self.current.is_some() {
            error!(error, "configuration rejected; keeping the previous one");
        } else {
            error!(error, "configuration rejected; waiting for a valid one");
        }
    }
}

/// Logs what may be wrong with a configuration, here or on this machine.
fn log_warnings(config: &Config) {
    descriptors::warn_if_too_few(config.targets.len());
    for warning in &config.warnings {
        warn!(%warning, "configuration warning");
    }
}
