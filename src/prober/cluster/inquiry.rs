//! Asking for the topology: whom, in which order, and what becomes of a refusal.
//!
//! Views of nodes differ, and the one that is cut off from the others is the last to know. So links that are down are asked
//! last, and none is asked twice in a row while there are others. A refusal concerns the server that refuses: another one
//! is asked then.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};

use super::answers::{Asked, is_in_words};
use super::{Coordinator, TAKE};
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, StepResult};
use crate::prober::link::hosts;
use crate::prober::whole::LinkId;
use crate::status::Watch;
use crate::topology::Topology;

/// Who answered, at which address, and what.
pub(super) struct Answered {
    pub(super) by: Asked,
    pub(super) address: Option<SocketAddr>,
    pub(super) topology: Topology,
}

/// Why there is no topology.
pub(super) enum Unanswered {
    /// All who could be asked have refused: that is what the target is.
    Refused(StepResult, Failure),
    /// This may pass.
    Failed(Failure),
    /// All who are connected have refused before.
    Nobody,
}

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Asks for the topology, one after another as long as they refuse.
    pub(super) async fn inquire(&mut self) -> Result<Answered, Unanswered> {
        let (mut asked, mut empty) = (Vec::new(), Vec::new());
        let mut refused = None;
        while let Some((by, address, answer)) = self.ask(&asked).await {
            asked.push(by);
            match answer {
                // A node that has no slots, and knows no other: where others are known, they know better.
                Ok(topology) if topology.shards.is_empty() && !self.shards.is_empty() => {
                    self.answers.answered(by);
                    if empty.iter().all(|one: &Answered| one.address != address) {
                        empty.push(Answered { by, address, topology });
                    }
                }
                Ok(topology) => {
                    self.answers.answered(by);
                    return Ok(Answered { by, address, topology });
                }
                Err(failure) => match self.answers.failed(by, &failure, Instant::now()) {
                    Some(result) => refused = refused.or(Some((result, failure))),
                    None => return Err(Unanswered::Failed(failure)),
                },
            }
        }
        if let Some(answered) = empty.pop().filter(|_| !empty.is_empty() || self.is_lost_shard_alone()) {
            return Ok(answered);
        }
        let Some((result, failure)) = refused else { return Err(Unanswered::Nobody) };
        // Where the topology is known, only words end it.
        let is_end = self.shards.is_empty() || is_in_words(&failure) && !self.may_know_better();
        Err(if is_end { Unanswered::Refused(result, failure) } else { Unanswered::Failed(failure) })
    }

    /// Whether only one shard is known, and it does not serve: there is no second node that knows whether it has slots.
    fn is_lost_shard_alone(&self) -> bool {
        let watch = |id| self.links.shared.watch_of(id);
        matches!(&*self.shards, [shard] if watch(shard.id) == Watch::Down)
    }

    /// Whether a shard that was reached cannot be asked now and has not refused: it may know the topology.
    fn may_know_better(&self) -> bool {
        let now = Instant::now();
        let shared = &self.links.shared;
        self.shards.iter().any(|shard| {
            !self.answers.has_refused(Some(shard.id), now) && shared.note(|whole, _| whole.is_known(shard.id))
        })
    }

    /// Asks a link, or if none is idle and connected, the configured host, but none of `asked`. `None` if that leaves nobody.
    pub(super) async fn ask(
        &mut self,
        asked: &[Asked],
    ) -> Option<(Asked, Option<SocketAddr>, Result<Topology, Failure>)> {
        let shared = Arc::clone(&self.links.shared);
        let exceptions = self.exceptions(asked);
        for (place, except) in exceptions.iter().enumerate() {
            // The only link may be about to be connected again.
            let is_waited_for = asked.is_empty() && place + 1 == exceptions.len();
            if !is_waited_for && !shared.signals.are_connected_beside(except) {
                continue;
            }
            let command = self.links.target.command_timeout;
            let take = if is_waited_for { TAKE + command } else { TAKE };
            let mut answer = shared.signals.ask(except.clone());
            let is_taken = tokio::select! {
                biased;
                answered = &mut answer => match answered {
                    Ok((by, address, result)) => return Some((Some(by), address, result)),
                    Err(_) => false,
                },
                () = sleep(take) => !shared.signals.withdraw(),
                () = shared.signals.until_alone(except) => !shared.signals.withdraw(),
            };
            if is_taken && let Ok(Ok((by, address, result))) = timeout(command, answer).await {
                return Some((Some(by), address, result));
            }
        }
        // A link that refuses leads there as well.
        let may_ask = asked.is_empty() && !self.answers.has_refused(None, Instant::now());
        if may_ask { Some(self.ask_host().await) } else { None }
    }

    /// Returns which links are not to be asked: first those that others are asked before as well, then only those that were
    /// `asked` or are spared.
    fn exceptions(&self, asked: &[Asked]) -> [Vec<LinkId>; 3] {
        let now = Instant::now();
        let shared = &self.links.shared;
        let connected = shared.signals.connected_links();
        let never = |link: &&LinkId| asked.contains(&Some(**link)) || self.answers.is_spared(**link, now);
        let never: Vec<LinkId> = connected.iter().filter(never).copied().collect();
        let is_unlikely =
            |link: &&LinkId| self.answers.is_doubtful(**link) || shared.watch_of(**link) == Watch::Down;
        let unlikely = connected.iter().filter(is_unlikely);
        let unlikely: Vec<LinkId> = never.iter().chain(unlikely).copied().collect();
        let last = unlikely.iter().copied().chain(self.answers.last()).collect();
        [last, unlikely, never]
    }

    /// Asks the configured host on a connection of its own.
    pub(super) async fn ask_host(&mut self) -> (Asked, Option<SocketAddr>, Result<Topology, Failure>) {
        let target = Arc::clone(&self.links.target);
        let mut of_host = self.links.opener.clone();
        let connection = match of_host.open().await {
            Ok(opened) => opened.connection,
            Err(DialFailure { failure, .. }) => return (None, None, Err(failure)),
        };
        let (mut session, address) = (connection.session, connection.peer.address);
        let deadline = Instant::now() + target.command_timeout;
        let asked = session.cluster_slots(hosts(&target, &self.host.host), deadline).await;
        (None, address, asked)
    }
}
