//! What the cache of a target has announced of maintenance, and its JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{TargetStatus, lock};
use crate::clock::Rfc3339;
use crate::maintenance::{Announced, Event};

/// The number of notices kept per target.
const RECENT: usize = 10;

/// What is known of a cache's maintenance.
#[derive(Clone, Debug, Default)]
pub(super) struct Maintenance {
    /// Whether the cache has agreed to send notices.
    agreed: bool,
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
#[derive(Debug, Serialize)]
pub struct MaintenanceDocument {
    /// Whether the cache has agreed to send notices.
    pub notifications: bool,
    /// Whether maintenance is going on or about to begin.
    pub active: bool,
    /// The start that was announced last, until an hour after it has passed.
    pub scheduled: Option<Rfc3339>,
    /// The last notices.
    pub events: Vec<MaintenanceEventDocument>,
}

/// One notice.
#[derive(Debug, Serialize)]
pub struct MaintenanceEventDocument {
    /// When it came.
    pub time: Rfc3339,
    /// The label `event`.
    pub event: &'static str,
    /// The notice on one line.
    pub detail: Box<str>,
}

impl TargetStatus {
    /// Records whether the cache has agreed to send notices of maintenance.
    pub fn maintenance_notifications(&self, agreed: bool) {
        self.change(|maintenance| maintenance.agreed = agreed);
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
            notifications: maintenance.agreed,
            active: maintenance.announced.is_active,
            scheduled: maintenance.announced.scheduled.map(Rfc3339),
            events: maintenance.events.iter().rev().map(document).collect(),
        }
    }
}
