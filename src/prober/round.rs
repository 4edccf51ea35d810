//! A round: the steps of a probe, in order, on an open session. Which key is written and read, and on which node, is in
//! `access.rs`.

mod access;
mod ask;
mod replica;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::key::Key;
use super::listing::{Listing, Reply};
use super::opening::{Connection, Opener};
use super::replicas::{Group, Reader};
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::connection::session::Session;
use crate::probe::{Failure, Step, StepResult, StepResults};
use crate::target::{ClientListMode, Protocol, Target};
use crate::topology::{Slot, SlotSet};

/// Half of the output buffer that Redis grants a subscribed connection for longer than a minute.
const MAX_SUBSCRIBED_LIST: usize = 4 * 1024 * 1024;

/// Runs the rounds of one target.
#[derive(Debug)]
pub(super) struct Rounds {
    target: Arc<Target>,
    key: Key,
    rng: fastrand::Rng,
    listing: Listing,
    pub(super) clients: Clients,
    /// The replicas of the shard, which read what is written here. `None` if they are not probed.
    replicas: Option<Arc<Group>>,
    /// What is read, if the server is a replica of a shard.
    reader: Option<Reader>,
    /// Whether the key was ever accepted.
    is_accepted: bool,
    /// When a key was last searched, because none had been accepted yet and because a slot had left, and instead of which
    /// another key was last tried.
    searched: Option<Instant>,
    searched_after_ask: Option<Instant>,
    tried: Option<(usize, Instant)>,
    /// Whether keys of other nodes are left to the links that lead there.
    leaves_keys: bool,
    /// Until when no `ASK` is followed, because the user may not. Nothing fails for that.
    asking_denied_until: Option<Instant>,
}

/// What is wanted of the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clients {
    /// Their number.
    #[default]
    Counted,
    /// Each of them.
    Kept,
    /// Nothing: they are not listed.
    Ignored,
}

/// What one round has found so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) steps: StepResults,
    pub(super) clients: Option<ClientList>,
    /// What a step failed with that must not, and when that began.
    pub(super) failed: Option<(Failure, Instant)>,
    /// Whether the slot of a key has another owner now, whether or not another key was accepted.
    pub(super) has_moved: bool,
    /// Whether the server has named another node for a key, as only clusters do, whatever came of that.
    pub(super) is_redirected: bool,
    /// What the connection was lost with, although the round has succeeded.
    pub(super) lost: Option<Failure>,
}

impl Rounds {
    pub(super) fn new(target: Arc<Target>, key: Key, rng: fastrand::Rng) -> Self {
        let is_placed = key.is_placed();
        Self {
            listing: Listing::new(target.client_list),
            target,
            key,
            rng,
            clients: Clients::default(),
            replicas: None,
            reader: None,
            is_accepted: is_placed,
            searched: None,
            searched_after_ask: None,
            tried: None,
            leaves_keys: false,
            asking_denied_until: None,
        }
    }

    /// Whether the reply to `CLIENT LIST` is so long that a server might hang up on a subscribed connection over it.
    pub(super) const fn lists_too_much(&self) -> bool {
        self.listing.length > MAX_SUBSCRIBED_LIST
    }

    /// Sets whether keys of other nodes are left to the links that lead there. A redirection then fails nothing, and no
    /// other key is tried.
    pub(super) const fn leave_keys(&mut self, leaves: bool) {
        self.leaves_keys = leaves;
    }

    /// Returns the slot of the key, if the server has ever accepted one.
    pub(super) fn accepted(&self) -> Option<Slot> {
        self.is_accepted.then(|| self.key.slot())
    }

    /// Goes on with a key in `slot`, if there is a choice: the server has accepted one there before.
    pub(super) fn resume(mut self, slot: Slot) -> Self {
        self.is_accepted = self.key.move_to(slot);
        self
    }

    /// Lets the replicas of the shard know what is written.
    pub(super) fn shared_with(self, replicas: Option<Arc<Group>>) -> Self {
        Self { replicas, ..self }
    }

    /// Probes a replica of a shard.
    pub(super) fn of_replica(self, reader: Reader) -> Self {
        Self { reader: Some(reader), ..self }
    }

    /// Writes keys in `slots` from now on.
    pub(super) fn place(&mut self, slots: Arc<SlotSet>) {
        self.key.place(slots, &mut self.rng);
    }

    /// Runs the steps until one fails that must not. Each has the target's command timeout.
    /// `opener` leads to other nodes where a slot is on its way.
    pub(super) async fn run<D: Dial>(
        &mut self,
        connection: &mut Connection<D::Stream>,
        opener: &Opener<D>,
    ) -> Round {
        let mut round = Round::default();
        // A failure is noted in the round. The key that failed is asked again.
        if self.steps(connection, opener, &mut round).await.is_ok() {
            self.key.take_turns();
        }
        round
    }

    async fn steps<D: Dial>(
        &mut self,
        connection: &mut Connection<D::Stream>,
        opener: &Opener<D>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let timeout = self.target.command_timeout;
        let started = Instant::now();
        round.note(Step::Ping, started, connection.session.ping(started + timeout).await)?;

        if let Some(reader) = &mut self.reader {
            return reader.read(self.key.name(), timeout, &mut connection.session, round).await;
        }
        self.access(connection, opener, round).await?;

        let Connection { session, protocol, .. } = connection;
        let is_due = self.clients != Clients::Ignored && self.listing.is_due();
        if is_due { self.list_clients(session, *protocol, round).await } else { Ok(()) }
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
        let listed = session.client_list(&mut list, self.clients == Clients::Kept, deadline).await;
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

impl Round {
    /// Notes that the user may not run a step that started at `started`, which fails nothing.
    fn denied(&mut self, step: Step, started: Instant) {
        self.steps.set(step, StepResult::Denied, started.elapsed());
    }

    /// Notes how a step that started at `started` ended.
    fn note<T>(&mut self, step: Step, started: Instant, result: Result<T, Failure>) -> Result<T, ()> {
        self.steps.set(step, StepResult::of(&result), started.elapsed());
        result.map_err(|failure| self.failed = Some((failure, started)))
    }
}
