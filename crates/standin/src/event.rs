//! Events of the stand-in, for the demo to print and for tests to count. Events contain no secrets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::authority::Rejection;

/// Receives each event as it happens. It must return at once.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// Something that happened. `client` is the number of a connection to the cache; with the store in memory it is also
/// the client's id in `CLIENT LIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The identity endpoint issued a new token.
    TokenIssued {
        /// The identity's object id; `None` if a fault left it out.
        object_id: Option<Arc<str>>,
        /// How long the token is valid.
        lifetime: Duration,
    },
    /// A connection signed in for the first time.
    SignedIn {
        /// The connection.
        client: u64,
        /// How long the session lasts; `None` with an access key.
        expires_in: Option<Duration>,
    },
    /// A connection that was signed in presented a new token, which extends its session.
    Reauthenticated {
        /// The connection.
        client: u64,
        /// How long the session lasts from now; `None` with an access key.
        expires_in: Option<Duration>,
    },
    /// A connection's sign-in was rejected.
    Rejected {
        /// The connection.
        client: u64,
        /// Why.
        rejection: Rejection,
    },
    /// A connection was closed because its token expired.
    Expired {
        /// The connection.
        client: u64,
    },
    /// An outage of the cache began.
    OutageBegan {
        /// Its kind.
        outage: Outage,
        /// How long it lasts.
        length: Duration,
    },
    /// The outage ended.
    OutageEnded,
    /// Maintenance of the cache is announced.
    MaintenanceBegan {
        /// How long the cache will be away.
        length: Duration,
    },
    /// The maintenance ended.
    MaintenanceEnded,
    /// Both nodes of a shard went down.
    ShardLost {
        /// The lowest slot of the shard.
        shard: u16,
        /// How long it is down.
        length: Duration,
    },
    /// The shard is back.
    ShardRestored {
        /// The lowest slot of the shard.
        shard: u16,
    },
    /// The replica of a shard became its primary, as planned.
    FailedOver {
        /// The lowest slot of the shard.
        shard: u16,
        /// The port of the new primary.
        port: u16,
    },
    /// Maintenance of the primary of a shard is announced.
    ShardMaintenanceBegan {
        /// The lowest slot of the shard.
        shard: u16,
    },
}

/// A kind of outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are closed and refused, as when a node restarts.
    Refused,
    /// Connections stay open without replies, as when a network path breaks.
    BlackHole,
    /// Connections are closed, and new ones too, as behind a load balancer without a node.
    Closed,
}

impl Outage {
    /// Every kind, in the order in which the demo plays them.
    pub const ALL: [Self; 3] = [Self::Refused, Self::BlackHole, Self::Closed];
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connections refused",
            Self::BlackHole => "no replies",
            Self::Closed => "connections closed",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = |f: &mut fmt::Formatter<'_>, expires_in: &Option<Duration>| match expires_in {
            Some(time) => write!(f, ", token valid for {} s", time.as_secs()),
            None => Ok(()),
        };
        match self {
            Self::TokenIssued { object_id, lifetime } => {
                write!(
                    f,
                    "token issued for {}, valid for {} s",
                    object_id.as_deref().unwrap_or("no user"),
                    lifetime.as_secs()
                )
            }
            Self::SignedIn { client, expires_in } => {
                write!(f, "client {client} signed in")?;
                lasting(f, expires_in)
            }
            Self::Reauthenticated { client, expires_in } => {
                write!(f, "client {client} re-authenticated on its open connection")?;
                lasting(f, expires_in)
            }
            Self::Rejected { client, rejection } => {
                write!(f, "sign-in of client {client} rejected: {rejection}")
            }
            Self::Expired { client } => write!(f, "client {client} disconnected: its token expired"),
            Self::OutageBegan { outage, length } => {
                write!(f, "outage: {outage} for {:.1} s", length.as_secs_f64())
            }
            Self::OutageEnded => f.write_str("outage over"),
            Self::MaintenanceBegan { length } => {
                write!(f, "maintenance announced; the cache will be away for {:.1} s", length.as_secs_f64())
            }
            Self::MaintenanceEnded => f.write_str("maintenance over"),
            Self::ShardLost { shard, length } => {
                write!(f, "outage: both nodes of shard {shard} down for {:.1} s", length.as_secs_f64())
            }
            Self::ShardRestored { shard } => write!(f, "outage over: shard {shard} is back"),
            Self::FailedOver { shard, port } => {
                write!(f, "planned failover of shard {shard}: the primary is now at port {port}")
            }
            Self::ShardMaintenanceBegan { shard } => {
                write!(f, "maintenance of shard {shard} announced; its replica will take over")
            }
        }
    }
}
