//! The prober of one target: its link, which is probed at every tick (`link.rs`), and the companion, which opens
//! connections beside it (`companion.rs`). What a link finds out becomes the target's outcome in `whole.rs`.

mod asking;
mod cluster;
mod companion;
mod connections;
mod directions;
mod early;
mod fallback;
mod handover;
mod key;
mod ledger;
mod link;
mod link_record;
mod links;
mod listing;
mod logged;
mod maintenance;
mod memory;
mod new_connections;
mod opening;
mod record;
mod replacement;
mod replicas;
mod roles;
mod round;
mod schedule;
#[cfg(test)]
mod seeds;
mod shared;
mod signals;
mod survey;
mod ticks;
mod whole;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::identity::sign_in::SignIn;
use crate::lock::lock;
use crate::metrics::TargetMetrics;
use crate::probe::{FailureReason, Outcome, PhaseTimes};
use crate::status::TargetStatus;
use crate::target::{ClusterMode, Target};
use crate::topology::SlotSet;
use cluster::{Coordinator, uncovered};
use fallback::Fallback;
use ledger::Limits;
use link::Link;
use links::Links;
use maintenance::Maintenance;
pub use memory::TargetMemory;
use opening::Opener;
use record::Record;
pub(crate) use schedule::offset;
use schedule::{Grid, Schedule};
use shared::Shared;
use survey::{Survey, survey};

/// How long the configured host may take to answer before shards that earlier probers have reached are connected to without it.
const HOST_PATIENCE: Duration = Duration::from_secs(1);

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
    /// What earlier probers of the target have reached.
    pub memory: TargetMemory,
}

/// Probes one target.
pub struct Prober<D: Dial> {
    target: Arc<Target>,
    links: Box<Links<D>>,
    /// The link to the configured host.
    front: Box<Link<D>>,
    /// How many ticks [`Self::probe`] has let come due.
    probes: u64,
}

/// What a probe found, with what only an interactive user wants to see of it.
#[derive(Debug)]
pub struct Probed {
    /// What a tick is worth.
    pub outcome: Outcome,
    /// The clients, where `CLIENT LIST` ran and was allowed.
    pub clients: Option<ClientList>,
}

impl<D: Dial<Stream: 'static> + 'static> Prober<D> {
    /// Creates a prober that has done nothing yet.
    pub fn new(setup: Setup<D>) -> Self {
        let Setup { target, dialer, sign_in, clock, rng, metrics, status, instance, offset, started, memory } =
            setup;
        let limits = Limits {
            attempts: target.attempts.get(),
            connect_timeout: target.connect_timeout,
            startup_ends: started + target.startup_grace,
        };
        let record = Record::new(target.name.clone(), clock.clone(), metrics, status);
        let host = target.server.host().filter(|_| target.cluster.mode != ClusterMode::Off);
        let shared = Arc::new(Shared::new(record, memory, host));
        let opener = Opener {
            target: Arc::clone(&target),
            dialer,
            sign_in,
            clock,
            offset,
            had_credentials: false,
            fallback: Fallback::default(),
            is_to_replica: false,
            completed: PhaseTimes::default(),
        };
        let maintenance = shared.record(|record| Maintenance::new(&target, record));
        let mut links = Box::new(Links::new(opener, instance, limits, shared, maintenance, rng));
        Self { front: links.front(0), links, probes: 0, target }
    }

    /// Runs until it is dropped; the first tick is at `first`.
    pub async fn run(mut self, first: Instant) -> Infallible {
        let interval = self.target.interval;
        let shared = Arc::clone(&self.links.shared);
        shared.record(|record| record.started(interval));
        shared.signals.search(false);
        shared.note(|whole, _| whole.await_cluster());
        let grid = Grid { interval, first };
        self.front.start(Schedule::starting(grid));
        let companion = self.front.companion(self.links.rng.fork());
        let handover = self.front.handover();
        let Self { links, mut front, .. } = self;
        let links = Mutex::new(links);
        let make = || lock(&links);
        let probing = async {
            loop {
                tokio::select! {
                    biased;
                    never = front.run() => return never,
                    () = shared.signals.until_front(true) => {}
                }
                drop(front);
                handover.retire();
                shared.signals.until_front(false).await;
                let schedule = Schedule::after(grid, Instant::now());
                front = make().front(schedule.number());
                front.succeed(Arc::clone(&handover));
                front.start(schedule);
                front.begin();
            }
        };
        let coordinator = || {
            let links = make().fork();
            // Only links to a host tell that it is a cluster.
            let host = links.target.server.host().cloned()?;
            // Boxed here, so that targets without one have no place for what it is made of.
            Some(Box::pin(Coordinator::new(links, host, grid).run()))
        };
        let are_shards_known = shared.note(|whole, _| whole.excuses_host());
        let shards = async {
            tokio::select! {
                () = shared.signals.until_cluster() => {}
                () = sleep(HOST_PATIENCE), if are_shards_known => shared.signals.is_cluster(),
            }
            match coordinator() {
                Some(running) => running.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            never = probing => never,
            never = Box::new(companion).run() => never,
            never = shards => never,
        }
    }

    /// Probes once with each key, attempts included. Opens the connection first if there is none. Of a cluster, every shard is
    /// probed on a new connection, and one that cannot be reached has failed. Then asks for maintenance notices.
    pub async fn probe(&mut self) -> Probed {
        let shared = Arc::clone(&self.links.shared);
        shared.record(Record::quiet);
        shared.signals.search(false);
        let probed = self.probe_all(&shared).await;
        self.front.ask_for_notices().await;
        probed
    }

    async fn probe_all(&mut self, shared: &Shared) -> Probed {
        let mut probed = self.probe_host().await;
        if !shared.signals.knows_cluster() {
            return self.probe_other_keys(probed).await;
        }
        let started = Instant::now();
        match survey(&mut self.front, &mut self.links, self.probes - 1).await {
            Survey::Done { result, steps } => {
                probed.outcome.result = result;
                probed.outcome.steps.add_missing(steps);
            }
            Survey::Unreachable => {}
            found @ (Survey::OneNode(_) | Survey::NoSlots) => {
                // Nobody else probes the keys that were left to shards.
                shared.signals.search(true);
                let again = self.probe_host().await;
                let Probed { mut outcome, clients } = self.probe_other_keys(again).await;
                outcome.phases = probed.outcome.phases;
                outcome.result = match (found, outcome.result) {
                    (Survey::NoSlots, Err(failure)) if failure.reason == FailureReason::ClusterDown => {
                        Err(uncovered(&SlotSet::all()))
                    }
                    (Survey::OneNode(result), Ok(())) | (_, result) => result,
                };
                probed = Probed { outcome, clients };
            }
        }
        probed.outcome.duration += started.elapsed();
        probed
    }

    /// Probes the configured host with its other keys, which are spread over the slots, until one fails.
    async fn probe_other_keys(&mut self, mut probed: Probed) -> Probed {
        self.front.lists_no_clients();
        for _ in 1..self.target.keys.get() {
            if probed.outcome.result.is_err() {
                break;
            }
            let Outcome { result, attempts, duration, steps, .. } = self.probe_host().await.outcome;
            probed.outcome.duration += duration;
            if result.is_err() {
                (probed.outcome.result, probed.outcome.attempts, probed.outcome.steps) =
                    (result, attempts, steps);
            }
        }
        probed
    }

    /// Probes the configured host.
    async fn probe_host(&mut self) -> Probed {
        loop {
            let clients = self.front.probe(self.probes).await;
            self.probes += 1;
            if let Some(outcome) = self.links.shared.record(Record::take_outcome) {
                return Probed { outcome, clients };
            }
        }
    }
}

#[cfg(test)]
mod tests;
