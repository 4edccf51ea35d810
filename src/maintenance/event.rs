//! The closed set of events that a notice can report.

use std::time::Duration;

use crate::closed_set::closed_set;

/// How long maintenance counts as active after a notice of Azure's channel, which names no duration.
const AZURE_ACTIVE: Duration = Duration::from_secs(30 * 60);

/// What a notice says of a kind of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It begins, or is about to.
    Begins(Kind),
    /// It has ended.
    Ends(Kind),
    /// Nothing about now.
    None,
}

/// A kind of maintenance. Kinds begin and end independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of nodes, as Azure's channel reports it.
    Node,
    /// An endpoint moves.
    Moving,
    /// A shard moves to another node.
    Migrating,
    /// A shard fails over.
    FailingOver,
    /// Slots of a cluster move to another node.
    SlotsMigrating,
}

impl Kind {
    pub(super) const COUNT: usize = Self::SlotsMigrating as usize + 1;

    /// Returns how long it counts as active without a notice of its end, where its begin announced `seconds`.
    pub(super) fn limit(self, seconds: Duration) -> Duration {
        /// A notice may come late, and what it announces may take longer.
        const FACTOR: u32 = 3;
        const LEAST: Duration = Duration::from_secs(30);
        match self {
            Self::Node => AZURE_ACTIVE,
            _ => (seconds * FACTOR).max(LEAST),
        }
    }
}

struct Facts {
    /// The name in a notice.
    name: &'static str,
    effect: Effect,
}

closed_set! {
    /// What a maintenance notice reports: the label `event`.
    pub enum Event: Facts {
        /// Azure: maintenance of a node is planned (`NodeMaintenanceScheduled`), usually 15 minutes ahead.
        Scheduled = "node_maintenance_scheduled" { name: "NodeMaintenanceScheduled", effect: Effect::None },
        /// Azure: maintenance of a node begins in about 20 seconds (`NodeMaintenanceStarting`).
        Starting = "node_maintenance_starting" { name: "NodeMaintenanceStarting", effect: Effect::Begins(Kind::Node) },
        /// Azure: maintenance of a node begins now (`NodeMaintenanceStart`): connections are about to be closed.
        Start = "node_maintenance_start" { name: "NodeMaintenanceStart", effect: Effect::Begins(Kind::Node) },
        /// Azure: a replica has replaced the primary (`NodeMaintenanceFailoverComplete`).
        FailoverComplete = "node_maintenance_failover_complete" {
            name: "NodeMaintenanceFailoverComplete",
            effect: Effect::None,
        },
        /// Azure: the cache was scaled (`NodeMaintenanceScaleComplete`).
        ScaleComplete = "node_maintenance_scale_complete" {
            name: "NodeMaintenanceScaleComplete",
            effect: Effect::None,
        },
        /// Azure: maintenance of a node has ended, and all nodes are back (`NodeMaintenanceEnded`).
        Ended = "node_maintenance_ended" { name: "NodeMaintenanceEnded", effect: Effect::Ends(Kind::Node) },
        /// Redis Enterprise: this endpoint moves to another node (`MOVING`). The agent opens a new connection early.
        Moving = "moving" { name: "MOVING", effect: Effect::Begins(Kind::Moving) },
        /// Redis Enterprise: a shard begins to move to another node (`MIGRATING`).
        Migrating = "migrating" { name: "MIGRATING", effect: Effect::Begins(Kind::Migrating) },
        /// Redis Enterprise: a shard has moved (`MIGRATED`).
        Migrated = "migrated" { name: "MIGRATED", effect: Effect::Ends(Kind::Migrating) },
        /// Redis Enterprise: a shard begins to fail over (`FAILING_OVER`).
        FailingOver = "failing_over" { name: "FAILING_OVER", effect: Effect::Begins(Kind::FailingOver) },
        /// Redis Enterprise: a shard has failed over (`FAILED_OVER`).
        FailedOver = "failed_over" { name: "FAILED_OVER", effect: Effect::Ends(Kind::FailingOver) },
        /// Redis Enterprise: slots begin to move to another node of the cluster (`SMIGRATING`).
        SlotsMigrating = "smigrating" { name: "SMIGRATING", effect: Effect::Begins(Kind::SlotsMigrating) },
        /// Redis Enterprise: slots have moved (`SMIGRATED`).
        SlotsMigrated = "smigrated" { name: "SMIGRATED", effect: Effect::Ends(Kind::SlotsMigrating) },
        /// Any other notice, and one with wrong content.
        Other = "other" { name: "", effect: Effect::None },
    }
}

impl Event {
    /// Returns the event of a `NotificationType` of Azure's channel.
    pub(super) fn of_azure(name: &str) -> Self {
        // Older caches spell it so.
        if name.eq_ignore_ascii_case("NodeMaintenanceFailover") {
            return Self::FailoverComplete;
        }
        Self::named(name, Self::is_of_azure)
    }

    /// Returns the event of a push called `name`.
    pub(super) fn of_push(name: &str) -> Self {
        Self::named(name, |event| !event.is_of_azure())
    }

    fn named(name: &str, is_in: impl Fn(Self) -> bool) -> Self {
        let mut named = Self::ALL.into_iter().filter(|event| *event != Self::Other && is_in(*event));
        named.find(|event| event.facts().name.eq_ignore_ascii_case(name)).unwrap_or(Self::Other)
    }

    pub(super) const fn effect(self) -> Effect {
        self.facts().effect
    }

    /// Whether Azure's channel reports it.
    const fn is_of_azure(self) -> bool {
        (self as usize) < Self::Moving as usize
    }
}
