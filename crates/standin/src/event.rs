//! What happens in the stand-in, for the demo to print and for tests to count. No secrets in it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::authority::Rejection;

/// Is told each event as it happens. It must return at once.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// Something that happened. `client` is the number of a connection to the cache; with the store in memory it is also
/// the client's id in `CLIENT LIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The identity endpoint gave out a new token.
    TokenMinted {
        /// The identity's object id; `None` where a fault left it out.
        object_id: Option<Arc<str>>,
        /// How long the token is good for.
        lifetime: Duration,
    },
    /// A connection signed in for the first time.
    SignedIn {
        /// The connection.
        client: u64,
        /// How long the session lasts; `None` with an access key.
        expires_in: Option<Duration>,
    },
    /// A connection that was signed in presented a new token: its deadline has moved.
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
    /// A connection was closed, because the token it had signed in with has expired.
    Expired {
        /// The connection.
        client: u64,
    },
    /// The cache goes away.
    OutageBegan {
        /// In which way.
        outage: Outage,
        /// For how long.
        length: Duration,
    },
    /// The cache is back.
    OutageEnded,
}

/// A way to be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are closed and refused, as when a node restarts.
    Refused,
    /// Nothing answers and nothing is closed, as when a network path breaks.
    BlackHole,
    /// Connections are closed, and new ones too, as behind a load balancer without a node.
    Closed,
}

impl Outage {
    /// Every way, in the order in which they are played.
    pub const ALL: [Self; 3] = [Self::Refused, Self::BlackHole, Self::Closed];
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connections refused",
            Self::BlackHole => "no answers",
            Self::Closed => "connections closed",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = |f: &mut fmt::Formatter<'_>, expires_in: &Option<Duration>| match expires_in {
            Some(time) => write!(f, ", good for {} s", time.as_secs()),
            None => Ok(()),
        };
        match self {
            Self::TokenMinted { object_id, lifetime } => {
                write!(
                    f,
                    "token for {} minted, good for {} s",
                    object_id.as_deref().unwrap_or("nobody"),
                    lifetime.as_secs()
                )
            }
            Self::SignedIn { client, expires_in } => {
                write!(f, "client {client} signed in")?;
                lasting(f, expires_in)
            }
            Self::Reauthenticated { client, expires_in } => {
                write!(f, "client {client} re-authenticated on its live connection")?;
                lasting(f, expires_in)
            }
            Self::Rejected { client, rejection } => write!(f, "client {client} rejected: {rejection}"),
            Self::Expired { client } => write!(f, "client {client} closed: its token expired"),
            Self::OutageBegan { outage, length } => {
                write!(f, "cache taken away for {:.1} s: {outage}", length.as_secs_f64())
            }
            Self::OutageEnded => f.write_str("cache is back"),
        }
    }
}
