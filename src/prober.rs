//! The prober of one target: its link, which is probed at every tick (`link.rs`), and the companion, which opens
//! connections beside it (`companion.rs`).

mod companion;
mod fallback;
mod handover;
mod key;
mod ledger;
mod link;
mod listing;
mod logged;
mod new_connections;
mod opening;
mod record;
mod replacement;
mod roles;
mod round;
mod schedule;
#[cfg(test)]
mod seeds;
mod ticks;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::identity::sign_in::SignIn;
use crate::metrics::TargetMetrics;
use crate::probe::Outcome;
use crate::status::TargetStatus;
use crate::target::Target;
use fallback::Fallback;
use key::Key;
use ledger::{Ledger, Limits};
use link::Link;
use opening::Opener;
use record::Record;
use round::Rounds;
use ticks::Ticks;

/// Everything that a prober is made of.
pub struct Setup<D> {
    /// What is probed.
    pub target: Arc<Target>,
    /// Opens its connections.
    pub dialer: D,
    /// Where its credentials come from.
    pub sign_in: SignIn,
    /// Tells the time of outcomes, and whether a token has ended.
    pub clock: Clock,
    /// The source of jitter, of the key's suffix and of what is written.
    pub rng: fastrand::Rng,
    /// What is counted.
    pub metrics: TargetMetrics,
    /// What is shown.
    pub status: TargetStatus,
    /// Names this process in the key that is written.
    pub instance: Arc<str>,
    /// How long after others of its identity it opens its connection when the first token comes.
    pub offset: Duration,
    /// When the process started.
    pub started: Instant,
}

/// Probes one target.
pub struct Prober<D: Dial> {
    target: Arc<Target>,
    /// The link to the configured host.
    front: Link<D>,
    rng: fastrand::Rng,
}

/// What a probe found, with what only an interactive user wants to see of it.
#[derive(Debug)]
pub struct Probed {
    /// What a tick is worth.
    pub outcome: Outcome,
    /// The clients, where `CLIENT LIST` ran and was allowed.
    pub clients: Option<ClientList>,
}

impl<D: Dial> Prober<D> {
    /// Creates a prober that has done nothing yet.
    pub fn new(setup: Setup<D>) -> Self {
        let Setup { target, dialer, sign_in, clock, mut rng, metrics, status, instance, offset, started } =
            setup;
        let limits = Limits {
            attempts: target.attempts.get(),
            connect_timeout: target.connect_timeout,
            startup_ends: started + target.startup_grace,
        };
        let record = Record::new(target.name.clone(), clock.clone(), metrics, status);
        let key = Key::new(target.key.clone(), instance, &mut rng);
        let opener = Opener {
            target: Arc::clone(&target),
            dialer,
            sign_in,
            clock,
            offset,
            had_credentials: false,
            fallback: Fallback::default(),
        };
        let rounds = Rounds::new(Arc::clone(&target), key, rng.fork());
        let ticks = Ticks::new(Ledger::new(limits, rng.fork()), record);
        Self { front: Link::new(opener, rounds, ticks, rng.fork()), target, rng }
    }

    /// Runs until it is dropped; the first tick is at `first`.
    pub async fn run(mut self, first: Instant) -> Infallible {
        let ticks = self.front.ticks();
        ticks.record().started(self.target.interval);
        ticks.start(self.target.interval, first);
        let companion = self.front.companion(self.rng.fork());
        tokio::select! {
            biased;
            never = self.front.run() => never,
            never = Box::new(companion).run() => never,
        }
    }

    /// Probes once, attempts included. Opens the connection first if there is none.
    pub async fn probe(&mut self) -> Probed {
        self.front.ticks().record().quiet();
        self.front.probe().await
    }
}

#[cfg(test)]
mod tests;
