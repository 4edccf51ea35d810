//! Maintenance notices: which of them a connection has asked for, and what is sent out of band.
//!
//! The front handles the requests itself, because a backend has nothing to announce.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::frame::Command;

/// The channel to which Azure Cache for Redis publishes.
pub(super) const CHANNEL: &str = "AzureRedisEvents";

/// How many notices wait for a slow connection.
pub(super) const MAX_WAITING: usize = 1024;

/// How the cache announces maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announcing {
    /// As Azure Cache for Redis: on the channel `AzureRedisEvents`, for connections that speak RESP3.
    #[default]
    Channel,
    /// As Redis Enterprise: by pushes, for connections that have sent `CLIENT MAINT_NOTIFICATIONS ON`.
    Pushes,
    /// Not at all; the backend refuses the requests.
    Nothing,
}

/// Bytes to send out of band to each connection that has asked for notices.
pub(super) type Frame = Arc<[u8]>;

/// What one connection has asked for.
pub(super) struct Subscription {
    frames: broadcast::Receiver<Frame>,
    speaks_resp3: bool,
    has_asked: bool,
}

impl Subscription {
    pub(super) fn new(frames: broadcast::Receiver<Frame>) -> Self {
        Self { frames, speaks_resp3: false, has_asked: false }
    }

    /// Executes a request for notices. Returns `None` if `command` is another one, or is not known here.
    pub(super) fn execute(&mut self, command: &Command, announcing: Announcing) -> Option<Vec<u8>> {
        let is = |words: &str| command.matches(words);
        let reply = match announcing {
            Announcing::Channel if is("SUBSCRIBE") && command.text(1) == CHANNEL => {
                format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{CHANNEL}\r\n:1\r\n", CHANNEL.len()).into_bytes()
            }
            Announcing::Pushes if is("CLIENT MAINT_NOTIFICATIONS ON") => b"+OK\r\n".to_vec(),
            _ => return None,
        };
        self.speaks_resp3.then(|| {
            self.has_asked = true;
            reply
        })
    }

    /// Notes the protocol that HELLO has agreed on.
    pub(super) fn replied(&mut self, command: &Command, reply: &[u8]) {
        if command.matches("HELLO") && !reply.starts_with(b"-") {
            self.speaks_resp3 = reply.starts_with(b"%");
        }
    }

    /// Waits for bytes to send out of band. Cancel safe.
    pub(super) async fn next(&mut self) -> Frame {
        loop {
            match self.frames.recv().await {
                Ok(frame) if self.has_asked => return frame,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// Returns `payload` as a message on the channel.
pub(super) fn message(payload: &str) -> Frame {
    let (channel, length) = (CHANNEL.len(), payload.len());
    format!(">3\r\n$7\r\nmessage\r\n${channel}\r\n{CHANNEL}\r\n${length}\r\n{payload}\r\n")
        .into_bytes()
        .into()
}
