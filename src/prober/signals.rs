//! What the links of a target report to the coordinator of its shards, and what it asks of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use super::directions::Direction;
use super::whole::LinkId;
use crate::lock::lock;
use crate::probe::Failure;
use crate::topology::{Slot, Topology};

/// How long the only connection may take to be replaced after a server has closed it.
const REPLACEMENT: Duration = Duration::from_millis(100);

/// The signals between the links of one target and its coordinator.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
    /// Wakes the coordinator.
    told: Notify,
    /// Wakes the links for a question.
    asked: Notify,
    /// Wakes the coordinator when no link is connected any more.
    alone: Notify,
    /// Whether the link to the configured host is not needed.
    is_front_retired: Mutex<bool>,
    front: Notify,
}

#[derive(Debug, Default)]
struct State {
    search: Search,
    cluster: Cluster,
    /// Whether something happened after which the topology may be another.
    is_stale: bool,
    /// Whether something happened that the coordinator looks at.
    has_news: bool,
    question: Option<Question>,
    /// When the newest question was asked.
    questioned: Option<Instant>,
    /// What the server at the host's new address has answered.
    host_moved: Option<Box<Result<Topology, Failure>>>,
    /// The links to primaries, or to the configured host, that are connected.
    connected: Vec<LinkId>,
    /// The shards that were reached, by their lowest slots.
    reached: Vec<(LinkId, Direction)>,
}

/// A link is connected until this is dropped.
#[derive(Debug)]
pub(super) struct Connected(Arc<Signals>, LinkId);

impl Drop for Connected {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(place) = state.connected.iter().position(|link| *link == self.1) {
            state.connected.swap_remove(place);
        }
        drop(state);
        self.0.alone.notify_one();
    }
}

/// What is known of whether the target is a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Cluster {
    #[default]
    Unknown,
    /// It is to be asked for its topology.
    Possible,
    /// A server has said so.
    Named,
}

/// Whether the shards of a cluster are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Search {
    /// There is nobody who would.
    #[default]
    Nobody,
    /// They are watched, or are about to be.
    Succeeds,
    /// None can be watched.
    InVain,
}

/// What the coordinator is woken for.
#[derive(Debug)]
pub(super) enum News {
    /// The topology may be another.
    Stale,
    /// A link has been tried, or is up or down.
    Progress,
    /// The host's name leads to another address than before, where this was answered to the question for the topology.
    HostMoved(Box<Result<Topology, Failure>>),
}

/// The question for the topology. A link that is idle and connected answers it.
#[derive(Debug)]
pub(super) struct Question {
    except: Vec<LinkId>,
    reply: oneshot::Sender<Answer>,
}

/// Who answered, at which address, and what.
pub(super) type Answer = (LinkId, Option<SocketAddr>, Result<Topology, Failure>);

impl Question {
    pub(super) fn answer(self, answer: Answer) {
        // The coordinator may have given up waiting.
        let _ = self.reply.send(answer);
    }
}

impl Signals {
    /// If the target is a cluster, its shards are looked for, and so far not `in_vain`.
    pub(super) fn search(&self, in_vain: bool) {
        self.lock().search = if in_vain { Search::InVain } else { Search::Succeeds };
    }

    /// Only these shards have been reached, by these links. They are in the order of their lowest slots.
    pub(super) fn reached(&self, shards: Vec<(LinkId, Direction)>) {
        self.lock().reached = shards;
    }

    /// Returns the shard that comes after the one with the lowest slot `last`; after the last, the first.
    pub(super) fn shard_after(&self, last: Option<Slot>) -> Option<(LinkId, Direction)> {
        let state = self.lock();
        let next = state.reached.iter().find(|(_, shard)| shard.slots.lowest() > last);
        next.or_else(|| state.reached.first()).cloned()
    }

    /// Whether the target is, or may be, a cluster.
    pub(super) fn knows_cluster(&self) -> bool {
        self.lock().cluster != Cluster::Unknown
    }

    /// Whether the shards of a cluster are watched, or are about to be.
    pub(super) fn finds_shards(&self) -> bool {
        let state = self.lock();
        state.cluster != Cluster::Unknown && state.search == Search::Succeeds
    }

    /// A server may belong to a cluster.
    pub(super) fn is_cluster(&self) {
        self.tell(|state| (state.cluster, state.is_stale) = (state.cluster.max(Cluster::Possible), true));
    }

    /// A server has said that it belongs to a cluster, or has redirected to another node.
    pub(super) fn names_cluster(&self) {
        self.tell(|state| (state.cluster, state.is_stale) = (Cluster::Named, true));
    }

    /// A server has said that it belongs to none.
    pub(super) fn is_no_cluster(&self) {
        let mut state = self.lock();
        state.cluster = state.cluster.min(Cluster::Possible);
    }

    /// Whether a server has said that it belongs to a cluster, and none since that it does not.
    pub(super) fn is_named_cluster(&self) -> bool {
        self.lock().cluster == Cluster::Named
    }

    /// Something happened after which the topology may be another.
    pub(super) fn is_stale(&self) {
        self.tell(|state| state.is_stale = true);
    }

    /// The host's name leads elsewhere now, where this was answered.
    pub(super) fn host_moved(&self, answer: Result<Topology, Failure>) {
        self.tell(|state| state.host_moved = Some(Box::new(answer)));
    }

    /// Something happened that the coordinator looks at.
    pub(super) fn has_news(&self) {
        self.tell(|state| state.has_news = true);
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.told.notify_one();
    }

    /// Waits until the target may be a cluster. For the coordinator, before it begins.
    pub(super) async fn until_cluster(&self) {
        while !self.knows_cluster() {
            self.told.notified().await;
        }
    }

    /// Waits for something that a link tells. For the coordinator; cancel safe.
    pub(super) async fn news(&self) -> News {
        loop {
            {
                let mut state = self.lock();
                if let Some(answer) = state.host_moved.take() {
                    return News::HostMoved(answer);
                }
                if std::mem::take(&mut state.is_stale) {
                    return News::Stale;
                }
                if std::mem::take(&mut state.has_news) {
                    return News::Progress;
                }
            }
            self.told.notified().await;
        }
    }

    /// A link is connected, until what this returns is dropped.
    pub(super) fn connected(self: &Arc<Self>, link: LinkId) -> Connected {
        let mut state = self.lock();
        // Most targets have one.
        state.connected.reserve_exact(1);
        state.connected.push(link);
        drop(state);
        Connected(Arc::clone(self), link)
    }

    /// Returns the links that are connected.
    pub(super) fn connected_links(&self) -> Vec<LinkId> {
        self.lock().connected.clone()
    }

    /// Whether a link is connected that is not among `these`.
    pub(super) fn are_connected_beside(&self, these: &[LinkId]) -> bool {
        self.lock().connected.iter().any(|link| !these.contains(link))
    }

    /// Asks the links for the topology, but not those that are named.
    pub(super) fn ask(&self, except: Vec<LinkId>) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        (state.question, state.questioned) = (Some(Question { except, reply }), Some(Instant::now()));
        drop(state);
        self.asked.notify_waiters();
        answer
    }

    /// Whether the links were asked for the topology after `instant`.
    pub(super) fn has_asked_since(&self, instant: Instant) -> bool {
        self.lock().questioned.is_some_and(|asked| asked > instant)
    }

    /// Withdraws the question. Returns whether no link has taken it yet.
    pub(super) fn withdraw(&self) -> bool {
        self.lock().question.take().is_some()
    }

    /// Waits for a question to the link `id`, which is asked only while it is connected. Cancel safe.
    pub(super) async fn question(&self, id: LinkId) -> Question {
        loop {
            let asked = self.asked.notified();
            let question = {
                let mut state = self.lock();
                let is_connected = state.connected.contains(&id);
                state.question.take_if(|it| is_connected && !it.except.contains(&id) && !it.reply.is_closed())
            };
            match question {
                Some(question) => return question,
                None => asked.await,
            }
        }
    }

    /// Waits until no link beside `these` has been connected for a moment, so that none can answer. For the coordinator.
    pub(super) async fn until_alone(&self, these: &[LinkId]) {
        loop {
            while self.are_connected_beside(these) {
                self.alone.notified().await;
            }
            sleep(REPLACEMENT).await;
            if !self.are_connected_beside(these) {
                return;
            }
        }
    }

    /// Says whether the link to the configured host is needed.
    pub(super) fn retire_front(&self, is_retired: bool) {
        *self.front() = is_retired;
        self.front.notify_one();
    }

    /// Waits until the link to the configured host is needed, or not needed.
    pub(super) async fn until_front(&self, is_retired: bool) {
        while *self.front() != is_retired {
            self.front.notified().await;
        }
    }

    fn front(&self) -> MutexGuard<'_, bool> {
        lock(&self.is_front_retired)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_links_while_one_is_connected_and_a_moment_longer() {
        let signals = Arc::<Signals>::default();
        let began = Instant::now();
        signals.until_alone(&[]).await;
        assert_eq!(began.elapsed(), REPLACEMENT);
        let links = async {
            let links = [1, 2].map(|link| signals.connected(LinkId(link)));
            for link in links {
                sleep(REPLACEMENT * 2).await;
                drop(link);
            }
            sleep(REPLACEMENT / 2).await;
            let replacement = signals.connected(LinkId(1));
            sleep(REPLACEMENT * 2).await;
            drop(replacement);
        };
        let began = Instant::now();
        let ((), ()) = tokio::join!(links, signals.until_alone(&[]));
        assert_eq!(began.elapsed(), REPLACEMENT * 15 / 2);
    }
}
