//! The rows of the reply to `CLUSTER SLOTS`, as a server sends them.

use super::{AnnouncedHost, Slot};

/// A range of slots and the nodes that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first slot.
    pub first: Slot,
    /// The last slot.
    pub last: Slot,
    /// The primary.
    pub primary: AnnouncedNode,
    /// The replicas.
    pub replicas: Vec<AnnouncedNode>,
}

/// A node as a row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedNode {
    /// The host.
    pub host: AnnouncedHost,
    /// The port; 0 if it is none.
    pub port: u16,
    /// The id. The proxies of Azure Managed Redis may have none, or share one.
    pub id: Option<Box<str>>,
}
