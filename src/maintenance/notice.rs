//! A notice, whoever sent it.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::{Duration, SystemTime};

use super::event::Event;
use crate::connection::push::{Argument, Push};
use crate::excerpt::excerpt;
use crate::target::Endpoint;

/// How much of a notice is kept for people, in characters.
const MAX_DETAIL: usize = 300;

/// One notice, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it reports. [`Event::Other`] if the content is wrong.
    pub(super) event: Event,
    /// The notice on one line, for people.
    pub(super) detail: Box<str>,
    /// Equal for the same notice on several connections.
    pub(super) identity: u64,
    /// The place of the event in its database.
    pub(super) sequence: Option<i64>,
    /// The announced duration; zero if there is none.
    pub(super) seconds: Duration,
    /// The announced start.
    pub(crate) start: Option<SystemTime>,
    /// Where the endpoint moves.
    pub(super) endpoint: Option<Endpoint>,
}

/// What a client should do about an endpoint that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Equal for the same move.
    pub identity: u64,
    /// The new endpoint. `None` is the configured host.
    pub endpoint: Option<Endpoint>,
    /// How long to wait before a new connection is opened: the name may still lead to the old node.
    pub wait: Duration,
}

impl Notice {
    /// Returns the notice that `push` is. `None` if it is none, such as the reply to SUBSCRIBE.
    #[must_use]
    pub fn of_push(push: &Push) -> Option<Self> {
        match push {
            Push::Unreadable => Some(Self::other("a push that cannot be read")),
            Push::Read { name, arguments } => match (name.as_str(), arguments.as_slice()) {
                ("message", [Argument::Text(channel), message]) if channel == super::AZURE_CHANNEL => {
                    Some(match message {
                        Argument::Text(payload) => super::azure::read(payload),
                        _ => Self::other("a message without text"),
                    })
                }
                _ if is_of_redis(name) => None,
                _ => Some(super::pushed::read(name, arguments)),
            },
        }
    }

    /// Returns a notice with nothing but an event, described by `detail`.
    pub(super) fn new(event: Event, detail: &str) -> Self {
        Self {
            event,
            detail: excerpt(detail, MAX_DETAIL).into(),
            identity: hash(&(event as usize, detail)),
            sequence: None,
            seconds: Duration::ZERO,
            start: None,
            endpoint: None,
        }
    }

    pub(super) fn other(detail: &str) -> Self {
        Self::new(Event::Other, detail)
    }

    /// Returns the notice with a number. Events with the same number are the same, whatever else they contain.
    pub(super) fn with_sequence(self, sequence: i64) -> Self {
        Self { identity: hash(&(self.event as usize, sequence)), sequence: Some(sequence), ..self }
    }

    /// Returns the notice on one line, for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns what to do if the connection's endpoint moves.
    #[must_use]
    pub fn moving(&self) -> Option<Moving> {
        (self.event == Event::Moving).then(|| Moving {
            identity: self.identity,
            endpoint: self.endpoint.clone(),
            wait: if self.endpoint.is_some() { Duration::ZERO } else { self.seconds / 2 },
        })
    }
}

/// Whether Redis itself sends pushes called `name`, which are not about maintenance.
fn is_of_redis(name: &str) -> bool {
    [
        "message",
        "pmessage",
        "smessage",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
        "invalidate",
    ]
    .contains(&name)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
