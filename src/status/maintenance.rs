//! What the cache of a target has announced of maintenance, and its JSON.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::TargetStatus;
use super::outcome::label;
use crate::clock::Rfc3339;
use crate::closed_set::closed_set;
use crate::lock::lock;
use crate::maintenance::{Announced, Event};

/// The number of notices kept per target.
const RECENT: usize = 10;

closed_set! {
    /// Whether a cache sends notices of maintenance.
    pub enum NoticeState {
        /// The agent has not asked for them.
        NotRequested = "not_requested",
        /// The cache has agreed to send them.
        Received = "received",
        /// The user may not receive them (`NOPERM`).
        Denied = "denied",
        /// The cache does not know them.
        Unsupported = "unsupported",
    }
}

impl NoticeState {
    /// Returns what to do about it, if anything.
    const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Denied => Some(ADVICE),
            Self::NotRequested | Self::Received | Self::Unsupported => None,
        }
    }
}

/// What to do if the user may not receive notices.
const ADVICE: &str = "Give the user `+subscribe`, and from Redis 6.2 on also `&AzureRedisEvents`, or set `maintenance: off`. \
                      A changed right is noticed within an hour, or after a restart.";

/// What is known of a cache's maintenance.
#[derive(Clone, Debug)]
pub(super) struct Maintenance {
    state: NoticeState,
    /// Why the cache sends no notices. Empty if nothing is known.
    detail: Box<str>,
    announced: Announced,
    /// Newest last.
    events: VecDeque<Arc<Noted>>,
}

#[derive(Debug)]
struct Noted {
    at: SystemTime,
    event: Event,
    detail: Box<str>,
}

/// What the cache has announced.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MaintenanceDocument {
    /// Whether the cache has agreed to send notices.
    pub notifications: bool,
    /// `not_requested`, `received`, `denied` or `unsupported`.
    #[serde(serialize_with = "label")]
    pub notices: NoticeState,
    /// Why the cache sends none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Box<str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
    /// Whether maintenance is going on or about to begin.
    pub active: bool,
    /// The start that was announced last, until an hour after it has passed.
    pub scheduled: Option<Rfc3339>,
    /// The last notices.
    pub events: Vec<MaintenanceEventDocument>,
}

/// One notice.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MaintenanceEventDocument {
    /// When it came.
    pub time: Rfc3339,
    /// The label `event`.
    pub event: &'static str,
    /// The notice on one line.
    pub detail: Box<str>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            state: NoticeState::NotRequested,
            detail: "".into(),
            announced: Announced::default(),
            events: VecDeque::new(),
        }
    }
}

impl TargetStatus {
    /// Records whether the cache sends notices of maintenance, and if not, why.
    pub fn maintenance_notices(&self, state: NoticeState, detail: &str) {
        self.change(|maintenance| (maintenance.state, maintenance.detail) = (state, detail.into()));
    }

    /// Records a notice that came at `at`.
    pub fn maintenance_event(&self, event: Event, detail: &str, at: SystemTime) {
        let noted = Arc::new(Noted { at, event, detail: detail.into() });
        self.change(|maintenance| {
            if maintenance.events.len() == RECENT {
                maintenance.events.pop_front();
            }
            maintenance.events.push_back(noted);
        });
    }

    /// Records what is known from the notices.
    pub fn maintenance_announced(&self, announced: Announced) {
        self.change(|maintenance| maintenance.announced = announced);
    }

    fn change(&self, change: impl FnOnce(&mut Maintenance)) {
        change(lock(&self.entry.state).maintenance.get_or_insert_default());
    }
}

impl MaintenanceDocument {
    pub(super) fn new(maintenance: &Maintenance) -> Self {
        let document = |noted: &Arc<Noted>| MaintenanceEventDocument {
            time: Rfc3339(noted.at),
            event: noted.event.as_str(),
            detail: noted.detail.clone(),
        };
        Self {
            notifications: maintenance.state == NoticeState::Received,
            notices: maintenance.state,
            detail: maintenance.detail.clone(),
            advice: maintenance.state.advice().map(Into::into),
            active: maintenance.announced.is_active,
            scheduled: maintenance.announced.scheduled.map(Rfc3339),
            events: maintenance.events.iter().rev().map(document).collect(),
        }
    }
}

impl fmt::Display for MaintenanceDocument {
    /// Writes in one line whether notices come, and what is announced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { notices, detail, active, scheduled, .. } = self;
        match notices {
            NoticeState::NotRequested => return f.write_str(NOT_REQUESTED),
            NoticeState::Received => write!(f, "notices {notices}")?,
            NoticeState::Denied | NoticeState::Unsupported => write!(f, "notices {notices}: {detail}")?,
        }
        match scheduled {
            Some(start) => write!(f, "; scheduled for {start}")?,
            None if *notices == NoticeState::Received => f.write_str("; none scheduled")?,
            None => {}
        }
        if *active { f.write_str("; maintenance active") } else { Ok(()) }
    }
}

/// Says that nobody asks for notices.
pub const NOT_REQUESTED: &str = "notices not requested";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::status::Status;
    use crate::target::Target;

    #[tokio::test(start_paused = true)]
    async fn one_line_says_whether_notices_come_and_what_is_scheduled() {
        let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
        let target = status.target(&Target::plain("orders"));
        let shown = || {
            let document = status.document().targets.remove(0).maintenance.unwrap();
            (document.to_string(), document.advice)
        };
        target.maintenance_announced(Announced::default());
        assert_eq!(shown(), ("notices not requested".into(), None));
        target.maintenance_notices(NoticeState::Received, "");
        assert_eq!(shown(), ("notices received; none scheduled".into(), None));
        let scheduled = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        target.maintenance_announced(Announced { is_active: true, scheduled });
        let line = "notices received; scheduled for 1970-01-01T00:01:00.000Z; maintenance active";
        assert_eq!(shown(), (line.into(), None));
        target.maintenance_announced(Announced::default());
        target.maintenance_notices(NoticeState::Denied, "NOPERM no");
        let (line, advice) = shown();
        assert_eq!(line, "notices denied: NOPERM no");
        assert!(advice.unwrap().contains("`+subscribe`"));
        target.maintenance_notices(NoticeState::Unsupported, "ERR unknown subcommand");
        assert_eq!(shown(), ("notices unsupported: ERR unknown subcommand".into(), None));
    }
}
