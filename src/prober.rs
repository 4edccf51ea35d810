//! The prober of one target: its link, which is probed at every tick (`link.rs`), and the companion, which opens
//! connections beside it (`companion.rs`). What a link finds out becomes the target's outcome in `whole.rs`.

mod asking;
mod companion;
mod early;
mod fallback;
mod handover;
mod key;
mod ledger;
mod link;
mod link_record;
mod listing;
mod logged;
mod maintenance;
mod new_connections;
mod opening;
mod record;
mod replacement;
mod roles;
mod round;
mod schedule;
#[cfg(test)]
mod seeds;
mod shared;
mod ticks;
#[allow(dead_code, reason = "targets have one link until clusters are asked for their shards")]
mod whole;

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
use link_record::LinkRecord;
use maintenance::Maintenance;
use opening::Opener;
use record::Record;
use round::Rounds;
use schedule::{Grid, Schedule};
use shared::Shared;
use ticks::Ticks;
use whole::{LinkId, Part};

/// The link to the configured host.
const FRONT: LinkId = LinkId(0);

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
    shared: Arc<Shared>,
    /// How many ticks [`Self::probe`] has let come due.
    probes: u64,
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
        let shared = Arc::new(Shared::new(Record::new(target.name.clone(), clock.clone(), metrics, status)));
        shared.note(|whole, _| whole.join(FRONT, Part::Front, 0));
        let key = Key::new(target.key.clone(), instance, target.keys, &mut rng);
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
        let maintenance = shared.record(|record| Maintenance::new(&target, record));
        let ticks = Ticks::new(Ledger::new(limits, rng.fork()), LinkRecord::new(FRONT, Arc::clone(&shared)));
        let front = Link::new(opener, rounds, ticks, rng.fork(), maintenance);
        Self { front, shared, probes: 0, target, rng }
    }

    /// Runs until it is dropped; the first tick is at `first`.
    pub async fn run(mut self, first: Instant) -> Infallible {
        let interval = self.target.interval;
        self.shared.record(|record| record.started(interval));
        self.front.start(Schedule::starting(Grid { interval, first }));
        let companion = self.front.companion(self.rng.fork());
        tokio::select! {
            biased;
            never = self.front.run() => never,
            never = Box::new(companion).run() => never,
        }
    }

    /// Probes once, attempts included. Opens the connection first if there is none.
    pub async fn probe(&mut self) -> Probed {
        self.shared.record(Record::quiet);
        loop {
            let clients = self.front.probe(self.probes).await;
            self.probes += 1;
            if let Some(outcome) = self.shared.record(Record::take_outcome) {
                return Probed { outcome, clients };
            }
        }
    }
}

#[cfg(test)]
mod tests;
