//! The phases of opening a connection, and how long each took.

use std::time::Duration;

use super::compact::Compact;
use crate::closed_set::closed_set;

closed_set! {
    /// A phase of opening a connection, in order: the label `phase`.
    pub enum Phase {
        /// The credentials are obtained: the identity's newest token, or the secret in its file. Skipped without an
        /// identity.
        Token = "token",
        /// The host name is resolved to addresses, again for each connection.
        Resolve = "resolve",
        /// TCP connects to the host's addresses. Attempts overlap (RFC 8305), and the first connection is kept.
        Connect = "connect",
        /// The TLS handshake runs, and the certificate is checked against the host name.
        Tls = "tls",
        /// `HELLO` signs in and names the connection, and `PING` is answered, in one round trip. If the server does not
        /// know `HELLO`, it gets `AUTH`.
        Auth = "auth",
    }
}

/// The duration of each phase; `None` if it was not reached or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes([Option<Compact>; Phase::ALL.len()]);

impl PhaseTimes {
    /// Returns the duration of `phase`, if it completed.
    #[must_use]
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize].map(Compact::get)
    }

    /// Records that `phase` completed in `duration`.
    pub fn set(&mut self, phase: Phase, duration: Duration) {
        self.0[phase as usize] = Some(Compact::new(duration));
    }

    /// Adds the durations of `later` phases of the same opening.
    pub fn add(&mut self, later: &Self) {
        for (phase, duration) in later.iter() {
            self.set(phase, self.get(phase).unwrap_or_default() + duration);
        }
    }

    /// Iterates over the completed phases, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_completed_phases_are_listed() {
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Connect, Duration::from_millis(2));
        assert_eq!(phases.iter().collect::<Vec<_>>(), [(Phase::Connect, Duration::from_millis(2))]);
        let mut twice = phases;
        twice.add(&phases);
        assert_eq!(twice.get(Phase::Connect), Some(Duration::from_millis(4)));
    }
}
