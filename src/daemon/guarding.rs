//! The web configuration in use, and what happens to a changed one.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, error, info};

use crate::config::WebConfig;
use crate::config::watch::{Rejection, Watch};
use crate::error::Chain;
use crate::files::Files;
use crate::guard::{Guard, Rules};
use crate::metrics::Metrics;
use crate::status::Status;

/// Keeps the guard of the endpoint up to date with the web configuration file and the files that it names.
pub(super) struct Guarding {
    files: Files,
    metrics: Metrics,
    status: Status,
    rules: watch::Sender<Arc<Rules>>,
    /// The digest of the files that the rules were read from.
    digest: Option<u64>,
    /// `None` without a web configuration.
    watch: Option<Watch<WebConfig>>,
    /// Why the last one that was loaded is not in use, as logged.
    rejected: Option<String>,
}

impl Guarding {
    /// Creates a guard without rules.
    pub(super) fn new(files: Files, metrics: Metrics, status: Status) -> Self {
        Self {
            files,
            metrics,
            status,
            rules: watch::Sender::default(),
            digest: None,
            watch: None,
            rejected: None,
        }
    }

    /// Returns the guard, which always applies the newest rules.
    pub(super) fn guard(&self) -> Guard {
        Guard::new(self.rules.subscribe())
    }

    /// Puts `config` into use, if it is another file than the present one.
    pub(super) fn start(&mut self, config: Option<&WebConfig>) {
        if config.map(|config| config.path.as_path()) == self.path() {
            return;
        }
        self.watch = config.map(|config| config.watch(&self.files));
        self.rejected = None;
        self.rules.send_replace(config.map(|config| Arc::clone(&config.rules)).unwrap_or_default());
        self.digest = config.map(WebConfig::digest);
        if config.is_some() {
            self.metrics.web_config_loaded();
        }
    }

    /// Returns the web configuration file in use.
    pub(super) fn path(&self) -> Option<&Path> {
        self.watch.as_ref().and_then(Watch::path)
    }

    /// Reads the files now, whether or not they have changed. [`Self::next`] returns the result. Returns whether there is a
    /// web configuration.
    pub(super) fn reload(&mut self) -> bool {
        self.watch.as_mut().map(Watch::reload).is_some()
    }

    /// Whether the result of [`Self::reload`] is still to come.
    pub(super) fn is_reloading(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::is_reloading)
    }

    /// Whether the last web configuration that was loaded cannot be used.
    pub(super) fn is_rejected(&self) -> bool {
        self.rejected.is_some()
    }

    /// Waits until the files change, and returns what they say. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<WebConfig, Rejection> {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => pending().await,
        }
    }

    /// Puts a loaded configuration into use. If it cannot be used, the previous one stays.
    pub(super) fn apply(&mut self, loaded: Result<WebConfig, Rejection>) {
        let error = match loaded {
            Ok(config) => {
                // In a statement of its own: while the rules are borrowed they cannot be replaced.
                let lost = lost_protection(&self.rules.borrow(), &config.rules);
                let Some(lost) = lost else {
                    return self.accept(config);
                };
                lost.to_owned()
            }
            Err(error) => Chain(&*error).to_string(),
        };
        self.metrics.web_config_rejected();
        // Everybody may read the status of an endpoint that the new rules were perhaps to close.
        let is_open = self.rules.borrow().users.is_none() && self.rules.borrow().tls.is_none();
        self.status.web_config_rejected(if is_open { "the log says why" } else { &error });
        if self.rejected.as_ref() == Some(&error) {
            debug!(error, "web configuration still rejected");
        } else {
            error!(error, "web configuration rejected; keeping the previous one");
        }
        self.rejected = Some(error);
    }

    /// Puts `config` into use. New rules end open connections, so the same ones are not put into use again.
    fn accept(&mut self, config: WebConfig) {
        let is_repaired = self.rejected.take().is_some();
        let digest = Some(config.digest());
        let is_changed = self.digest != digest;
        if is_changed {
            self.digest = digest;
            self.rules.send_replace(config.rules);
        }
        self.metrics.web_config_loaded();
        self.status.web_config_accepted();
        if is_changed || is_repaired {
            info!("web configuration reloaded");
        } else {
            debug!("web configuration unchanged");
        }
    }
}

/// Returns why `new` rules must not replace the `present` ones while the agent runs: a file that is just being written must
/// not open the endpoint.
fn lost_protection(present: &Rules, new: &Rules) -> Option<&'static str> {
    match (&present.tls, &new.tls) {
        (Some(_), None) => {
            return Some("tls_server_config is missing; to serve plain HTTP, restart the agent");
        }
        (Some(present), Some(new)) if new.client_auth().is_weaker_than(present.client_auth()) => {
            return Some("client_auth_type demands less; to allow that, restart the agent");
        }
        (Some(present), Some(new)) if present.has_allowed_sans() && !new.has_allowed_sans() => {
            return Some("client_allowed_sans is missing; to allow every name, restart the agent");
        }
        _ => {}
    }
    if !present.is_empty() && new.is_empty() {
        Some("the file is empty; to serve without protection, restart the agent")
    } else if present.users.is_some() && new.users.is_none() {
        Some("basic_auth_users is missing; to serve without passwords, restart the agent")
    } else {
        None
    }
}
