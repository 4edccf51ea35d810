//! A round: the steps of a probe, in order, on an open session.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::key::Key;
use super::listing::{Listing, Reply};
use super::opening::Connection;
use crate::connection::client_list::ClientList;
use crate::connection::session::Session;
use crate::probe::{Failure, FailureReason, Role, ServerInfo, Step, StepResult, StepResults};
use crate::target::{ClientListMode, Protocol, Target};

/// What was written outlives a few probes, so that a slow GET still finds it, and then vanishes by itself.
const EXPIRY_INTERVALS: u32 = 3;
const MIN_EXPIRY: Duration = Duration::from_secs(5);
/// How many other keys are tried where none has been accepted yet, and how often at most.
const SEARCH_KEYS: u32 = 64;
const SEARCH_PAUSE: Duration = Duration::from_secs(60);
/// Half of the output buffer that Redis grants a subscribed connection for longer than a minute.
const MAX_SUBSCRIBED_LIST: usize = 4 * 1024 * 1024;

/// What to do if a replica has answered where a primary was expected.
const IS_REPLICA: &str = "`host` leads to a replica: set it to the name of the whole cache or of its primary, or set \
                          `expect_role: replica`. Expected for a few seconds during a failover.";

/// Runs the rounds of one target.
#[derive(Debug)]
pub(super) struct Rounds {
    target: Arc<Target>,
    key: Key,
    rng: fastrand::Rng,
    listing: Listing,
    /// Whether each of the clients is wanted, and not only their number.
    pub(super) keeps_clients: bool,
    /// Whether the key was ever accepted.
    is_accepted: bool,
    /// When a key was last searched, because none had been accepted yet and because a slot had left, and when another
    /// key was last tried.
    searched: Option<Instant>,
    searched_after_ask: Option<Instant>,
    tried: Option<Instant>,
}

/// What one round has found so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) steps: StepResults,
    pub(super) clients: Option<ClientList>,
    /// What a step failed with that must not, and when that began.
    pub(super) failed: Option<(Failure, Instant)>,
    /// What the connection was lost with, although the round has succeeded.
    pub(super) lost: Option<Failure>,
}

impl Rounds {
    pub(super) fn new(target: Arc<Target>, key: Key, rng: fastrand::Rng) -> Self {
        Self {
            listing: Listing::new(target.client_list),
            target,
            key,
            rng,
            keeps_clients: false,
            is_accepted: false,
            searched: None,
            searched_after_ask: None,
            tried: None,
        }
    }

    /// Whether the reply to `CLIENT LIST` is so long that a server might hang up on a subscribed connection over it.
    pub(super) const fn lists_too_much(&self) -> bool {
        self.listing.length > MAX_SUBSCRIBED_LIST
    }

    /// Runs the steps until one fails that must not. Each has the target's command timeout.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Round {
        let mut round = Round::default();
        // The failure is noted in the round.
        let _ = self.steps(connection, &mut round).await;
        round
    }

    async fn steps<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let timeout = self.target.command_timeout;
        let started = Instant::now();
        round.note(Step::Ping, started, connection.session.ping(started + timeout).await)?;

        let value = format!("{:032x}", self.rng.u128(..));
        self.set(connection, &value, round).await?;

        let Connection { session, protocol, .. } = connection;
        let started = Instant::now();
        round.note(Step::Get, started, session.get(self.key.name(), &value, started + timeout).await)?;

        if self.listing.is_due() { self.list_clients(session, *protocol, round).await } else { Ok(()) }
    }

    /// Counts the clients. Where the list is optional, nothing about it fails the round, not even a connection that is
    /// lost over it.
    async fn list_clients<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &mut Session<S>,
        protocol: Protocol,
        round: &mut Round,
    ) -> Result<(), ()> {
        let started = Instant::now();
        let mut list = ClientList::default();
        let deadline = started + self.target.command_timeout;
        let listed = session.client_list(&mut list, self.keeps_clients, deadline).await;
        let reply = match &listed {
            Ok(()) => Reply::Whole,
            Err(_) if session.is_unanswered() => Reply::Missing,
            Err(_) if list.length > 0 => Reply::CutOff,
            Err(_) => Reply::Refusal,
        };
        self.listing.note(reply, &list, protocol);
        if listed.is_ok() {
            round.clients = Some(list);
        }
        match (self.target.client_list.mode, &listed) {
            (ClientListMode::Optional, Err(failure)) => {
                round.steps.set(Step::ClientList, StepResult::of(&listed), started.elapsed());
                round.lost = (!session.is_usable()).then(|| failure.clone());
                Ok(())
            }
            _ => round.note(Step::ClientList, started, listed),
        }
    }
}

impl Rounds {
    /// Writes `value`. Of a cluster's node any key of our own will do that lies there.
    async fn set<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        value: &str,
        round: &mut Round,
    ) -> Result<(), ()> {
        let expiry = (self.target.interval * EXPIRY_INTERVALS).max(MIN_EXPIRY);
        let mut others = None;
        let mut first_key = None;
        loop {
            let started = Instant::now();
            let deadline = started + self.target.command_timeout;
            let set = connection.session.set(self.key.name(), value, expiry, deadline).await;
            if let Err(failure) = &set {
                self.learn_role(connection, failure).await;
                if failure.reason == FailureReason::WrongNode
                    && self.key.is_renewable()
                    && connection.session.is_usable()
                {
                    let is_replica = connection.server.is_replica();
                    let left = others.get_or_insert_with(|| self.other_keys(failure, is_replica));
                    if *left > 0 {
                        *left -= 1;
                        let before = self.key.renew(&mut self.rng);
                        first_key.get_or_insert(before);
                        continue;
                    }
                }
            } else {
                connection.server.role.get_or_insert(Role::Primary);
            }
            let set = set.map_err(|failure| of_replica(failure, &connection.server));
            let is_set = round.note(Step::Set, started, set);
            match (&is_set, first_key) {
                // What was accepted once is right again after a failover or on a new connection.
                (Err(()), Some(key)) if self.is_accepted => self.key.restore(key),
                (Err(()), _) => {}
                (Ok(()), _) => self.is_accepted = true,
            }
            return is_set;
        }
    }

    /// Notes the role that `failure` shows, or asks the server for it if the failure shows that it may have changed.
    async fn learn_role<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S>,
        failure: &Failure,
    ) {
        let Connection { session, server, has_served, .. } = connection;
        if failure.reason == FailureReason::ReadOnly {
            server.role = Some(Role::Replica);
        } else if failure.detail.starts_with("MOVED ")
            && *has_served
            && !server.is_replica()
            && server.answers_hello_again()
        {
            // A failure shows in the next command.
            let deadline = Instant::now() + self.target.command_timeout;
            if let Ok(info) = session.server_info(deadline).await {
                *server = info;
            }
        }
    }

    /// How many other keys may be tried in this round after the node has said that a key is not its own.
    fn other_keys(&mut self, failure: &Failure, is_replica: bool) -> u32 {
        if is_replica {
            // It takes no key.
            return 0;
        }
        let now = Instant::now();
        let is_over = |last: Option<Instant>, pause| last.is_none_or(|last| now - last >= pause);
        let search = if failure.detail.starts_with("ASK ") {
            // One slot is on its way to another node. The others of this node are still here.
            Some(&mut self.searched_after_ask)
        } else {
            Some(&mut self.searched).filter(|_| !self.is_accepted)
        };
        if let Some(last) = search.filter(|last| is_over(**last, SEARCH_PAUSE)) {
            *last = Some(now);
            SEARCH_KEYS
        } else if is_over(self.tried, self.target.interval) {
            self.tried = Some(now);
            1
        } else {
            0
        }
    }
}

/// Returns `failure`, with what to do if a replica has answered so.
fn of_replica(failure: Failure, server: &ServerInfo) -> Failure {
    if !server.is_replica() {
        return failure;
    }
    match failure.reason {
        FailureReason::ReadOnly => Failure { advice: Some(IS_REPLICA), ..failure },
        FailureReason::WrongNode => {
            let detail = format!("{}: this node is a replica", failure.detail);
            Failure { advice: Some(IS_REPLICA), detail: detail.into(), ..failure }
        }
        _ => failure,
    }
}

impl Round {
    /// Notes how a step that started at `started` ended.
    fn note<T>(&mut self, step: Step, started: Instant, result: Result<T, Failure>) -> Result<T, ()> {
        self.steps.set(step, StepResult::of(&result), started.elapsed());
        result.map_err(|failure| self.failed = Some((failure, started)))
    }
}
