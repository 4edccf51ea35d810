//! The cache as a whole: the shards of a cluster, the role of a server, and maintenance.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{About, Absent, Choice, Flag, Group, Key, Values, non_zero};
use crate::target::{AddressMode, ClusterMode, ExpectRole, Maintenance};

const GROUP: Group = Group::Cluster;

/// `targets[].cluster`
pub static CLUSTER: Key<&str> = Key {
    about: About {
        path: "targets[].cluster",
        group: GROUP,
        help: "What is probed of a cluster",
        example: "{mode: all, refresh: 30s}",
        keys: &[&CLUSTER_MODE, &CLUSTER_MAX_NODES, &CLUSTER_REFRESH, &CLUSTER_ADDRESS],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `targets[].cluster.mode`
pub static CLUSTER_MODE: Key<ClusterMode> = Key {
    about: About {
        path: "targets[].cluster.mode",
        flag: Some(Flag::new("cluster-mode", "MODE")),
        group: GROUP,
        help: "Which nodes of a cluster are probed",
        doc: "Every node has a connection, a key and a probe of its own. The target succeeds if every shard's primary \
              does. Replicas have metrics only. The agent reads the topology with `CLUSTER SLOTS` where `HELLO` says that \
              the server is a cluster, where there is no `HELLO`, and after a redirect (`MOVED`, `ASK`); with `primaries` and \
              `all` whatever `HELLO` says. A server without a cluster then refuses it once an hour and is probed as one \
              node. The user needs `+cluster|slots`, and `+readonly` for replicas.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: "auto", value: ClusterMode::Auto, help: "`primaries` if the server is a cluster" },
        Choice {
            name: "off",
            value: ClusterMode::Off,
            help: "The host alone, or the node that it names instead, with one connection",
        },
        Choice { name: "primaries", value: ClusterMode::Primaries, help: "The primary of every shard" },
        Choice { name: "all", value: ClusterMode::All, help: "The primary and the replicas of every shard" },
    ]),
    absent: Absent::Default(ClusterMode::Auto),
};

/// `targets[].cluster.max_nodes`
pub static CLUSTER_MAX_NODES: Key<NonZeroU32> = Key {
    about: About {
        path: "targets[].cluster.max_nodes",
        flag: Some(Flag::new("cluster-max-nodes", "NUMBER")),
        group: GROUP,
        help: "Maximum number of nodes that are probed",
        doc: "Primaries come before replicas. The metric `cachepulse_cluster_nodes_skipped`, the log and the status say how \
              many nodes are left out.",
        ..About::EMPTY
    },
    values: Values::Range(NonZeroU32::MIN, non_zero(1000)),
    absent: Absent::Default(non_zero(128)),
};

/// `targets[].cluster.refresh`
pub static CLUSTER_REFRESH: Key<Duration> = Key {
    about: About {
        path: "targets[].cluster.refresh",
        flag: Some(Flag::new("cluster-refresh", "DURATION")),
        group: GROUP,
        help: "Time from one reading of the topology to the next",
        doc: "After a redirect, a lost shard or a change of role the topology is read at once, but at most once a \
              second, or twice per interval where that is shorter. Slots that lose their owner while all nodes answer are \
              noticed at the next regular reading.",
        ..About::EMPTY
    },
    values: Values::Range(Duration::from_secs(1), Duration::from_secs(3600)),
    absent: Absent::Default(Duration::from_secs(60)),
};

/// `targets[].cluster.address`
pub static CLUSTER_ADDRESS: Key<AddressMode> = Key {
    about: About {
        path: "targets[].cluster.address",
        flag: Some(Flag::new("cluster-address", "ADDRESS")),
        group: GROUP,
        help: "Address at which the nodes of a cluster are reached",
        doc: "With TLS, the certificate is verified for the target's host, or `tls.server_name`, whatever the address.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: "announced",
            value: AddressMode::Announced,
            help: "The address and port that the cluster announces",
        },
        Choice {
            name: "host",
            value: AddressMode::Host,
            help: "The target's host with the announced port, where announced addresses cannot be reached",
        },
    ]),
    absent: Absent::Default(AddressMode::Announced),
};

/// `targets[].expect_role`
pub static EXPECT_ROLE: Key<ExpectRole> = Key {
    about: About {
        path: "targets[].expect_role",
        flag: Some(Flag::new("expect-role", "ROLE")),
        group: GROUP,
        help: "Role for which the server is probed, if it is not a cluster",
        doc: "The role that the server reports fails no probe by itself: a primary under `replica` is only read. In a \
              cluster whose shards are known, the topology says which nodes are primaries, and these are written. A single \
              replica of a cluster needs `cluster.mode: off` as well.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: "any",
            value: ExpectRole::Any,
            help: "A primary is written and read; a replica is read, as with `replica`",
        },
        Choice { name: "primary", value: ExpectRole::Primary, help: "A replica fails the probe" },
        Choice {
            name: "replica",
            value: ExpectRole::Replica,
            help: "The probe runs `PING`, `GET` and `CLIENT LIST`, but no `SET`",
        },
    ]),
    absent: Absent::Default(ExpectRole::Primary),
};

/// `targets[].maintenance`
pub static MAINTENANCE: Key<Maintenance> = Key {
    about: About {
        path: "targets[].maintenance",
        flag: Some(Flag::new("maintenance", "MODE")),
        group: GROUP,
        help: "Whether the agent asks the cache for notices of maintenance",
        doc: "Needs RESP3. Azure Cache for Redis publishes them on the channel `AzureRedisEvents`, for which the user needs \
              `+subscribe`, and `&AzureRedisEvents` on servers from 6.2 on. Redis Enterprise sends them after \
              `CLIENT MAINT_NOTIFICATIONS ON`. A refusal changes nothing else. A notice never changes the verdict.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: "auto",
            value: Maintenance::Auto,
            help: "The channel for hosts of Azure Cache for Redis, the command for hosts of Azure Managed Redis and the \
                   Enterprise tiers",
        },
        Choice { name: "on", value: Maintenance::On, help: "Both, whatever the host" },
        Choice { name: "off", value: Maintenance::Off, help: "Neither" },
    ]),
    absent: Absent::Default(Maintenance::Auto),
};
