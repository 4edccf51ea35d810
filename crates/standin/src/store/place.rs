//! The place of a store among others: alone, behind a proxy that hides the others, or a node of a cluster.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::{Contents, commands, integer};
use crate::cluster::layout::{ADDRESS, Access, Layout, Route};
use crate::cluster::slot::{SLOTS, slot_of};
use crate::frame::Command;
use crate::reply::{Protocol, Reply};

/// The commands for the clients of a cluster.
const CLUSTER_COMMANDS: [&str; 4] = ["CLUSTER", "READONLY", "READWRITE", "ASKING"];

/// Where a store is.
#[derive(Clone)]
pub(crate) enum Place {
    /// The only server of a cache.
    Alone,
    /// All of Azure Managed Redis with the Enterprise policy, which blocks the commands for clusters and `SELECT`.
    Proxied,
    /// A node of a cluster.
    Node(Seat),
}

/// A store's seat in a cluster.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) layout: Arc<Mutex<Layout>>,
    pub(crate) node: usize,
    /// Whether the cache is Azure Managed Redis: it blocks `SELECT`, and announces its nodes as Redis 7 does.
    pub(crate) managed: bool,
}

impl Place {
    /// Returns the mode and the role in the reply to `HELLO`.
    pub(super) fn mode_and_role(&self) -> [&'static str; 2] {
        match self {
            Self::Alone | Self::Proxied => ["standalone", "master"],
            Self::Node(seat) if seat.layout().is_primary(seat.node) => ["cluster", "master"],
            Self::Node(_) => ["cluster", "replica"],
        }
    }

    /// Checks that the command is known here.
    pub(super) fn validate(&self, command: &Command) -> Result<(), Reply> {
        let name = command.name();
        let is_for_clusters = CLUSTER_COMMANDS.contains(&name.as_str());
        let (has_cluster, has_select) = match self {
            Self::Alone => (true, true),
            Self::Proxied => (false, false),
            Self::Node(seat) => (true, !seat.managed),
        };
        if (is_for_clusters && !has_cluster) || (name == "SELECT" && !has_select) {
            return Err(Reply::unknown_command(command));
        }
        commands::validate(command)?;
        if is_for_clusters && matches!(self, Self::Alone) {
            return Err(Reply::error("ERR This instance has cluster support disabled"));
        }
        Ok(())
    }
}

impl Seat {
    fn layout(&self) -> MutexGuard<'_, Layout> {
        super::lock(&self.layout)
    }

    /// Executes `CLUSTER`.
    fn cluster(&self, command: &Command, protocol: Protocol) -> Reply {
        match (command.text(1).to_ascii_uppercase().as_str(), &command.args()[1..]) {
            ("SLOTS", []) => self.slots(protocol),
            ("MYID", []) => Reply::text(&self.layout().nodes[self.node].id),
            ("KEYSLOT", [key]) => Reply::Integer(slot_of(key).into()),
            ("INFO", []) => {
                let layout = self.layout();
                let (shards, nodes) = (layout.shards.len(), layout.nodes.len());
                Reply::Verbatim(format!(
                    "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_known_nodes:{nodes}\r\n\
                     cluster_size:{shards}\r\n"
                ))
            }
            (name @ ("SLOTS" | "MYID" | "KEYSLOT" | "INFO"), _) => {
                Reply::wrong_arity(&format!("cluster|{name}"))
            }
            _ => Reply::unknown_subcommand(command),
        }
    }

    /// Executes `CLUSTER SLOTS`. A lost primary stays listed, a lost replica does not.
    fn slots(&self, protocol: Protocol) -> Reply {
        let layout = self.layout();
        let node = |index: usize| {
            let node = &layout.nodes[index];
            let mut fields =
                vec![Reply::text(ADDRESS), Reply::Integer(node.port.into()), Reply::text(&node.id)];
            if self.managed {
                // Redis 6 has no metadata.
                fields.push(match protocol {
                    Protocol::Resp2 => Reply::Array(Vec::new()),
                    Protocol::Resp3 => Reply::Map(Vec::new()),
                });
            }
            Reply::Array(fields)
        };
        let row = |(range, shard): (RangeInclusive<u16>, usize)| {
            let shard = &layout.shards[shard];
            let (first, last) = range.into_inner();
            let mut row =
                vec![Reply::Integer(first.into()), Reply::Integer(last.into()), node(shard.primary)];
            if !shard.is_lost {
                row.push(node(shard.replica));
            }
            Reply::Array(row)
        };
        Reply::Array(layout.ranges().into_iter().map(row).collect())
    }
}

impl Contents {
    /// Checks that the command's keys are served here. The error is a reply in Redis' words.
    pub(super) fn route(&mut self, id: u64, command: &Command, now: Instant) -> Result<(), Reply> {
        let Place::Node(seat) = &self.place else { return Ok(()) };
        let client = self.clients.of(id);
        let asking = std::mem::take(&mut client.asking);
        let keys = commands::keys_of(command);
        let Some((first, others)) = keys.split_first() else { return Ok(()) };
        let slot = slot_of(first);
        if others.iter().any(|key| slot_of(key) != slot) {
            return Err(Reply::error("CROSSSLOT Keys in request don't hash to the same slot"));
        }
        let access = Access {
            may_read_replica: client.readonly && commands::is_read(command),
            asking,
            has_keys: {
                let stored = super::lock(&self.keys);
                keys.iter().all(|key| stored.contains(key, now))
            },
        };
        match seat.layout().route(seat.node, slot, access) {
            Route::Here => Ok(()),
            Route::Moved(port) => Err(Reply::error(format!("MOVED {slot} {ADDRESS}:{port}"))),
            Route::Ask(port) => Err(Reply::error(format!("ASK {slot} {ADDRESS}:{port}"))),
        }
    }

    /// Executes a command for the clients of a cluster.
    pub(super) fn run_for_cluster(&mut self, id: u64, command: &Command) -> Reply {
        let client = self.clients.of(id);
        match command.name().as_str() {
            "READONLY" => client.readonly = true,
            "READWRITE" => client.readonly = false,
            "ASKING" => client.asking = true,
            _ => {
                let protocol = client.protocol;
                return match &self.place {
                    Place::Node(seat) => seat.cluster(command, protocol),
                    Place::Alone | Place::Proxied => Reply::unknown_command(command),
                };
            }
        }
        Reply::OK
    }

    /// Executes `SELECT`.
    pub(super) fn select(&self, index: &[u8]) -> Reply {
        match integer(index) {
            Some(0) => Reply::OK,
            Some(_) if matches!(self.place, Place::Node(_)) => {
                Reply::error("ERR SELECT is not allowed in cluster mode")
            }
            Some(_) => Reply::error("ERR DB index is out of range"),
            None => Reply::not_an_integer(),
        }
    }
}
