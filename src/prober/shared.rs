//! What the links of one target share: the whole, and the record of what follows for the target.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::ledger::Out;
use super::memory::TargetMemory;
use super::record::Record;
use super::signals::Signals;
use super::whole::{LinkId, Part, Whole};
use crate::lock::lock;
use crate::status::Watch;
use crate::target::Endpoint;

/// What the links of one target share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) signals: Arc<Signals>,
    pub(super) memory: TargetMemory,
}

#[derive(Debug)]
struct State {
    whole: Whole,
    record: Record,
}

impl Shared {
    /// `host` is the configured one, if it may lead to a cluster.
    pub(super) fn new(record: Record, memory: TargetMemory, host: Option<&Endpoint>) -> Self {
        let mut whole = Whole::default();
        if !memory.is_empty() {
            let are_known = host.is_some_and(|host| !memory.shards_at(host).is_empty());
            whole.await_shards(are_known);
        }
        let state = Mutex::new(State { whole, record });
        Self { state, signals: Arc::default(), memory }
    }

    /// Lets `note` enter something in the whole. What follows for the target is recorded.
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Whole, Out<'_>) -> T) -> T {
        self.with(|whole, record| note(whole, &mut |effect| record.effect(effect)))
    }

    /// Returns what is known of the server of link `id`.
    pub(super) fn watch_of(&self, id: LinkId) -> Watch {
        self.note(|whole, _| whole.watch_of(id))
    }

    /// Whether the server of link `id` has ever taken a connection.
    pub(super) fn is_reached(&self, id: LinkId) -> bool {
        self.note(|whole, _| whole.is_reached(id))
    }

    /// A link joins, which leads to `part`, if that is a shard to its `node`. Its first tick is the one with the number `first`.
    pub(super) fn join(&self, id: LinkId, part: Part, node: Option<&Endpoint>, first: u64) {
        let is_known = node.is_some_and(|node| self.memory.contains(node));
        self.with(|whole, record| {
            whole.join(id, part, first);
            if is_known {
                whole.known(id, Instant::now(), &mut |effect| record.effect(effect));
            }
            record.connections(|all| all.joined(id));
        });
    }

    /// The link has ended.
    pub(super) fn leave(&self, id: LinkId, at: Instant) {
        self.with(|whole, record| {
            whole.leave(id, at, &mut |effect| record.effect(effect));
            record.connections(|all| all.left(id));
        });
    }

    /// Lets `change` use the record of the target.
    pub(super) fn record<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        self.with(|_, record| change(record))
    }

    /// Lets `change` use the whole and the record.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Whole, &mut Record) -> T) -> T {
        let State { whole, record } = &mut *lock(&self.state);
        change(whole, record)
    }
}
