//! The loop of one link: a round at every tick on a connection that is kept, and reopened when it is lost.
//!
//! The loop carries out what the ledger (`ledger.rs`) asks for and reports to it what happens. Everything is awaited
//! through `ticks.rs`, so that no tick goes unnoticed. Only timeouts and the peer end what is under way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::companion::Companion;
use super::directions::{Direction, Directions};
use super::early::{Early, EarlyConnection};
use super::handover::Handover;
use super::ledger::{Fact, Measurements};
use super::maintenance::Maintenance;
use super::opening::{Connection, Opened, Opener, blame_credentials};
use super::roles::Roles;
use super::round::Rounds;
use super::schedule::{Schedule, until};
use super::shared::Shared;
use super::signals::{Connected, Question};
use super::ticks::Ticks;
use crate::connection::client_list::ClientList;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::connection::session::Incident;
use crate::maintenance::{AZURE_CHANNEL, Moving, Request};
use crate::probe::{ClientCount, Failure, FailureReason, Mode, PhaseTimes, Stage, Step};
use crate::target::{AddressMode, ClusterMode, Endpoint, Protocol, Target};
use crate::topology::{Hosts, Redirect, RedirectKind, Topology};

/// One kept connection, with its rounds and its ledger.
pub(super) struct Link<D: Dial> {
    opener: Opener<D>,
    /// Where it leads to. `None` if sentinels say that.
    endpoint: Option<Endpoint>,
    /// Where it is to lead to, if that may change.
    directions: Option<Arc<Directions>>,
    shared: Arc<Shared>,
    connection: Option<Connection<D::Stream>>,
    /// Reports to the coordinator that there is a connection.
    connected: Option<Connected>,
    /// Shows `connection` to those beside the link, and brings its replacement.
    handover: Arc<Handover<D::Stream>>,
    rounds: Rounds,
    ticks: Ticks,
    roles: Roles,
    rng: fastrand::Rng,
    /// Shared by the links of a target; `None` if nothing is ever asked for.
    maintenance: Option<Arc<Maintenance>>,
    early: EarlyConnection<D>,
}

/// What happens while nothing is under way.
enum Event<S> {
    /// The connection is gone, or cannot be trusted any more.
    Lost(Failure),
    /// There are credentials to present, or, without a connection, another attempt to open one may do better.
    Renewed,
    /// A new connection takes over from the open one.
    Replaced(Box<Opened<S>>),
    /// A connection was opened early, because the endpoint of the open one moves.
    Early(Early<S>),
    /// The server has sent something out of band.
    Pushed,
    /// Maintenance notices are to be asked for, or what is known of maintenance changes by itself.
    Maintenance,
    /// The server is to be asked for the topology.
    Asked(Question),
    /// The shard is elsewhere, or has other slots.
    Directed(Direction),
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
        maintenance: Option<Arc<Maintenance>>,
    ) -> Self {
        if directions.is_some()
            && let Some(endpoint) = &endpoint
        {
            opener.dialer = opener.dialer.to(endpoint.clone());
        }
        Self {
            opener,
            endpoint,
            directions,
            shared: Arc::clone(ticks.record().shared()),
            connection: None,
            connected: None,
            handover: Arc::default(),
            rounds,
            ticks,
            roles: Roles::default(),
            rng,
            maintenance,
            early: EarlyConnection::default(),
        }
    }

    /// Lets the link lead to a replica of a shard. Nobody needs notices from there.
    pub(super) fn is_to_replica(&mut self) {
        self.opener.is_to_replica = true;
        self.maintenance = None;
    }

    /// Returns the companion that opens connections beside this link.
    pub(super) fn companion(&self, rng: fastrand::Rng) -> Companion<D> {
        Companion::new(self.opener.clone(), rng, self.ticks.record().shared(), Arc::clone(&self.handover))
    }

    /// Lets ticks come due.
    pub(super) const fn start(&mut self, schedule: Schedule) {
        self.ticks.start(schedule);
    }

    /// Opens the connection at `at`, and probes at every tick from then on. Runs until it is dropped.
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
        self.rounds.keeps_clients = true;
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
        let question = shared.signals.question(ticks.record().id());
        let directed = next_direction(directions.as_deref());
        let event = async {
            tokio::select! {
                biased;
                event = next_event(connection.as_mut(), handover, opener, maintenance, early, question) => event,
                direction = directed => Event::Directed(direction),
            }
        };
        let event = ticks.until_attempt(pin!(event)).await;
        match event {
            None => return self.attempt().await,
            Some(Event::Lost(failure)) => self.lost(failure),
            Some(Event::Replaced(opened)) => self.take_over(*opened),
            Some(Event::Early(result)) => self.opened_early(*result),
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
        self.ticks.record().opening();
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
                Err(direction) => self.redirect(direction),
            }
        };
        let (phases, failure) = match result {
            Ok(Opened { connection, phases, took, refused }) => {
                self.ticks.record().opened(&phases, connection.certificate_expiry(), connection.protocol);
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
                self.ticks.record().not_opened(&failed.phases, &failed.failure, self.endpoint.as_ref());
                if self.opener.is_to_replica && failed.failure.reason == FailureReason::PermissionDenied {
                    self.ticks.record().denied(&failed.failure);
                }
                (failed.phases, failed.failure)
            }
        };
        debug!(target = %self.opener.target.name, %failure, "connection attempt failed");
        self.suspect_topology();
        self.ticks.note(Fact::NotOpened(failure, Measurements { phases, ..Measurements::default() }));
        None
    }

    /// Runs a round on the open connection, which was idle before if `is_warm`.
    async fn round(&mut self, phases: PhaseTimes, is_warm: bool) -> Option<ClientList> {
        let role = self.connection.as_ref()?.server.role;
        self.ticks.note(Fact::Round);
        let Self {
            ticks, rounds, directions, endpoint, opener, shared, connection: Some(connection), ..
        } = self
        else {
            return None;
        };
        rounds.leave_keys(directions.is_none() && shared.signals.finds_shards());
        let began = Instant::now();
        let round = async {
            tokio::select! {
                biased;
                round = rounds.run(connection, opener) => Ok(round),
                direction = next_direction_from(directions.as_deref(), endpoint.as_ref()) => Err(direction),
            }
        };
        let round = ticks.during(pin!(round)).await;
        let round = match round {
            Ok(round) => round,
            Err(direction) => {
                // The node that has the shard now can be asked at once, whatever the other one waits for.
                let failure = elsewhere(&direction.endpoint);
                self.redirect(direction);
                self.demoted(failure, began);
                return None;
            }
        };
        if self.connection.as_ref()?.server.role != role {
            self.note_role();
        }
        let connection = self.connection.as_mut()?;
        let clients =
            round.clients.as_ref().map(|list| ClientCount { clients: list.count, own_seen: list.own_seen });
        let measurements = Measurements { phases, steps: round.steps, clients };
        let Some((failure, since)) = round.failed else {
            connection.loading = None;
            connection.has_served = true;
            self.ticks.note(Fact::RoundSucceeded(measurements));
            if let Some(failure) = round.lost {
                self.lost(failure);
            } else if self.rounds.lists_too_much()
                && let Some(identity) = connection.subscription.subscriber()
            {
                // A server grants a subscribed connection less room for replies, so one without a subscription replaces it.
                let moving = Moving { identity, endpoint: None, wait: Duration::ZERO };
                self.early.begin(moving, &self.opener);
            }
            return round.clients;
        };
        if is_warm && failure.stage == Stage::Step(Step::Ping) && connection.session.was_idle_close(&failure)
        {
            self.lost(failure);
            return None;
        }
        if connection.has_served && is_demotion(&failure) {
            self.demoted(failure, since);
            return None;
        }
        debug!(target = %self.opener.target.name, %failure, "attempt failed");
        self.follow(&failure);
        self.suspect_topology();
        let connection = self.connection.as_mut()?;
        let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
        let ends = !connection.session.is_usable() || self.replaces(&failure);
        let lived = if ends { self.close(&failure) } else { None };
        self.ticks.note(Fact::RoundFailed { failure, measurements, since, lived });
        round.clients
    }

    /// Whether a new connection may do better than the open one, which answered with `failure`.
    fn replaces(&mut self, failure: &Failure) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let now = Instant::now();
        if failure.reason == FailureReason::Loading {
            return now - *connection.loading.get_or_insert(now) > self.opener.target.connect_timeout;
        }
        connection.loading = None;
        // The server may have forgotten who we are, or be the wrong one: a new connection signs in, and may lead to
        // another. `ASK` says that a slot is on its way.
        failure.reason == FailureReason::AuthRejected || is_demotion(failure)
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
        if asks && self.directions.is_none() && self.endpoint.is_some() {
            self.shared.signals.is_cluster();
        }
        self.handover.changed(Some(connection.shown()));
        self.connected = Some(self.shared.signals.connected());
        self.connection = Some(connection);
        self.note_role();
    }

    /// Answers the coordinator.
    async fn answer(&mut self, question: Question) {
        if let Some(result) = self.topology().await {
            question.answer((self.ticks.record().id(), result));
        }
    }

    /// Asks the server for the topology. `None` without a connection.
    pub(super) async fn topology(&mut self) -> Option<Result<Topology, Failure>> {
        let Self { ticks, connection: Some(connection), opener, endpoint: Some(endpoint), .. } = self else {
            return None;
        };
        let target = Arc::clone(&opener.target);
        let deadline = Instant::now() + target.command_timeout;
        // Boxed: what is needed only for moments is not kept for each target.
        let mut asked = Box::pin(connection.session.cluster_slots(hosts(&target, &endpoint.host), deadline));
        let result = ticks.during(asked.as_mut()).await;
        drop(asked);
        let lost = result.as_ref().err().filter(|_| !connection.session.is_usable()).cloned();
        if let Some(failure) = lost {
            self.lost(failure);
        }
        Some(result)
    }

    /// Returns the address of the server that is connected.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.connection.as_ref()?.peer.address
    }

    /// The coordinator has sent the link elsewhere, or to other slots.
    fn direct(&mut self, direction: Direction) {
        if Some(&direction.endpoint) == self.endpoint.as_ref() {
            return self.rounds.place(direction.slots);
        }
        let failure = elsewhere(&direction.endpoint);
        self.redirect(direction);
        if self.connection.is_some() {
            self.lost(failure);
        } else {
            self.ticks.note(Fact::Renewed(Instant::now()));
        }
    }

    fn redirect(&mut self, Direction { endpoint, slots }: Direction) {
        self.rounds.place(slots);
        self.lead_to(endpoint);
    }

    fn lead_to(&mut self, endpoint: Endpoint) {
        self.opener.dialer = self.opener.dialer.to(endpoint.clone());
        self.endpoint = Some(endpoint);
    }

    /// Something failed that may have to do with a change of the topology.
    fn suspect_topology(&self) {
        if self.directions.is_some() {
            self.shared.signals.is_stale();
        }
    }

    /// Follows the redirection in `failure`, if it is one.
    fn follow(&mut self, failure: &Failure) {
        let Some(redirect) = Redirect::parse(&failure.detail) else { return };
        let target = &self.opener.target;
        let Some(endpoint) = self.endpoint.as_ref().filter(|_| target.cluster.mode != ClusterMode::Off)
        else {
            return;
        };
        if self.directions.is_none() {
            return self.shared.signals.is_cluster();
        }
        if redirect.kind == RedirectKind::Moved
            // A replica names its primary.
            && !self.opener.is_to_replica
            && let Some(endpoint) = redirect.address(hosts(target, &endpoint.host))
        {
            self.lead_to(endpoint);
        }
    }

    /// Notes what is known of the server, and whether its role has changed.
    fn note_role(&mut self) {
        let Some(Connection { server, peer, .. }) = &self.connection else { return };
        let previous = self.roles.seen(peer.address, server.role);
        if previous.is_some() {
            self.suspect_topology();
        }
        self.ticks.record().server(server, previous);
    }

    /// Goes on with a new connection instead of the open one.
    fn take_over(&mut self, Opened { mut connection, phases, .. }: Opened<D::Stream>) {
        let Some(old) = self.connection.take() else { return };
        let shown = |connection: &Connection<_>| connection.peer.address.map(tracing::field::display);
        info!(
            target = %self.opener.target.name,
            address = shown(&connection),
            previous = shown(&old),
            "connection replaced"
        );
        if connection.credentials != old.credentials {
            // They were renewed while it was being opened.
            connection.reauthenticate = Some(Instant::now());
        }
        self.ticks.record().opened(&phases, connection.certificate_expiry(), connection.protocol);
        self.keep(connection);
    }

    /// A connection was opened early, or could not be: then the open one goes on.
    fn opened_early(&mut self, result: Result<Opened<D::Stream>, DialFailure>) {
        let failed = match result {
            Ok(Opened { refused: Some(failure), phases, .. }) => DialFailure { failure, phases },
            Ok(opened) => return self.take_over(opened),
            Err(failed) => failed,
        };
        self.ticks.record().not_replaced(&failed.phases);
        info!(
            target = %self.opener.target.name,
            reason = failed.failure.reason.as_str(),
            stage = failed.failure.stage.as_str(),
            detail = %failed.failure.detail,
            "early connection failed; keeping the connection"
        );
    }

    /// Takes what the server has sent out of band.
    fn pushed(&mut self) {
        let Self { connection: Some(connection), maintenance: Some(maintenance), early, opener, .. } = self
        else {
            return;
        };
        while let Some(push) = connection.session.take_push() {
            if let Some(moving) = maintenance.note(connection.subscription, &push) {
                early.begin(moving, opener);
            }
        }
    }

    /// Asks for maintenance notices if that is due. Nothing about it fails a probe.
    async fn maintain(&mut self) {
        let Some(maintenance) = self.maintenance.clone() else { return };
        maintenance.update();
        let Self { ticks, connection: Some(connection), opener, rounds, .. } = self else { return };
        let Some((request, due)) = request(connection, &maintenance) else { return };
        let now = Instant::now();
        if due > now {
            return;
        }
        if request == Request::Subscribe && rounds.lists_too_much() {
            let detail = "CLIENT LIST is too long for a subscribed connection";
            let failure = Failure::new(FailureReason::ReplyTooLarge, Stage::Idle, detail);
            return maintenance.refused(request, &failure);
        }
        let deadline = now + opener.target.command_timeout;
        let session = &mut connection.session;
        let asked = match request {
            Request::Subscribe => {
                ticks.during(pin!(session.subscribe(Stage::Idle, AZURE_CHANNEL, deadline))).await
            }
            Request::Notifications => ticks.during(pin!(session.request_notifications(deadline))).await,
        };
        match asked {
            Ok(()) => maintenance.granted(request, &mut connection.subscription),
            Err(failure) if session.is_usable() => maintenance.refused(request, &failure),
            Err(failure) => {
                maintenance.lost(request, &failure);
                self.lost(failure);
            }
        }
    }

    /// Asks for all maintenance notices that are due, for somebody who waits for that.
    pub(super) async fn ask_for_notices(&mut self) {
        for _ in Request::ALL {
            self.maintain().await;
        }
        self.pushed();
    }

    /// Whether the role is to be asked for again: no write shows that the server has been promoted.
    fn is_role_due(&self) -> bool {
        let refresh = self.opener.target.cluster.refresh;
        self.connection.as_ref().is_some_and(|connection| {
            self.rounds.only_reads(&connection.server) && connection.role_seen.elapsed() >= refresh
        })
    }

    /// Asks the server for its role, where that needs no right.
    pub(super) async fn ask_role(&mut self) {
        let Self { ticks, connection: Some(connection), opener, .. } = self else { return };
        connection.role_seen = Instant::now();
        if !connection.server.answers_hello_again() {
            return;
        }
        let deadline = Instant::now() + opener.target.command_timeout;
        let asked = ticks.during(pin!(connection.session.server_info(deadline))).await;
        match asked {
            Ok(server) => {
                connection.server = server;
                self.note_role();
            }
            Err(failure) if connection.session.is_usable() => {
                debug!(target = %opener.target.name, %failure, "role unknown; keeping the previous one");
            }
            Err(failure) => self.lost(failure),
        }
    }

    /// Drops the open connection because of `failure`, and returns how long it lived.
    fn close(&mut self, failure: &Failure) -> Option<Duration> {
        // What it had to say before its end.
        self.pushed();
        self.early.cancel();
        let connection = self.connection.take()?;
        self.handover.changed(None);
        self.connected = None;
        self.ticks.record().disconnected(failure.reason);
        Some(connection.opened.elapsed())
    }

    /// The connection was lost while nothing but the next command was to come.
    fn lost(&mut self, failure: Failure) {
        let Some(connection) = &self.connection else { return };
        let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
        debug!(target = %self.opener.target.name, %failure, "idle connection lost");
        if let Some(lived) = self.close(&failure) {
            self.ticks.note(Fact::Lost { failure, lived });
        }
    }

    /// The server had served, and has answered that it is the wrong one now.
    fn demoted(&mut self, failure: Failure, since: Instant) {
        debug!(target = %self.opener.target.name, %failure, "server demoted");
        self.follow(&failure);
        self.suspect_topology();
        self.roles.left();
        if let Some(lived) = self.close(&failure) {
            self.ticks.note(Fact::Demoted { failure, since, lived });
        }
    }

    /// Presents renewed credentials on the live connection, so that the server's deadline moves before it strikes.
    async fn reauthenticate(&mut self) {
        let Self { ticks, connection: Some(connection), opener, rng, .. } = self else { return };
        let target = Arc::clone(&opener.target);
        connection.reauthenticate = None;
        let credentials = async {
            tokio::select! {
                biased;
                lost = connection.session.lost() => Err(lost),
                // A file may hang.
                credentials = opener.sign_in.credentials() => Ok(credentials),
            }
        };
        let credentials = ticks.during(pin!(credentials)).await;
        let credentials = match credentials {
            Err(lost) => return self.lost(lost),
            Ok(Ok(credentials)) if credentials != connection.credentials => credentials,
            Ok(Ok(_)) => return,
            Ok(Err(failure)) => {
                debug!(target = %target.name, %failure, "changed credentials not usable; keeping the connection");
                return;
            }
        };
        let since = Instant::now();
        let deadline = since + target.command_timeout;
        let authenticated = ticks.during(pin!(connection.session.authenticate(&credentials, deadline))).await;
        match authenticated {
            Ok(()) => {
                ticks.record().reauthenticated(Ok(()));
                connection.reauthenticated(credentials);
                debug!(target = %target.name, "re-authenticated");
            }
            Err(failure) if connection.session.is_usable() => {
                ticks.record().reauthenticated(Err(()));
                opener.sign_in.refused();
                if connection.reauthenticate_later(rng) {
                    warn!(
                        target = %target.name,
                        detail = %failure.detail,
                        "re-authentication failed; keeping the connection"
                    );
                } else {
                    debug!(target = %target.name, detail = %failure.detail, "re-authentication failed again");
                }
            }
            Err(failure) => {
                ticks.record().reauthenticated(Err(()));
                if connection.session.was_idle_close(&failure) {
                    return self.lost(failure);
                }
                let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
                let lived = self.close(&failure);
                self.ticks.note(Fact::RoundFailed {
                    failure,
                    measurements: Measurements::default(),
                    since,
                    lived,
                });
            }
        }
    }
}

/// Whether a server says by `failure` that another one is the primary now.
fn is_demotion(failure: &Failure) -> bool {
    match failure.reason {
        FailureReason::ReadOnly => true,
        FailureReason::WrongNode => failure.detail.starts_with("MOVED"),
        // A replica that has lost its primary.
        FailureReason::ClusterDown => failure.detail.starts_with("MASTERDOWN"),
        _ => false,
    }
}

/// Returns what to ask for on `connection`, and when.
fn request<S>(connection: &Connection<S>, maintenance: &Maintenance) -> Option<(Request, Instant)> {
    // Under RESP2, a subscribed connection takes no other commands.
    let speaks_pushes = connection.protocol == Protocol::Resp3;
    speaks_pushes.then(|| maintenance.next_request(connection.subscription)).flatten()
}

/// Returns which hosts lead to the nodes that a server at `asked` announces.
pub(super) const fn hosts<'a>(target: &'a Target, asked: &'a Arc<str>) -> Hosts<'a> {
    match (target.cluster.address, target.server.host()) {
        (AddressMode::Host, Some(endpoint)) => Hosts::One(&endpoint.host),
        _ => Hosts::Announced { asked },
    }
}

/// Returns the failure of a server that has another one's slots no more.
fn elsewhere(endpoint: &Endpoint) -> Failure {
    Failure::new(FailureReason::WrongNode, Stage::Idle, format!("the node is now {endpoint}"))
}

async fn next_direction(directions: Option<&Directions>) -> Direction {
    match directions {
        Some(directions) => directions.next().await,
        None => std::future::pending().await,
    }
}

async fn next_direction_from(directions: Option<&Directions>, endpoint: Option<&Endpoint>) -> Direction {
    match (directions, endpoint) {
        (Some(directions), Some(endpoint)) => directions.away_from(endpoint).await,
        _ => std::future::pending().await,
    }
}

/// Waits until something happens to the open connection, there are credentials to present, or something about maintenance
/// is due. May be dropped at any time.
async fn next_event<D: Dial>(
    connection: Option<&mut Connection<D::Stream>>,
    handover: &Handover<D::Stream>,
    opener: &mut Opener<D>,
    maintenance: Option<&Maintenance>,
    early: &mut EarlyConnection<D>,
    question: impl Future<Output = Question>,
) -> Event<D::Stream> {
    let Opener { sign_in, dialer, .. } = opener;
    let change = maintenance.and_then(Maintenance::next_change);
    let Some(connection) = connection else {
        return tokio::select! {
            () = sign_in.renewed() => Event::Renewed,
            () = dialer.renewed() => Event::Renewed,
            () = until(change), if change.is_some() => Event::Maintenance,
        };
    };
    let request = maintenance.and_then(|maintenance| request(connection, maintenance));
    let maintenance_due = change.into_iter().chain(request.map(|(_, due)| due)).min();
    let again = connection.reauthenticate;
    tokio::select! {
        biased;
        incident = connection.session.incident() => match incident {
            Incident::Lost(failure) => Event::Lost(failure),
            Incident::Pushed => Event::Pushed,
        },
        // It answers, but nobody should use it any more.
        failure = dialer.moved_from(&connection.peer) => Event::Lost(failure),
        replacement = handover.replacement() => Event::Replaced(replacement),
        question = question => Event::Asked(question),
        () = sign_in.renewed() => Event::Renewed,
        () = until(again), if again.is_some() => Event::Renewed,
        result = early.opened() => Event::Early(result),
        () = until(maintenance_due), if maintenance_due.is_some() => Event::Maintenance,
    }
}
