//! The loop of one link: a round at every tick on a connection that is kept, and reopened when it is lost.
//!
//! The loop carries out what the ledger (`ledger.rs`) asks for and reports to it what happens. Everything is awaited
//! through `ticks.rs`, so that no tick goes unnoticed. Only timeouts and the peer end what is under way.

mod event;
mod notices;
mod reauthentication;
mod role;
mod round;
mod takeover;
mod topology;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use self::event::{Event, next_event};
pub(super) use self::topology::hosts;
use self::topology::{elsewhere, next_direction, next_direction_from};
use super::companion::Companion;
use super::directions::Directions;
use super::early::EarlyConnection;
use super::handover::Handover;
use super::ledger::{Fact, Measurements};
use super::maintenance::LinkMaintenance;
use super::opening::{Connection, Opened, Opener, blame_credentials};
use super::roles::Roles;
use super::round::{Clients, Rounds};
use super::schedule::Schedule;
use super::shared::Shared;
use super::signals::Connected;
use super::ticks::Ticks;
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::log_budget::LogBudget;
use crate::probe::{Failure, FailureReason, Mode, PhaseTimes};
use crate::target::{ClusterMode, Endpoint, Protocol};

/// One kept connection, with its rounds and its ledger.
pub(super) struct Link<D: Dial> {
    opener: Opener<D>,
    /// Where it leads to. `None` if sentinels say that.
    endpoint: Option<Endpoint>,
    /// The address at which the configured host was connected to last.
    host_address: Option<SocketAddr>,
    /// Where it is to lead to, if that may change.
    directions: Option<Arc<Directions>>,
    shared: Arc<Shared>,
    connection: Option<Connection<D::Stream>>,
    /// Reports to the coordinator that there is a connection.
    connected: Option<Connected>,
    /// Shows `connection` to those beside the link, and brings its replacement.
    handover: Arc<Handover<D::Stream>>,
    rounds: Rounds,
    /// Whether a round has succeeded since a server was last left as the wrong one. The next one that says so was demoted,
    /// even if its connection is new: a failover may close the one before.
    has_served: bool,
    ticks: Ticks,
    roles: Roles,
    rng: fastrand::Rng,
    /// `None` if nothing is ever asked for.
    maintenance: Option<Box<LinkMaintenance>>,
    early: EarlyConnection<D>,
    /// When it began, as long as it has opened no connection.
    unopened_since: Option<Instant>,
    /// For redirections.
    log: LogBudget,
    /// For connections that take over, which the server can bring about.
    replacements: LogBudget,
}

impl<D: Dial> Link<D> {
    /// Creates a link that has done nothing yet.
    pub(super) fn new(
        mut opener: Opener<D>,
        endpoint: Option<Endpoint>,
        directions: Option<Arc<Directions>>,
        rounds: Rounds,
        ticks: Ticks,
        rng: fastrand::Rng,
        maintenance: Option<Box<LinkMaintenance>>,
    ) -> Self {
        if directions.is_some()
            && let Some(endpoint) = &endpoint
        {
            opener.dialer = opener.dialer.to(endpoint.clone());
        }
        Self {
            opener,
            endpoint,
            host_address: None,
            directions,
            shared: Arc::clone(ticks.record().shared()),
            connection: None,
            connected: None,
            handover: Arc::default(),
            rounds,
            has_served: false,
            ticks,
            roles: Roles::default(),
            rng,
            maintenance,
            early: EarlyConnection::default(),
            unopened_since: Some(Instant::now()),
            log: LogBudget::default(),
            replacements: LogBudget::default(),
        }
    }

    /// Lets the link lead to a replica of a shard. Nobody needs notices from there.
    pub(super) fn is_to_replica(&mut self) {
        self.opener.is_to_replica = true;
        self.maintenance = None;
    }

    /// Lets no round list the clients from now on.
    pub(super) const fn lists_no_clients(&mut self) {
        self.rounds.clients = Clients::Ignored;
    }

    /// Returns the companion that opens connections beside this link.
    pub(super) fn companion(&self, rng: fastrand::Rng) -> Companion<D> {
        Companion::new(self.opener.clone(), rng, self.ticks.record().shared(), Arc::clone(&self.handover))
    }

    /// Returns where the link shows its connection, for one that follows it.
    pub(super) fn handover(&self) -> Arc<Handover<D::Stream>> {
        Arc::clone(&self.handover)
    }

    /// Lets the link show its connection where the one before it did.
    pub(super) fn succeed(&mut self, handover: Arc<Handover<D::Stream>>) {
        self.handover = handover;
    }

    /// Lets ticks come due.
    pub(super) const fn start(&mut self, schedule: Schedule) {
        self.ticks.start(schedule);
    }

    /// Opens the connection at `at`, probes for the first time, and then at every tick. Runs until it is dropped.
    pub(super) async fn run_from(mut self: Box<Self>, at: Instant, schedule: Schedule) -> Infallible {
        sleep_until(at).await;
        self.start(schedule);
        self.begin();
        self.run().await
    }

    /// Lets the first attempt begin now, before any tick.
    pub(super) fn begin(&mut self) {
        self.ticks.begin();
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            self.turn().await;
        }
    }

    /// Lets the tick with this number come due now, and runs until it is settled, attempts included. Opens the connection
    /// first if there is none. Returns the clients that the last round has found.
    pub(super) async fn probe(&mut self, number: u64) -> Option<ClientList> {
        if self.rounds.clients == Clients::Counted {
            self.rounds.clients = Clients::Kept;
        }
        self.ticks.tick(number);
        loop {
            let clients = self.turn().await;
            if !self.ticks.record().is_due() {
                return clients;
            }
        }
    }

    /// Waits for what happens next and does what it asks for. Returns the clients that a round has found.
    async fn turn(&mut self) -> Option<ClientList> {
        let Self { ticks, connection, handover, opener, maintenance, early, directions, shared, .. } = self;
        let maintenance = maintenance.as_deref();
        let asked = (&*shared.signals, ticks.record().id());
        let directed = next_direction(directions.as_deref());
        let event = async {
            tokio::select! {
                biased;
                event = next_event(connection.as_mut(), handover, opener, maintenance, early, asked) => event,
                direction = directed => Event::Directed(direction),
            }
        };
        let event = ticks.until_attempt(pin!(event)).await;
        match event {
            None => return self.attempt().await,
            Some(Event::Lost(failure)) => self.lost(failure),
            Some(Event::Replaced(opened)) => {
                // Its name leads to another address.
                self.return_to_host();
                self.take_over(*opened);
            }
            Some(Event::Early(early)) => self.opened_early(*early),
            Some(Event::Aged) => self.early.renew(&self.opener),
            Some(Event::Pushed) => self.pushed(),
            Some(Event::Maintenance) => self.maintain().await,
            Some(Event::Asked(question)) => self.answer(question).await,
            Some(Event::Directed(direction)) => self.direct(direction),
            Some(Event::Renewed) if self.connection.is_some() => self.reauthenticate().await,
            Some(Event::Renewed) => {
                // The first token of an identity is waited for by all its targets.
                let pause = if self.opener.had_credentials { Duration::ZERO } else { self.opener.offset };
                self.ticks.note(Fact::Renewed(Instant::now() + pause));
            }
        }
        None
    }

    /// Opens the connection if there is none, and runs a round if one is needed.
    async fn attempt(&mut self) -> Option<ClientList> {
        let is_warm = self.connection.is_some();
        let phases = if is_warm { PhaseTimes::default() } else { self.open().await? };
        if is_warm && self.is_role_due() {
            self.ask_role().await;
        }
        if is_warm || self.ticks.is_attempt_due() { self.round(phases, is_warm).await } else { None }
    }

    /// Opens the connection. `None` if that failed, or if the server is not able to answer PING.
    async fn open(&mut self) -> Option<PhaseTimes> {
        self.ticks.note(Fact::Opening);
        self.ticks.opening(self.endpoint.as_ref());
        let result = loop {
            let Self { ticks, opener, directions, endpoint, .. } = self;
            let opening = async {
                tokio::select! {
                    biased;
                    result = opener.open() => Ok(result),
                    direction = next_direction_from(directions.as_deref(), endpoint.as_ref()) => Err(direction),
                }
            };
            let opened = ticks.during(pin!(opening)).await;
            match opened {
                Ok(result) => break result,
                Err(direction) => {
                    // Whoever waits for the first attempt of each link may not wait for one that is led on for ever.
                    let failure = elsewhere(&direction.endpoint);
                    // The server that is left may have taken the connection.
                    ticks.not_opened(&opener.completed, &failure, endpoint.as_ref());
                    self.rounds.place(direction.slots);
                    self.lead_to(direction.endpoint);
                    self.ticks.note(Fact::Elsewhere);
                    self.ticks.opening(self.endpoint.as_ref());
                }
            }
        };
        let (phases, failure) = match result {
            Ok(Opened { connection, phases, took, refused }) => {
                self.unopened_since = None;
                self.ticks.opened(&phases, &connection, refused.as_ref());
                self.ticks.record().reached(self.endpoint.as_ref());
                self.keep(connection);
                let Some(failure) = refused else {
                    self.ticks.note(Fact::Opened { took });
                    return Some(phases);
                };
                if self.replaces(&failure) {
                    self.close(&failure);
                }
                (phases, failure)
            }
            Err(failed) => {
                self.ticks.not_opened(&failed.phases, &failed.failure, self.endpoint.as_ref());
                if self.opener.is_to_replica && failed.failure.reason == FailureReason::PermissionDenied {
                    self.ticks.record().denied(&failed.failure);
                }
                (failed.phases, failed.failure)
            }
        };
        debug!(target = %self.opener.target.name, %failure, "connection attempt failed");
        self.suspect_topology();
        self.miss_host();
        if self.connection.is_none() {
            self.return_to_host();
        }
        self.ticks.note(Fact::NotOpened(failure, Measurements { phases, ..Measurements::default() }));
        None
    }

    fn keep(&mut self, connection: Connection<D::Stream>) {
        let asks = match self.opener.target.cluster.mode {
            ClusterMode::Off => false,
            // Without HELLO nothing is known.
            ClusterMode::Auto => {
                connection.server.mode == Some(Mode::Cluster) || connection.protocol == Protocol::Resp2
            }
            ClusterMode::Primaries | ClusterMode::All => true,
        };
        match self.directions {
            Some(_) => {}
            None if asks && self.endpoint.is_some() => {
                let is_named = connection.server.mode == Some(Mode::Cluster);
                let Shared { signals, .. } = &*self.shared;
                if is_named { signals.names_cluster() } else { signals.is_cluster() }
            }
            None => self.shared.note(|whole, out| whole.await_no_shards(Instant::now(), out)),
        }
        let mut shown = connection.shown();
        if self.is_redirected() {
            shown.address = self.host_address;
        } else {
            self.host_address = shown.address;
        }
        self.handover.changed(Some(shown));
        // Replicas are not asked for the topology: they may go on to answer with one of the past.
        let signals = &self.shared.signals;
        self.connected = (!self.opener.is_to_replica).then(|| signals.connected(self.ticks.record().id()));
        self.connection = Some(connection);
        self.note_role();
    }

    /// Drops the open connection because of `failure`, and returns how long it lived.
    fn close(&mut self, failure: &Failure) -> Option<Duration> {
        // What it had to say before its end.
        self.pushed();
        if let Some(endpoint) = self.early.cancel() {
            self.lead_to(endpoint);
        }
        let connection = self.connection.take()?;
        self.handover.changed(None);
        self.connected = None;
        self.ticks.record().disconnected(failure.reason);
        Some(connection.opened.elapsed())
    }

    /// The connection was lost while nothing but the next command was to come.
    fn lost(&mut self, failure: Failure) {
        self.lost_since(Instant::now(), failure);
    }

    /// The connection was lost, of which the first sign was at `since`: then a question began that fails nothing by itself.
    fn lost_since(&mut self, since: Instant, failure: Failure) {
        let Some(connection) = &self.connection else { return };
        let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
        debug!(target = %self.opener.target.name, %failure, "idle connection lost");
        let left = self.endpoint.clone();
        if let Some(lived) = self.close(&failure) {
            self.ticks.note(Fact::Lost { failure, since, lived });
            if self.endpoint != left {
                self.ticks.note(Fact::Elsewhere);
            }
        }
    }
}
