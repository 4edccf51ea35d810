//! What can be made to go wrong with the cache. Values; `connection.rs` and `front.rs` act on them.

use std::time::Duration;

use crate::frame::Command;
use crate::store;

/// Everything that is wrong with the cache at the moment. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// What becomes of new connections.
    pub admission: Admission,
    /// Nothing is read or written on any connection, old or new; all of them stay open and go on afterwards.
    pub black_hole: bool,
    /// How long each command waits.
    pub latency: Duration,
    /// Replies come in pieces.
    pub pieces: Option<Pieces>,
    /// What is wrong with single commands. The first that matches counts.
    pub commands: Vec<CommandFault>,
}

/// What becomes of new connections.
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
    /// They are told that there are too many clients, and closed.
    TooManyClients,
}

/// How a connection ends. Neither comes with a TLS alert: the caches close without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With FIN.
    #[default]
    Close,
    /// With RST.
    Reset,
}

/// Replies cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes in a piece.
    pub size: usize,
    /// Pause after each.
    pub pause: Duration,
}

/// What is wrong with one command.
#[derive(Clone, Debug)]
pub struct CommandFault {
    /// The first words of the command, as in `GET` or `CLIENT LIST`; `*` is every command, `AUTH` included.
    pub command: String,
    /// How long it waits, beside [`Faults::latency`].
    pub delay: Duration,
    /// What it is answered with; `None` lets the cache answer.
    pub answer: Option<Answer>,
    /// How often, after which the fault is gone; `None` is always.
    pub times: Option<u32>,
}

impl CommandFault {
    /// `command` is answered with `answer`, always.
    #[must_use]
    pub fn answered(command: &str, answer: Answer) -> Self {
        Self { command: command.to_owned(), delay: Duration::ZERO, answer: Some(answer), times: None }
    }

    /// `command` waits for `delay`, always.
    #[must_use]
    pub fn delayed(command: &str, delay: Duration) -> Self {
        Self { command: command.to_owned(), delay, answer: None, times: None }
    }

    /// The same, but only `times` times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// What a command is answered with, in the cache's place.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These bytes, RESP or not.
    Raw(Vec<u8>),
    /// These bytes (part of a reply, or none), then the end of the connection.
    Cut(Vec<u8>, Ending),
    /// A reply that never ends.
    Endless,
    /// Nothing; the connection stays open and its next command is not read.
    Silence,
}

impl Answer {
    /// An error reply with `words`, such as `LOADING Redis is loading the dataset in memory`.
    #[must_use]
    pub fn error(words: &str) -> Self {
        Self::Raw(store::error(words))
    }
}

/// What a command meets.
#[derive(Debug, Default)]
pub(super) struct Encounter {
    pub(super) delay: Duration,
    pub(super) answer: Option<Answer>,
}

impl Faults {
    /// What `command` meets now; uses up one of a fault's times.
    pub(super) fn meet(&mut self, command: &Command) -> Encounter {
        let latency = self.latency;
        let Some(index) = self.commands.iter().position(|fault| command.matches(&fault.command)) else {
            return Encounter { delay: latency, answer: None };
        };
        let fault = &mut self.commands[index];
        let met = Encounter { delay: latency + fault.delay, answer: fault.answer.clone() };
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.commands.remove(index);
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_with_times_is_gone_after_them() {
        let mut faults = Faults { latency: Duration::from_millis(1), ..Faults::default() };
        let stale = Answer::Raw(b"$5\r\nstale\r\n".to_vec());
        faults.commands.push(CommandFault::answered("GET", stale).times(2));
        faults.commands.push(CommandFault::delayed("*", Duration::from_millis(5)));
        let get = Command::new(&["get", "k"]);
        for _ in 0..2 {
            assert!(faults.meet(&get).answer.is_some());
        }
        let met = faults.meet(&get);
        assert!(met.answer.is_none());
        assert_eq!(met.delay, Duration::from_millis(6));
    }
}
