//! Opening a target's connection: credentials, the phases of the network, sign-in, and PING as the proof.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::fallback::Fallback;
use super::handover::OpenConnection;
use super::maintenance::Subscription;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::{Dial, Dialed, Peer};
use crate::connection::handshake::{Greeting, NotGreeted};
use crate::connection::session::{Session, refused_advice};
use crate::identity::Credentials;
use crate::identity::sign_in::SignIn;
use crate::probe::{Failure, FailureReason, Phase, PhaseTimes, ServerInfo};
use crate::status::ConnectionInfo;
use crate::target::{Protocol, Target, Tls};

/// A server may end a session a little before the token's end by our clock.
const CLOCK_SKEW: Duration = Duration::from_secs(2);
/// The first pause before a refused re-authentication is tried again, and the longest.
const REAUTHENTICATE_FIRST: Duration = Duration::from_secs(1);
const REAUTHENTICATE_CAP: Duration = Duration::from_secs(30);

/// Opens the connections of one target.
#[derive(Clone, Debug)]
pub(super) struct Opener<D> {
    pub(super) target: Arc<Target>,
    pub(super) dialer: D,
    pub(super) sign_in: SignIn,
    pub(super) clock: Clock,
    /// How long this target waits when the first token of its identity comes: others wait for it as well.
    pub(super) offset: Duration,
    /// Whether there were ever credentials to present.
    pub(super) had_credentials: bool,
    pub(super) fallback: Fallback,
    /// Whether connections lead to replicas of a cluster, which answer `GET` only after `READONLY`.
    pub(super) is_to_replica: bool,
    /// The phases of the network that the newest opening has completed, for one that is given up.
    pub(super) completed: PhaseTimes,
}

/// A connection that was opened just now.
#[derive(Debug)]
pub(super) struct Opened<S> {
    pub(super) connection: Connection<S>,
    pub(super) phases: PhaseTimes,
    /// How long it took once there were credentials.
    pub(super) took: Duration,
    /// What the server answered PING with, if that was an error.
    pub(super) refused: Option<Failure>,
}

/// An open connection, signed in.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) session: Session<S>,
    pub(super) credentials: Credentials,
    pub(super) peer: Peer,
    pub(super) protocol: Protocol,
    /// What the server says of itself.
    pub(super) server: ServerInfo,
    pub(super) opened: Instant,
    /// Whether a round has succeeded on it.
    pub(super) has_served: bool,
    /// Whether `READONLY` was sent to a replica of a cluster.
    pub(super) is_read_only: bool,
    /// When the server last said which role it has.
    pub(super) role_seen: Instant,
    /// Since when the server has said that it is loading.
    pub(super) loading: Option<Instant>,
    /// When refused credentials are presented again.
    pub(super) reauthenticate: Option<Instant>,
    /// The maintenance notices that were asked for.
    pub(super) subscription: Subscription,
    pauses: Backoff,
    /// Whether the newest credentials were refused.
    is_refused: bool,
}

impl<D: Dial> Opener<D> {
    /// Opens a connection within the target's connect timeout, which runs once there are credentials.
    ///
    /// Boxed: its state, a TLS handshake above all, is larger than all the rest of a prober, and needed only for moments.
    pub(super) fn open(&mut self) -> Pin<Box<impl Future<Output = Result<Opened<D::Stream>, DialFailure>>>> {
        Box::pin(self.open_in_place())
    }

    async fn open_in_place(&mut self) -> Result<Opened<D::Stream>, DialFailure> {
        let mut phases = PhaseTimes::default();
        self.completed = phases;
        // First, so that no connection waits unauthenticated.
        let credentials = match self.credentials(&mut phases).await {
            Ok(credentials) => credentials,
            Err(failure) => return Err(DialFailure { failure, phases }),
        };
        let started = Instant::now();
        let mut deadline = started + self.target.connect_timeout;
        let protocol = self.target.protocol.or(self.fallback.protocol());
        let mut hung_up = false;
        let (mut result, mut auth) = self.greet(&credentials, protocol, &mut deadline, &mut phases).await?;
        if let Err(NotGreeted::HungUp(_)) = &result {
            hung_up = true;
            let in_vain = auth;
            let again = self.greet(&credentials, Some(Protocol::Resp2), &mut deadline, &mut phases).await?;
            (result, auth) = (again.0, in_vain + again.1);
        }
        match result {
            Ok((session, peer, greeting)) => {
                phases.set(Phase::Auth, auth);
                if protocol.is_none() && greeting.refused.is_none() {
                    self.fallback.negotiated(greeting.protocol, hung_up);
                }
                let refused = greeting.refused.clone();
                let mut connection = Connection::new(session, credentials, peer, greeting);
                if self.is_to_replica && refused.is_none() {
                    let read_only = connection.session.read_only(deadline).await;
                    read_only.map_err(|failure| DialFailure {
                        failure: failure.naming_right(NO_READONLY),
                        phases,
                    })?;
                    connection.is_read_only = true;
                }
                Ok(Opened { connection, phases, took: started.elapsed(), refused })
            }
            Err(NotGreeted::Failed(failure) | NotGreeted::HungUp(failure)) => {
                if failure.reason == FailureReason::AuthRejected {
                    self.sign_in.refused();
                }
                let failure = suspect_tls(failure, &self.target.tls);
                Err(DialFailure { failure: blame_credentials(failure, &credentials, &self.clock), phases })
            }
        }
    }

    /// Obtains the credentials: the phase `token`. No timeout of the target applies: the refresh loop answers within
    /// [`FETCH_TIMEOUT`](crate::identity::refresh::FETCH_TIMEOUT), or the timeout of a command, with an error if there is
    /// no token.
    async fn credentials(&mut self, phases: &mut PhaseTimes) -> Result<Credentials, Failure> {
        let started = Instant::now();
        let is_first = !self.had_credentials && !self.sign_in.has_answer();
        let credentials = self.sign_in.credentials().await?;
        self.had_credentials = true;
        if is_first {
            sleep(self.offset).await;
        }
        if self.sign_in.is_needed() {
            phases.set(Phase::Token, started.elapsed());
        }
        Ok(credentials)
    }

    /// Dials and begins a session, and returns how long the latter took. Adds to `phases` those that were completed before.
    async fn greet(
        &mut self,
        credentials: &Credentials,
        protocol: Option<Protocol>,
        deadline: &mut Instant,
        phases: &mut PhaseTimes,
    ) -> Result<(Result<Greeted<D::Stream>, NotGreeted>, Duration), DialFailure> {
        let mut was_led_astray = false;
        loop {
            let dialed = match self.dialer.dial(*deadline).await {
                Ok(dialed) => dialed,
                Err(mut failed) => {
                    phases.add(&failed.phases);
                    failed.phases = *phases;
                    return Err(failed);
                }
            };
            let Dialed { stream, phases: completed, peer, deadline: moved } = dialed;
            phases.add(&completed);
            self.completed = *phases;
            *deadline = moved;
            let mut session = Session::new(stream, self.target.reply_limit, peer.local_address);
            let started = Instant::now();
            let result = tokio::select! {
                biased;
                result = session.greet(credentials, protocol, deadline) => result,
                // The server that does not answer is not the one that is wanted any more.
                _ = self.dialer.moved_from(&peer) => continue,
            };
            let result = match result {
                Ok(greeting) => {
                    let accepted = self.dialer.accept(&greeting).map_err(NotGreeted::Failed);
                    // Others may name the right one, and be wrong as well: it is tried once.
                    let is_elsewhere =
                        accepted.is_err() && self.dialer.moved_from(&peer).now_or_never().is_some();
                    if is_elsewhere && !std::mem::replace(&mut was_led_astray, true) {
                        continue;
                    }
                    accepted.map(|()| (session, peer, greeting))
                }
                Err(NotGreeted::Failed(failure)) => {
                    self.dialer.not_greeted(&failure);
                    Err(NotGreeted::Failed(failure))
                }
                // It is greeted again, in another way.
                Err(hung_up) => Err(hung_up),
            };
            return Ok((result, started.elapsed()));
        }
    }
}

/// A session that has begun, whom it leads to, and what is known of the server.
type Greeted<S> = (Session<S>, Peer, Greeting);

impl<S> Connection<S> {
    fn new(session: Session<S>, credentials: Credentials, peer: Peer, greeting: Greeting) -> Self {
        Self {
            session,
            credentials,
            peer,
            protocol: greeting.protocol,
            server: greeting.server,
            opened: Instant::now(),
            has_served: false,
            is_read_only: false,
            role_seen: Instant::now(),
            loading: None,
            reauthenticate: None,
            subscription: Subscription::default(),
            pauses: Backoff::new(REAUTHENTICATE_FIRST),
            is_refused: false,
        }
    }

    /// Returns the expiry of the server's certificate. `None` without TLS.
    pub(super) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.peer.tls.as_ref()?.certificate_expiry
    }

    /// Returns what people may know of it.
    pub(super) fn info(&self) -> ConnectionInfo {
        let username = match &self.credentials {
            Credentials::None => None,
            Credentials::Password { username, .. } => {
                Some(username.clone().unwrap_or_else(|| Arc::from("default")))
            }
            Credentials::Token { username, .. } => Some(Arc::clone(username)),
        };
        let tls_version = self.peer.tls.map(|tls| tls.version);
        ConnectionInfo { address: self.peer.address, tls_version, username }
    }

    /// Returns what the companion knows of it.
    pub(super) const fn shown(&self) -> OpenConnection {
        OpenConnection { address: self.peer.address, since: self.opened }
    }

    /// Plans to present credentials again that were refused.
    /// Returns whether this is the first refusal since credentials were last accepted.
    pub(super) fn reauthenticate_later(&mut self, rng: &mut fastrand::Rng) -> bool {
        self.reauthenticate = Some(Instant::now() + self.pauses.next(REAUTHENTICATE_CAP, rng));
        !std::mem::replace(&mut self.is_refused, true)
    }

    /// The server took these credentials.
    pub(super) fn reauthenticated(&mut self, credentials: Credentials) {
        self.credentials = credentials;
        self.is_refused = false;
        self.pauses.reset();
    }
}

/// Returns `failure`, with an expired token as its reason where that explains a refusal or a disconnect: a cache ends
/// the session of an expired token without a word, and refuses it in the same words as an unknown user.
pub(super) fn blame_credentials(failure: Failure, credentials: &Credentials, clock: &Clock) -> Failure {
    let Credentials::Token { token, .. } = credentials else {
        let is_unexplained = failure.reason == FailureReason::AuthRejected && failure.advice.is_none();
        let advice = if is_unexplained { refused_advice(credentials) } else { failure.advice };
        return Failure { advice, ..failure };
    };
    let explains =
        matches!(failure.reason, FailureReason::AuthRejected | FailureReason::Closed | FailureReason::Reset);
    if explains && token.expires_at <= clock.now() + CLOCK_SKEW {
        Failure { reason: FailureReason::TokenExpired, advice: None, ..failure }
    } else {
        failure
    }
}

/// Returns `failure` with advice that fits where a port of TLS is the likely cause: it hangs up on plain text.
fn suspect_tls(failure: Failure, tls: &Tls) -> Failure {
    let hung_up = matches!(failure.reason, FailureReason::Closed | FailureReason::Reset);
    if *tls == Tls::Off && hung_up { Failure { advice: Some(MAY_BE_TLS), ..failure } } else { failure }
}

const NO_READONLY: &str = "Give the user `+readonly`, so that replicas are watched as well as primaries, or set \
                           `cluster.mode: primaries`. A changed right is noticed within an hour, or after a restart.";
const MAY_BE_TLS: &str = "If this port serves TLS, remove `tls: false`: such a port hangs up on plain text. Otherwise \
                          expected for a few seconds during a failover or a restart.";
