//! The one connection that a prober keeps: opened in phases, signed in, re-authenticated while it stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::{Dial, Dialed, Peer};
use crate::connection::session::Session;
use crate::identity::Credentials;
use crate::identity::sign_in::SignIn;
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, FailureReason, Phase, PhaseTimes};
use crate::status::{ConnectionState, TargetStatus};
use crate::target::Target;

/// A server may end a session a little before the token's end by our clock.
const CLOCK_SKEW: Duration = Duration::from_secs(2);

/// The connection of one prober, open or not.
#[derive(Debug)]
pub(super) struct Link<D: Dial> {
    target: Arc<Target>,
    dialer: D,
    sign_in: SignIn,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    open: Option<Open<D::Stream>>,
}

#[derive(Debug)]
struct Open<S> {
    session: Session<S>,
    credentials: Credentials,
    peer: Peer,
}

/// How a re-authentication ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reauthentication {
    /// There was nothing newer to present, or no connection to present it on.
    NotNeeded,
    /// The session now lasts as long as the newest token.
    Done,
    /// The cache refused; the earlier sign-in stands until its token ends.
    Refused(Failure),
    /// The connection was lost over it.
    Lost(Failure),
}

impl<D: Dial> Link<D> {
    pub(super) const fn new(
        target: Arc<Target>,
        dialer: D,
        sign_in: SignIn,
        clock: Clock,
        metrics: Arc<TargetMetrics>,
        status: Arc<TargetStatus>,
    ) -> Self {
        Self { target, dialer, sign_in, clock, metrics, status, open: None }
    }

    /// The session, if the connection is open.
    pub(super) fn session(&mut self) -> Option<&mut Session<D::Stream>> {
        self.open.as_mut().map(|open| &mut open.session)
    }

    /// Whether there is a connection.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens the connection and signs in, within the target's connect timeout once there are credentials, and until
    /// `deadline` at most.
    pub(super) async fn open(&mut self, deadline: Instant) -> Result<PhaseTimes, DialFailure> {
        self.open = None;
        self.status.connection(ConnectionState::Connecting);
        match self.try_open(deadline).await {
            Ok((open, phases)) => {
                let expiry = open.peer.tls.as_ref().and_then(|tls| tls.certificate_expiry);
                self.metrics.connected(&phases, expiry);
                self.status.connection(ConnectionState::Connected);
                self.open = Some(open);
                Ok(phases)
            }
            Err(failure) => {
                self.metrics.connect_failed(&failure.phases);
                self.status.connection(ConnectionState::Disconnected);
                Err(failure)
            }
        }
    }

    async fn try_open(&mut self, deadline: Instant) -> Result<(Open<D::Stream>, PhaseTimes), DialFailure> {
        let at = |phases: PhaseTimes| move |failure: Failure| DialFailure { failure, phases };
        // First, so that the phases hold the cache's time only, and no connection waits unauthenticated.
        let credentials = self.sign_in.credentials(deadline).await.map_err(at(PhaseTimes::default()))?;
        let deadline = deadline.min(Instant::now() + self.target.connect_timeout);
        let Dialed { stream, mut phases, peer } = self.dialer.dial(deadline).await?;
        let mut session = Session::new(stream, self.target.reply_limit, peer.local_address);
        if credentials != Credentials::None {
            let started = Instant::now();
            if let Err(failure) = session.authenticate(&credentials, deadline).await {
                if failure.reason == FailureReason::AuthRejected {
                    self.sign_in.refused();
                }
                return Err(at(phases)(blame_expiry(failure, &credentials, &self.clock)));
            }
            phases.set(Phase::Auth, started.elapsed());
        }
        session.introduce(deadline).await.map_err(at(phases))?;
        Ok((Open { session, credentials, peer }, phases))
    }

    /// Presents the newest credentials on the open connection, if they are not those of its session.
    pub(super) async fn reauthenticate(&mut self, timeout: Duration) -> Reauthentication {
        let Some(open) = &mut self.open else { return Reauthentication::NotNeeded };
        let deadline = Instant::now() + timeout;
        let credentials = match self.sign_in.credentials(deadline).await {
            Ok(credentials) if credentials != open.credentials => credentials,
            _ => return Reauthentication::NotNeeded,
        };
        match open.session.authenticate(&credentials, deadline).await {
            Ok(()) => {
                open.credentials = credentials;
                self.metrics.reauthenticated();
                Reauthentication::Done
            }
            Err(failure) => {
                self.metrics.reauthentication_failed();
                if open.session.is_usable() {
                    self.sign_in.refused();
                    Reauthentication::Refused(failure)
                } else {
                    Reauthentication::Lost(failure)
                }
            }
        }
    }

    /// Waits until an open connection is lost or there is a newer token. May be dropped at any time.
    pub(super) async fn lost_or_renewed(&mut self) -> LinkEvent {
        let Some(open) = &mut self.open else {
            self.sign_in.renewed().await;
            return LinkEvent::Renewed;
        };
        tokio::select! {
            biased;
            failure = open.session.lost() => LinkEvent::Lost(failure),
            () = self.sign_in.renewed() => LinkEvent::Renewed,
        }
    }

    /// Drops the connection, or what there is of it, without a cause to count.
    pub(super) fn abandon(&mut self) {
        self.open = None;
        self.status.connection(ConnectionState::Disconnected);
    }

    /// Drops the connection after `failure`, counts it with its cause, and returns that cause.
    pub(super) fn close(&mut self, failure: Failure) -> Failure {
        let Some(open) = self.open.take() else { return failure };
        let failure = blame_expiry(failure, &open.credentials, &self.clock);
        self.metrics.disconnected(failure.reason);
        self.status.connection(ConnectionState::Disconnected);
        failure
    }
}

/// What happened to a link between probes.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The connection is gone, or no longer to be trusted.
    Lost(Failure),
    /// There is a newer token, or the first answer of an identity.
    Renewed,
}

/// `failure`, with an expired token as its reason where that explains a refusal or a hang-up: a cache ends the
/// session of an expired token without a word, and refuses it in the same words as an unknown user.
fn blame_expiry(failure: Failure, credentials: &Credentials, clock: &Clock) -> Failure {
    let Credentials::Token { token, .. } = credentials else { return failure };
    let explains =
        matches!(failure.reason, FailureReason::AuthRejected | FailureReason::Closed | FailureReason::Reset);
    if explains && token.expires_at <= clock.now() + CLOCK_SKEW {
        Failure { reason: FailureReason::TokenExpired, ..failure }
    } else {
        failure
    }
}
