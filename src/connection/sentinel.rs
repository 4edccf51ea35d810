//! Finds the primary of a service by asking its sentinels.
//!
//! The sentinels are asked in turn (`turns.rs`). What they have said is kept in `knowledge.rs`, which decides between answers
//! that differ. All dialers of a target share it, and so does who watches the sentinels for failovers.

mod failure;
mod knowledge;
mod turns;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::failure::{NO_PASSWORD, not_a_primary};
pub use self::knowledge::Knowledge;
use self::turns::Turns;
use super::deadline::within;
use super::dial::{self, Stream};
use super::handshake::{Greeting, NotGreeted};
use super::resolver::Resolver;
use super::session::Session;
use super::tls::TlsClient;
use super::tls::reload::ReloadedClient;
use super::trace::{AskedSentinel, Trace};
use crate::descriptors::Purpose;
use crate::identity::Credentials;
use crate::identity::sign_in::SignIn;
use crate::lock::lock;
use crate::log_budget::LogBudget;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::target::{Endpoint, Protocol, Sentinels, TargetName, Tls};

const STAGE: Stage = Stage::Phase(Phase::Resolve);
/// How long a server may take to accept a connection that shows whether it is there.
const REACH: Duration = Duration::from_secs(2);
/// The largest reply of a sentinel, in bytes. The answers have less than 300.
const REPLY_LIMIT: usize = 16 * 1024;
const MOVED: &str = "Expected after a failover.";

/// Asks the sentinels of one target. Clones share what they have said.
#[derive(Clone, Debug)]
pub struct Locator {
    service: Arc<Service>,
    sign_in: SignIn,
    tls: Option<ReloadedClient>,
    resolver: Resolver,
    trace: Trace,
}

/// What all clones share.
#[derive(Debug)]
struct Service {
    target: TargetName,
    sentinels: Sentinels,
    knowledge: watch::Sender<Knowledge>,
    turns: Turns,
    log: Mutex<LogBudget>,
}

/// Where the primary is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) endpoint: Endpoint,
    /// The deadline, moved by the time for which the agent did not run.
    pub(super) deadline: Instant,
    pub(super) epoch: u64,
}

/// What a connection to a sentinel needs.
struct Access {
    credentials: Credentials,
    client: Option<TlsClient>,
}

impl Locator {
    /// Creates a locator of the primary of `target`. `sign_in` is for the sentinels, and `tls` is given if their
    /// connections are encrypted.
    #[must_use]
    pub fn new(
        target: TargetName,
        sentinels: Sentinels,
        sign_in: SignIn,
        tls: Option<ReloadedClient>,
        resolver: Resolver,
    ) -> Self {
        let knowledge = watch::Sender::new(Knowledge::new(sentinels.addresses.len()));
        let turns = Turns::new(sentinels.addresses.len());
        let service = Arc::new(Service { target, sentinels, knowledge, turns, log: Mutex::default() });
        Self { service, sign_in, tls, resolver, trace: Trace::default() }
    }

    /// The same locator, which notes in `trace` what the sentinels say.
    pub(super) fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// Returns the sentinels that are asked.
    #[must_use]
    pub fn sentinels(&self) -> &Sentinels {
        &self.service.sentinels
    }

    /// Returns what the sentinels have said, and each change of it.
    #[must_use]
    pub fn knowledge(&self) -> watch::Receiver<Knowledge> {
        self.service.knowledge.subscribe()
    }

    /// Asks for the address of the primary. Leaves half of the time until `deadline` to connect to it.
    ///
    /// # Errors
    /// Why no sentinel has named it. The text names each sentinel.
    pub(super) async fn locate(&mut self, deadline: Instant) -> Result<Located, Failure> {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        self.trace.note(|findings| findings.sentinels.clear());
        let mut until = half;
        let access = self.access(&mut until).await?;
        // Each question ends by itself; a stop of the agent moves both ends.
        let asked_until = until;
        let place = {
            let locator = &*self;
            let asking = pin!(locator.ask_in_turn(&access, asked_until));
            match within(&mut until, asking).await {
                Ok(place) => place?,
                Err(_) => return Err(self.service.nobody_knows()),
            }
        };
        Ok(Located { endpoint: place.address, epoch: place.epoch, deadline: deadline + (until - half) })
    }

    /// Waits until the primary is another one than it was in `epoch`, and returns why a connection to that one is to be
    /// left. Cancel safe.
    pub(super) async fn moved_since(&self, epoch: u64) -> Failure {
        let mut knowledge = self.knowledge();
        let moved = knowledge.wait_for(|knowledge| !knowledge.stands(epoch)).await;
        let address = moved.ok().and_then(|knowledge| knowledge.primary().map(Endpoint::to_string));
        let detail = format!("the sentinels name another primary: {}", address.unwrap_or_default());
        Failure { advice: Some(MOVED), ..Failure::new(FailureReason::WrongNode, Stage::Idle, detail) }
    }

    /// Waits until there are other credentials or certificates for the sentinels than those of the last
    /// [`Self::locate`]. Cancel safe.
    pub(super) async fn renewed(&mut self) {
        let Self { sign_in, tls, .. } = self;
        let certificates = async {
            match tls {
                Some(client) => client.renewed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sign_in.renewed() => {}
            () = certificates => {}
        }
    }

    /// Opens a connection to `sentinel` and signs in.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(
        &mut self,
        sentinel: usize,
        mut deadline: Instant,
    ) -> Result<(Session<Stream>, Protocol), Failure> {
        let access = self.access(&mut deadline).await?;
        self.service.open(sentinel, &access, &self.resolver, deadline).await
    }

    /// Records that `sentinel` names `address` as the primary's. Everybody who follows the primary learns of a change.
    pub fn named(&self, sentinel: usize, address: &Endpoint) {
        self.learn(|knowledge, now| knowledge.named(sentinel, address, now));
    }

    /// Records that `sentinel` names no address.
    pub fn silent(&self, sentinel: usize) {
        self.service.knowledge.send_modify(|knowledge| knowledge.silent(sentinel));
    }

    /// Finds out whether a server is where one sentinel says that the primary is now: the connection to the previous one is
    /// left only then.
    pub async fn check_rumour(&self) {
        let Some(address) = self.service.knowledge.borrow().rumour().cloned() else { return };
        let deadline = Instant::now() + REACH;
        let trace = Trace::default();
        let dialed = dial::dial(&address, None, deadline, &self.resolver, Purpose::Target, &trace).await;
        match dialed {
            Ok(_) => self.learn(|knowledge, now| knowledge.reached(&address, now)),
            Err(failed) => self.not_reached(&address, &failed.failure),
        }
    }

    /// Records that there is no connection to the server at `address`: it is not known to be the primary.
    pub(super) fn not_reached(&self, address: &Endpoint, failure: &Failure) {
        debug!(target = %self.service.target, %address, %failure, "primary not reached");
        if !failure.reason.is_local() {
            self.learn(|knowledge, now| knowledge.refuted(address, false, now));
        }
    }

    /// Judges the server at `address` by its greeting: it must be a primary. Who named another server is asked last from
    /// now on.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn accept(&self, address: &Endpoint, greeting: &Greeting) -> Result<(), Failure> {
        let failure = not_a_primary(greeting);
        self.learn(|knowledge, now| match failure {
            None => knowledge.confirmed(address, now),
            Some(_) => knowledge.refuted(address, true, now),
        });
        let Some((reason, words, advice)) = failure else { return Ok(()) };
        let detail =
            format!("the sentinels name {address} as the primary of {}; {words}", self.sentinels().service);
        Err(Failure { advice: Some(advice), ..Failure::new(reason, Stage::Phase(Phase::Auth), detail) })
    }

    /// Enters something in the knowledge, and tells what has changed: it returns the previous primary.
    fn learn(&self, change: impl FnOnce(&mut Knowledge, Instant) -> Option<Endpoint>) {
        let now = Instant::now();
        let (mut previous, mut address, mut distrusted) = (None, None, Vec::new());
        self.service.knowledge.send_modify(|knowledge| {
            let before: Vec<usize> = knowledge.distrusted().collect();
            previous = change(knowledge, now);
            address = knowledge.primary().cloned();
            distrusted = knowledge.distrusted().filter(|it| !before.contains(it)).collect();
        });
        let Service { target, sentinels, log, .. } = &*self.service;
        let mut log = lock(log);
        for sentinel in distrusted.into_iter().filter(|_| log.take(now)) {
            let sentinel = &sentinels.addresses[sentinel];
            warn!(%target, %sentinel, "sentinel is wrong about the primary; others are asked first");
        }
        if let (Some(previous), Some(address)) = (previous, address) {
            if log.take(now) {
                info!(%target, %address, %previous, "sentinels name another primary");
            } else {
                debug!(%target, %address, %previous, "sentinels name another primary again");
            }
        }
    }

    /// Returns what connections to sentinels need.
    async fn access(&mut self, deadline: &mut Instant) -> Result<Access, Failure> {
        let client = self.tls.as_mut().map(ReloadedClient::newest);
        // A file may hang.
        match within(deadline, pin!(self.sign_in.credentials())).await {
            Ok(Ok(credentials)) => Ok(Access { credentials, client }),
            Ok(Err(failure)) => {
                let advice = if failure.reason.is_local() { None } else { Some(NO_PASSWORD) };
                Err(Failure { stage: STAGE, advice, ..failure })
            }
            Err(_) => {
                let detail = "the sentinels' password was not read in time";
                let failure = Failure::new(FailureReason::NoToken, STAGE, detail);
                Err(Failure { advice: Some(NO_PASSWORD), ..failure })
            }
        }
    }

    fn note(&self, sentinel: usize, answer: &Result<Option<Endpoint>, Failure>) {
        self.trace.note(|findings| {
            findings.sentinels.push(AskedSentinel {
                sentinel: self.sentinels().addresses[sentinel].clone(),
                answer: match answer {
                    Ok(Some(address)) => Ok(address.clone()),
                    Ok(None) => Err(self.service.unknown()),
                    Err(failure) => Err(failure.to_string()),
                },
            });
        });
    }
}

impl Service {
    async fn open(
        &self,
        sentinel: usize,
        access: &Access,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<(Session<Stream>, Protocol), Failure> {
        let endpoint = &self.sentinels.addresses[sentinel];
        let name = match &self.sentinels.tls {
            Tls::On { server_name: Some(name), .. } => name,
            Tls::On { .. } | Tls::Off => &*endpoint.host,
        };
        let tls = access.client.as_ref().map(|client| (client, name));
        let trace = Trace::default();
        let dialed = dial::dial(endpoint, tls, deadline, resolver, Purpose::Target, &trace).await;
        let mut dialed = dialed.map_err(|failed| failed.failure)?;
        let mut session = Session::new(dialed.stream, REPLY_LIMIT, None);
        match session.greet(&access.credentials, None, &mut dialed.deadline).await {
            // A user of sentinels needs no right to send PING.
            Ok(greeting) => Ok((session, greeting.protocol)),
            Err(NotGreeted::Failed(failure) | NotGreeted::HungUp(failure)) => Err(failure),
        }
    }

    async fn ask(
        &self,
        sentinel: usize,
        access: &Access,
        resolver: &Resolver,
        until: Instant,
    ) -> Result<Option<Endpoint>, Failure> {
        let (mut session, _) = self.open(sentinel, access, resolver, until).await?;
        session.primary_of(&self.sentinels.service, until).await
    }
}
