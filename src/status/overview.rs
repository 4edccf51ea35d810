//! What the pages for people show beside the documents of `/status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::document::Rejections;
use super::{
    ConnectionInfo, ErrorDocument, Filter, Readiness, Record, Status, Summary, TargetDocument, TargetEntry,
    TargetFileErrorDocument, Verdict,
};
use crate::lock::lock;
use crate::target::Target;

/// The agent, and every target in brief.
#[derive(Debug)]
pub struct Overview {
    /// The time of the overview.
    pub now: SystemTime,
    /// Whether the agent is ready.
    pub readiness: Readiness,
    /// Why the last configuration was rejected.
    pub config_error: Option<ErrorDocument>,
    /// Why the last web configuration was rejected.
    pub web_config_error: Option<ErrorDocument>,
    /// The invalid files with targets, by path.
    pub target_file_errors: Vec<TargetFileErrorDocument>,
    /// The targets, by name.
    pub targets: Vec<Brief>,
    /// When the token of each identity ends, by label.
    tokens: BTreeMap<Arc<str>, SystemTime>,
}

/// A target in brief.
#[derive(Debug)]
pub struct Brief {
    /// The result of the last probe.
    pub state: Verdict,
    /// How late the last tick began.
    pub delay: Duration,
    entry: Arc<TargetEntry>,
}

/// What is known of a target.
#[derive(Debug)]
pub struct Details {
    /// What `/status` shows.
    pub document: TargetDocument,
    /// What is kept of its past.
    pub history: Summary,
    /// Its settings.
    pub target: Arc<Target>,
    /// The open connection.
    pub connection: Option<Box<ConnectionInfo>>,
    /// When the first certificate of its servers ends.
    pub certificate_expiry: Option<SystemTime>,
    /// When the token of its identity ends.
    pub token_expiry: Option<SystemTime>,
}

impl Status {
    /// Returns the agent, and every target in brief. Targets are locked one at a time.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let readiness = self.readiness();
        let (targets, identities, rejections) = self.entries();
        let Rejections { config_error, web_config_error, target_file_errors } = rejections;
        Overview {
            now: self.0.clock.now(),
            readiness,
            config_error,
            web_config_error,
            target_file_errors,
            targets: targets.into_iter().map(Brief::new).collect(),
            tokens: identities.iter().filter_map(|it| Some((Arc::clone(&it.label), it.expiry()?))).collect(),
        }
    }

    /// Returns what is known at the time `now` of the target called `name`, if there is one.
    #[must_use]
    pub fn details(&self, name: &str, now: SystemTime) -> Option<Details> {
        let entry = self.entry(name)?;
        let identity = |label: &str| self.lock().identities.get(label).cloned();
        Some(Details::new(&entry, now, |label| identity(label)?.expiry()))
    }
}

impl Overview {
    /// Returns what is known of `target`, which is one of [`Self::targets`].
    #[must_use]
    pub fn details(&self, target: &Brief) -> Details {
        Details::new(&target.entry, self.now, |label| self.tokens.get(label).copied())
    }
}

impl Details {
    /// `token_expiry` returns when the token of the identity with this label ends.
    fn new(
        entry: &TargetEntry,
        now: SystemTime,
        token_expiry: impl FnOnce(&str) -> Option<SystemTime>,
    ) -> Self {
        let state = lock(&entry.state).clone();
        let identity = entry.target.identity.of_tokens().map(|identity| identity.to_string());
        Self {
            document: TargetDocument::new(entry, &state),
            history: state.past.history.summary(Instant::now(), now),
            target: Arc::clone(&entry.target),
            connection: state.connection_info,
            certificate_expiry: state.certificate_expiry,
            token_expiry: identity.and_then(|label| token_expiry(&label)),
        }
    }
}

impl Brief {
    fn new(entry: Arc<TargetEntry>) -> Self {
        let state = lock(&entry.state);
        let delay = state.recent.back().map_or(Duration::ZERO, Record::delay);
        let verdict = state.verdict;
        drop(state);
        Self { state: verdict, delay, entry }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.entry.name().as_str()
    }

    /// Returns host and port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.entry.endpoint
    }

    /// Whether `filter` selects it.
    #[must_use]
    pub fn is_selected(&self, filter: &Filter) -> bool {
        filter.selects_text(self.name(), self.endpoint()) && filter.selects_state(self.state)
    }
}
