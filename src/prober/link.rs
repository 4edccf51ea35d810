//! The loop of one link: a round at every tick on a connection that is kept, and reopened when it is lost.
//!
//! The loop carries out what the ledger (`ledger.rs`) asks for and reports to it what happens. Everything is awaited
//! through `ticks.rs`, so that no tick goes unnoticed. Only timeouts and the peer end what is under way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::companion::Companion;
use super::early::{Early, EarlyConnection};
use super::handover::Handover;
use super::ledger::{Fact, Measurements};
use super::maintenance::Maintenance;
use super::opening::{Connection, Opened, Opener, blame_credentials};
use super::roles::Roles;
use super::round::Rounds;
use super::schedule::Schedule;
use super::ticks::Ticks;
use crate::connection::client_list::ClientList;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::connection::session::Incident;
use crate::maintenance::{AZURE_CHANNEL, Moving, Request};
use crate::probe::{ClientCount, Failure, FailureReason, PhaseTimes, Stage, Step};
use crate::target::Protocol;

/// One kept connection, with its rounds and its ledger.
pub(super) struct Link<D: Dial> {
    opener: Opener<D>,
    connection: Option<Connection<D::Stream>>,
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
    /// There are credentials to present, or, without a connection, other certificates to open one with.
    Renewed,
    /// A new connection takes over from the open one.
    Replaced(Box<Opened<S>>),
    /// A connection was opened early, because the endpoint of the open one moves.
    Early(Early<S>),
    /// The server has sent something out of band.
    Pushed,
    /// Maintenance notices are to be asked for, or what is known of maintenance changes by itself.
    Maintenance,
}

impl<D: Dial> Link<D> {
    /// Creates a link that has done nothing yet.
    pub(super) fn new(
        opener: Opener<D>,
        rounds: Rounds,
        ticks: Ticks,
        rng: fastrand::Rng,
        maintenance: Option<Arc<Maintenance>>,
    ) -> Self {
        Self {
            opener,
            connection: None,
            handover: Arc::default(),
            rounds,
            ticks,
            roles: Roles::default(),
            rng,
            maintenance,
            early: EarlyConnection::default(),
        }
    }

    /// Returns the companion that opens connections beside this link.
    pub(super) fn companion(&self, rng: fastrand::Rng) -> Companion<D> {
        Companion::new(self.opener.clone(), rng, self.ticks.record().shared(), Arc::clone(&self.handover))
    }

    /// Lets ticks come due.
    pub(super) const fn start(&mut self, schedule: Schedule) {
        self.ticks.start(schedule);
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
        let Self { ticks, connection, handover, opener, maintenance, early, .. } = self;
        let maintenance = maintenance.as_deref();
        match ticks.until_attempt(next_event(connection.as_mut(), handover, opener, maintenance, early)).await
        {
            None => return self.attempt().await,
            Some(Event::Lost(failure)) => self.lost(failure),
            Some(Event::Replaced(opened)) => self.take_over(*opened),
            Some(Event::Early(result)) => self.opened_early(*result),
            Some(Event::Pushed) => self.pushed(),
            Some(Event::Maintenance) => self.maintain().await,
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
        let result = self.ticks.during(self.opener.open()).await;
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
                self.ticks.record().not_opened(&failed.phases);
                (failed.phases, failed.failure)
            }
        };
        debug!(target = %self.opener.target.name, %failure, "connection attempt failed");
        self.ticks.note(Fact::NotOpened(failure, Measurements { phases, ..Measurements::default() }));
        None
    }

    /// Runs a round on the open connection, which was idle before if `is_warm`.
    async fn round(&mut self, phases: PhaseTimes, is_warm: bool) -> Option<ClientList> {
        let connection = self.connection.as_mut()?;
        let role = connection.server.role;
        self.ticks.note(Fact::Round);
        let round = self.ticks.during(self.rounds.run(connection, &mut self.opener)).await;
        if connection.server.role != role {
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
        self.handover.changed(Some(connection.shown()));
        self.connection = Some(connection);
        self.note_role();
    }

    /// Notes what is known of the server, and whether its role has changed.
    fn note_role(&mut self) {
        let Some(Connection { server, peer, .. }) = &self.connection else { return };
        let previous = self.roles.seen(peer.address, server.role);
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
            return maintenance.refused(request, "CLIENT LIST is too long for a subscribed connection");
        }
        let deadline = now + opener.target.command_timeout;
        let session = &mut connection.session;
        let asked = match request {
            Request::Subscribe => ticks.during(session.subscribe(AZURE_CHANNEL, deadline)).await,
            Request::Notifications => ticks.during(session.request_notifications(deadline)).await,
        };
        match asked {
            Ok(()) => maintenance.granted(request, &mut connection.subscription),
            Err(failure) if session.is_usable() => maintenance.refused(request, &failure.detail),
            Err(failure) => {
                maintenance.lost(request, &failure);
                self.lost(failure);
            }
        }
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
        match ticks.during(connection.session.server_info(deadline)).await {
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
        let credentials = match ticks.during(credentials).await {
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
        match ticks.during(connection.session.authenticate(&credentials, deadline)).await {
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

/// Waits until something happens to the open connection, there are credentials to present, or something about maintenance
/// is due. May be dropped at any time.
async fn next_event<D: Dial>(
    connection: Option<&mut Connection<D::Stream>>,
    handover: &Handover<D::Stream>,
    opener: &mut Opener<D>,
    maintenance: Option<&Maintenance>,
    early: &mut EarlyConnection<D>,
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
        () = sign_in.renewed() => Event::Renewed,
        () = until(again), if again.is_some() => Event::Renewed,
        result = early.opened() => Event::Early(result),
        () = until(maintenance_due), if maintenance_due.is_some() => Event::Maintenance,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
