//! What the sentinels of a target say, and its JSON.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::outcome::label;
use super::{TargetEntry, TargetStatus};
use crate::closed_set::closed_set;
use crate::lock::lock;
use crate::target::Endpoint;

closed_set! {
    /// Whether enough sentinels are usable to elect another primary.
    pub enum Quorum {
        /// No sentinel has said so yet.
        Unknown = "unknown",
        /// There are enough.
        Reached = "reached",
        /// There are not enough: a primary that fails would not be replaced.
        Lost = "lost",
        /// The user of the sentinels may not ask (`NOPERM`).
        Denied = "denied",
        /// The sentinels do not know the question.
        Unsupported = "unsupported",
    }
}

impl Quorum {
    /// Returns what to do about it, if anything.
    const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Lost => Some(LOST),
            Self::Denied => Some(DENIED),
            Self::Unknown | Self::Reached | Self::Unsupported => None,
        }
    }
}

const LOST: &str = "Start the sentinels that are missing, and check the network between them: without a quorum, a primary that \
                    fails is not replaced.";
const DENIED: &str = "Give the user of the sentinels `+sentinel|ckquorum` to see whether there is a quorum.";

/// What the sentinels of a target say.
#[derive(Clone, Debug)]
pub(super) struct SentinelState {
    service: Box<str>,
    primary: Option<Endpoint>,
    quorum: Quorum,
}

/// Writes what the sentinels of one target say.
#[derive(Debug)]
pub struct SentinelStatus(Arc<TargetEntry>);

impl TargetStatus {
    /// Shows the sentinels of `service` from now on.
    #[must_use]
    pub fn sentinel(&self, service: &str) -> SentinelStatus {
        let sentinel = SentinelState { service: service.into(), primary: None, quorum: Quorum::Unknown };
        lock(&self.entry.state).sentinel = Some(Box::new(sentinel));
        SentinelStatus(Arc::clone(&self.entry))
    }
}

impl SentinelStatus {
    /// Records which primary the sentinels name.
    pub fn primary(&self, address: Option<&Endpoint>) {
        self.change(|sentinel| sentinel.primary = address.cloned());
    }

    /// Records whether there is a quorum.
    pub fn quorum(&self, quorum: Quorum) {
        self.change(|sentinel| sentinel.quorum = quorum);
    }

    fn change(&self, change: impl FnOnce(&mut SentinelState)) {
        if let Some(sentinel) = &mut lock(&self.0.state).sentinel {
            change(sentinel);
        }
    }
}

/// What the sentinels of a target say.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SentinelDocument {
    /// The name of the service that they monitor.
    pub service: String,
    /// The address of the primary that they name.
    pub primary: Option<String>,
    /// `unknown`, `reached`, `lost`, `denied` or `unsupported`.
    #[serde(serialize_with = "label")]
    pub quorum: Quorum,
    /// What to do about the quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

impl SentinelDocument {
    pub(super) fn new(SentinelState { service, primary, quorum }: &SentinelState) -> Self {
        Self {
            service: service.to_string(),
            primary: primary.as_ref().map(Endpoint::to_string),
            quorum: *quorum,
            advice: quorum.advice(),
        }
    }
}

impl fmt::Display for SentinelDocument {
    /// Writes service, primary and quorum in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, primary, quorum, .. } = self;
        let primary = primary.as_deref().unwrap_or("unknown");
        write!(f, "service {service}, primary {primary}, quorum {quorum}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Clock;
    use crate::status::Status;
    use crate::target::Target;

    #[tokio::test(start_paused = true)]
    async fn the_primary_and_the_quorum_are_shown_with_what_to_do() {
        let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
        let target = status.target(&Target::plain("orders"));
        let shown = || status.document().targets.remove(0).sentinel;
        assert!(shown().is_none());
        let sentinel = target.sentinel("mymaster");
        assert_eq!(shown().unwrap().to_string(), "service mymaster, primary unknown, quorum unknown");
        sentinel.primary(Some(&Endpoint { host: "10.0.0.1".into(), port: 6379 }));
        sentinel.quorum(Quorum::Reached);
        let document = shown().unwrap();
        assert_eq!(document.to_string(), "service mymaster, primary 10.0.0.1:6379, quorum reached");
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            serde_json::json!({"service": "mymaster", "primary": "10.0.0.1:6379", "quorum": "reached"})
        );
        for (quorum, advice) in
            [(Quorum::Lost, "Start the sentinels"), (Quorum::Denied, "`+sentinel|ckquorum`")]
        {
            sentinel.quorum(quorum);
            assert!(shown().unwrap().advice.unwrap().contains(advice), "{quorum}");
        }
        sentinel.primary(None);
        assert!(shown().unwrap().primary.is_none());
    }
}
