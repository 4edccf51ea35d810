//! The faults of the cache. Values only; `connection.rs` and `session.rs` act on them.

use std::time::Duration;

use crate::frame::Command;
use crate::reply::{Protocol, Reply};

/// The faults of the cache at the moment; none by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How new connections are treated.
    pub admission: Admission,
    /// Nothing is read or written on any connection, old or new. All of them stay open and continue afterwards.
    pub black_hole: bool,
    /// How long each command is delayed.
    pub latency: Duration,
    /// How replies are split.
    pub pieces: Option<Pieces>,
    /// Faults of single commands. The first match applies.
    pub commands: Vec<CommandFault>,
}

/// How new connections are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// They are served.
    #[default]
    Serve,
    /// They are refused: the port is closed.
    Refuse,
    /// They are accepted and never answered, so a TLS handshake stalls.
    Hang,
    /// They are accepted and ended at once.
    HangUp(Ending),
    /// They get Redis' error for too many clients, and are closed.
    TooManyClients,
}

/// How a connection ends. Neither way sends a TLS alert, as the real caches send none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With FIN.
    #[default]
    Close,
    /// With RST.
    Reset,
}

/// Replies split into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes in a piece.
    pub size: usize,
    /// Pause after each.
    pub pause: Duration,
}

/// A fault of one command.
#[derive(Clone, Debug)]
pub struct CommandFault {
    /// The first words of the command, as in `GET` or `CLIENT LIST`; `*` matches every command, `AUTH` included.
    pub command: String,
    /// How long it is delayed, in addition to [`Faults::latency`].
    pub delay: Duration,
    /// The reply instead of the cache's own.
    pub reply: Option<FaultReply>,
    /// After how many commands the fault is gone; `None` for never.
    pub times: Option<u32>,
}

impl CommandFault {
    /// Replies to every `command` with `reply`.
    #[must_use]
    pub fn replied(command: &str, reply: FaultReply) -> Self {
        Self { command: command.to_owned(), delay: Duration::ZERO, reply: Some(reply), times: None }
    }

    /// Delays every `command` by `delay`.
    #[must_use]
    pub fn delayed(command: &str, delay: Duration) -> Self {
        Self { command: command.to_owned(), delay, reply: None, times: None }
    }

    /// Limits the fault to the next `times` commands.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// A reply instead of the cache's own.
#[derive(Clone, Debug)]
pub enum FaultReply {
    /// These bytes, RESP or not.
    Raw(Vec<u8>),
    /// These bytes (part of a reply, or none), then the end of the connection.
    Cut(Vec<u8>, Ending),
    /// A line that never ends.
    Endless,
    /// Nothing. The connection stays open and its next command is not read.
    Silence,
}

impl FaultReply {
    /// Returns an error reply with `words`, such as `LOADING Redis is loading the dataset in memory`.
    #[must_use]
    pub fn error(words: &str) -> Self {
        Self::Raw(Reply::error(words).encode(Protocol::Resp2))
    }
}

/// The effect of the faults on one command.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) delay: Duration,
    pub(super) reply: Option<FaultReply>,
}

impl Faults {
    /// Returns the effect on `command`, and counts it where a fault is limited.
    pub(super) fn effect_on(&mut self, command: &Command) -> Effect {
        let latency = self.latency;
        let Some(index) = self.commands.iter().position(|fault| command.matches(&fault.command)) else {
            return Effect { delay: latency, reply: None };
        };
        let fault = &mut self.commands[index];
        let effect = Effect { delay: latency + fault.delay, reply: fault.reply.clone() };
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.commands.remove(index);
            }
        }
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_with_times_is_gone_after_them() {
        let mut faults = Faults { latency: Duration::from_millis(1), ..Faults::default() };
        let stale = FaultReply::Raw(b"$5\r\nstale\r\n".to_vec());
        faults.commands.push(CommandFault::replied("GET", stale).times(2));
        faults.commands.push(CommandFault::delayed("*", Duration::from_millis(5)));
        let get = Command::new(&["get", "k"]);
        for _ in 0..2 {
            assert!(faults.effect_on(&get).reply.is_some());
        }
        let effect = faults.effect_on(&get);
        assert!(effect.reply.is_none());
        assert_eq!(effect.delay, Duration::from_millis(6));
    }
}
