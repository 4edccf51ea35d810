//! The commands of a round that have a key: `SET` and `GET`, or only `GET` where a replica is probed. Which key is asked for
//! where a node does not have it, and what an error shows of the server's role.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::asking::is_ask;
use super::super::opening::{Connection, Opener};
use super::{Round, Rounds};
use crate::connection::dialer::Dial;
use crate::connection::session::Session;
use crate::probe::{Failure, FailureReason, Mode, Role, ServerInfo, Stage, Step};
use crate::target::ExpectRole;
use crate::topology::{Redirect, RedirectKind};

/// What was written outlives a few probes, so that a slow GET still finds it, and then vanishes by itself.
const EXPIRY_INTERVALS: u32 = 3;
const MIN_EXPIRY: Duration = Duration::from_secs(5);
/// How many other keys are tried where none has been accepted yet, and how often at most.
const SEARCH_KEYS: u32 = 64;
const SEARCH_PAUSE: Duration = Duration::from_secs(60);
/// What to do if a replica has answered where a primary was expected.
const IS_REPLICA: &str = "`host` leads to a replica: set it to the name of the whole cache or of its primary, or set \
                          `expect_role: replica`. Expected for a few seconds during a failover.";

/// What to do if a sentinel has answered.
const IS_SENTINEL: &str = "This server is a Sentinel and has no keys: instead of `host`, set `sentinel.addresses` to it and \
     to the other sentinels, and `sentinel.service` to the name of the service.";

/// What to do if a replica of a cluster may not be read.
const NO_READONLY: &str = "`host` leads to a replica of a cluster, which answers reads only after `READONLY`: give the user `+readonly`.";

/// What is done with a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access<'a> {
    /// This value is written.
    Write(&'a str),
    /// Whatever is there is read.
    Read,
    /// This value is read, which was written before.
    Check(&'a str),
}

/// What is written: 32 hexadecimal digits.
struct Value([u8; 32]);

impl Value {
    fn random(rng: &mut fastrand::Rng) -> Self {
        Self(std::array::from_fn(|_| rng.choice(*b"0123456789abcdef").unwrap_or_default()))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// Where a key was accessed.
pub(super) enum Accessed<S> {
    /// On the node that is connected.
    Here,
    /// On the node that it had named.
    There(Box<Session<S>>),
    /// Nowhere: the node that is connected is a replica, and that is as well.
    IsReplica,
    /// Nowhere: another link leads to the node that has the key.
    Left,
    /// Nowhere: its slot is on its way to another node, which the user may not ask. Clients that may are served.
    Denied,
}

impl Rounds {
    /// Whether only reads are probed of `server`. The topology names the primary of a shard, whatever role is expected.
    pub(in crate::prober) fn only_reads(&self, server: &ServerInfo) -> bool {
        let is_of_shard = self.key.is_placed();
        match self.target.expect_role {
            ExpectRole::Primary => false,
            ExpectRole::Replica => !is_of_shard,
            ExpectRole::Any => !is_of_shard && server.is_replica(),
        }
    }

    /// Writes a value and reads it, or only reads.
    pub(super) async fn access<D: Dial>(
        &mut self,
        connection: &mut Connection<D::Stream>,
        opener: &Opener<D>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let accessed = if self.only_reads(&connection.server) {
            self.first(Access::Read, connection, opener, round).await.map(drop)
        } else {
            self.write_and_read(connection, opener, round).await
        };
        if let Some((failure, _)) = &mut round.failed
            && let Some(key) = self.key.shown()
        {
            failure.detail = format!("{} ({key})", failure.detail).into();
        }
        accessed
    }

    async fn write_and_read<D: Dial>(
        &mut self,
        connection: &mut Connection<D::Stream>,
        opener: &Opener<D>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let value = Value::random(&mut self.rng);
        let value = value.as_str();
        let mut there = match self.first(Access::Write(value), connection, opener, round).await? {
            Accessed::Here => None,
            Accessed::There(session) => Some(session),
            Accessed::Left | Accessed::Denied => return Ok(()),
            Accessed::IsReplica => {
                return self.first(Access::Read, connection, opener, round).await.map(drop);
            }
        };
        let mut started = Instant::now();
        let deadline = started + self.target.command_timeout;
        let session = there.as_deref_mut().unwrap_or(&mut connection.session);
        let mut got = session.get(self.key.name(), value, deadline).await;
        if let Err(ask) = &got
            && there.is_none()
            && is_ask(ask)
        {
            // The slot has left since the value was written, and the value with it.
            let ask = ask.clone();
            round.is_redirected = true;
            // Boxed, as below: it is rare.
            let asked = Box::pin(self.ask(Access::Check(value), &ask, opener, &mut started)).await;
            if matches!(asked, Ok(Accessed::Denied)) {
                round.denied(Step::Get, started);
                return Ok(());
            }
            got = asked.map(drop);
        }
        round.note(Step::Get, started, got)
    }

    /// Accesses the first key of the round. Of a cluster's node any key of our own will do that lies there.
    async fn first<D: Dial>(
        &mut self,
        access: Access<'_>,
        connection: &mut Connection<D::Stream>,
        opener: &Opener<D>,
        round: &mut Round,
    ) -> Result<Accessed<D::Stream>, ()> {
        let step = if matches!(access, Access::Write(_)) { Step::Set } else { Step::Get };
        let mut others = None;
        let mut first_key = None;
        loop {
            let mut started = Instant::now();
            let mut accessed =
                self.send(access, &mut connection.session, started).await.map(|()| Accessed::Here);
            if let Err(failure) = &accessed
                && connection.session.is_usable()
            {
                round.is_redirected |= Redirect::parse(&failure.detail).is_some();
                let is_elsewhere = step == Step::Set && failure.reason == FailureReason::WrongNode;
                if is_elsewhere && self.leaves_keys && !self.only_reads(&connection.server) {
                    return Ok(Accessed::Left);
                }
                if others.is_none() {
                    self.learn_role(connection, failure).await;
                }
                let is_replica = connection.server.is_replica();
                if step == Step::Set && is_replica && self.only_reads(&connection.server) {
                    return Ok(Accessed::IsReplica);
                }
                if step == Step::Get && Self::needs_read_only(connection, failure) {
                    let read_only = connection.session.read_only(started + self.target.command_timeout).await;
                    connection.is_read_only = read_only.is_ok();
                    match read_only {
                        Ok(()) => continue,
                        Err(failure) => {
                            let failure = failure.naming_right(NO_READONLY);
                            return round.note(step, started, Err(failure));
                        }
                    }
                }
                if failure.reason == FailureReason::WrongNode && self.key.is_renewable() {
                    let takes_none = is_replica && step == Step::Set;
                    if let Some(redirect) = Redirect::parse(&failure.detail).filter(|_| !takes_none) {
                        round.has_moved |= redirect.kind == RedirectKind::Moved;
                        self.key.redirected(connection.peer.address, redirect);
                    }
                    let left = others.get_or_insert_with(|| self.other_keys(failure, takes_none));
                    if *left > 0 && connection.session.is_usable() {
                        *left -= 1;
                        let before = self.key.renew(&mut self.rng);
                        first_key.get_or_insert(before);
                        continue;
                    }
                }
                if is_ask(failure) {
                    let ask = failure.clone();
                    accessed = Box::pin(self.ask(access, &ask, opener, &mut started)).await;
                    if matches!(accessed, Ok(Accessed::Denied)) {
                        round.denied(step, started);
                        return Ok(Accessed::Denied);
                    }
                }
            }
            let accessed = accessed.map_err(|failure| of_server(failure, &connection.server));
            let accessed = round.note(step, started, accessed);
            match (&accessed, first_key) {
                (Ok(Accessed::Here), _) => {
                    self.is_accepted = true;
                    self.key.accepted(connection.peer.address);
                    if step == Step::Set {
                        if let Some(group) = &self.replicas {
                            group.written(Instant::now(), self.expiry());
                        }
                        connection.server.role.get_or_insert(Role::Primary);
                    }
                }
                // What was accepted once is right again after a failover or on a new connection.
                (Err(()), Some(key)) if self.is_accepted => self.key.restore(key),
                _ => {}
            }
            return accessed;
        }
    }

    pub(super) async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        access: Access<'_>,
        session: &mut Session<S>,
        now: Instant,
    ) -> Result<(), Failure> {
        let deadline = now + self.target.command_timeout;
        match access {
            Access::Write(value) => {
                if let Some(group) = &self.replicas {
                    group.writing(self.key.name(), value);
                }
                session.set(self.key.name(), value, self.expiry(), deadline).await
            }
            Access::Read => session.read(self.key.name(), deadline).await.map(drop),
            Access::Check(value) => session.get(self.key.name(), value, deadline).await,
        }
    }

    fn expiry(&self) -> Duration {
        (self.target.interval * EXPIRY_INTERVALS).max(MIN_EXPIRY)
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
            // If the connection is lost over it, the failure shows that the server has left us anyway.
            let deadline = Instant::now() + self.target.command_timeout;
            if let Ok(info) = session.server_info(deadline).await {
                *server = info;
            }
        }
    }

    /// Whether `failure` says that a replica of a cluster answers reads only after `READONLY`.
    fn needs_read_only<S: AsyncRead + AsyncWrite + Unpin>(
        Connection { session, server, is_read_only, .. }: &Connection<S>,
        failure: &Failure,
    ) -> bool {
        failure.reason == FailureReason::WrongNode
            && server.is_replica()
            && server.mode == Some(Mode::Cluster)
            && !is_read_only
            && session.is_usable()
    }

    /// How many other keys may be tried in this round after the node has said that a key is not its own. A server that
    /// `takes_none` is not asked for another.
    fn other_keys(&mut self, failure: &Failure, takes_none: bool) -> u32 {
        if takes_none {
            return 0;
        }
        let now = Instant::now();
        let is_over = |last: Option<Instant>, pause| last.is_none_or(|last| now - last >= pause);
        let search = if is_ask(failure) {
            // One slot is on its way to another node. The others of this node are still here.
            Some(&mut self.searched_after_ask)
        } else {
            Some(&mut self.searched).filter(|_| !self.is_accepted)
        };
        if let Some(last) = search.filter(|last| is_over(**last, SEARCH_PAUSE)) {
            *last = Some(now);
            SEARCH_KEYS
        } else if self.tried.is_none_or(|(turn, _)| turn != self.key.turn())
            || is_over(self.tried.map(|(_, at)| at), self.target.interval)
        {
            // Each of several keys has its own tick.
            self.tried = Some((self.key.turn(), now));
            1
        } else {
            0
        }
    }
}

/// Returns `failure`, with what to do if a sentinel or a replica has answered so.
fn of_server(failure: Failure, server: &ServerInfo) -> Failure {
    if server.mode == Some(Mode::Sentinel) {
        return Failure { advice: Some(IS_SENTINEL), ..failure };
    }
    if !server.is_replica() || failure.stage != Stage::Step(Step::Set) {
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
