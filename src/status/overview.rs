//! What the pages for people show beside the documents of `/status`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{ErrorDocument, Filter, Readiness, Status, Summary, TargetDocument, TargetEntry, Verdict, lock};

/// The agent, and every target in brief.
#[derive(Debug)]
pub struct Overview {
    /// The time of the overview.
    pub now: SystemTime,
    /// Whether the agent is ready.
    pub readiness: Readiness,
    /// Why the last configuration was rejected.
    pub config_error: Option<ErrorDocument>,
    /// The targets, by name.
    pub targets: Vec<Brief>,
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
}

impl Status {
    /// Returns the agent, and every target in brief. Targets are locked one at a time.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let readiness = self.readiness();
        let (targets, config_error): (Vec<_>, _) = {
            let state = self.lock();
            (state.targets.values().cloned().collect(), state.config_error.clone())
        };
        Overview {
            now: self.0.clock.now(),
            readiness,
            config_error: config_error.map(ErrorDocument::new),
            targets: targets.into_iter().map(Brief::new).collect(),
        }
    }
}

impl Brief {
    fn new(entry: Arc<TargetEntry>) -> Self {
        let state = lock(&entry.state);
        let delay = state.recent.back().map_or(Duration::ZERO, |record| record.delay);
        let verdict = state.verdict;
        drop(state);
        Self { state: verdict, delay, entry }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.entry.name.as_str()
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

    /// Returns what is known of the target. `now` is the time of the overview.
    #[must_use]
    pub fn details(&self, now: SystemTime) -> Details {
        let state = lock(&self.entry.state).clone();
        let history = state.past.history.summary(Instant::now(), now);
        Details { document: TargetDocument::new(&self.entry, &state), history }
    }
}
