//! The probe: its schedule, limits and steps.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{About, Absent, Choice, Flag, Group, Key, Kind, Values, non_zero};
use crate::config::size::{KIB, MIB};
use crate::target::ClientListMode;

const GROUP: Group = Group::Probe;

/// `targets[].interval`
pub static INTERVAL: Key<Duration> = Key {
    about: About {
        path: "targets[].interval",
        flag: Some(Flag::new("interval", "DURATION").common()),
        group: GROUP,
        help: "Time from one probe to the next",
        doc: "A probe that takes longer than the interval settles every tick that comes due meanwhile.",
        example: "30s",
        ..About::EMPTY
    },
    values: Values::Range(Duration::from_millis(100), Duration::from_secs(3600)),
    absent: Absent::Default(Duration::from_secs(10)),
};

/// `targets[].connect_timeout`
pub static CONNECT_TIMEOUT: Key<Duration> = Key {
    about: About {
        path: "targets[].connect_timeout",
        flag: Some(Flag::new("connect-timeout", "DURATION")),
        group: GROUP,
        help: "Limit for opening a connection: resolve, connect, TLS and sign-in together",
        example: "2s",
        ..About::EMPTY
    },
    values: TIMEOUT,
    absent: Absent::Default(Duration::from_secs(5)),
};

/// `targets[].command_timeout`
pub static COMMAND_TIMEOUT: Key<Duration> = Key {
    about: About {
        path: "targets[].command_timeout",
        flag: Some(Flag::new("command-timeout", "DURATION").common()),
        group: GROUP,
        help: "Limit for each command",
        doc: "A server that hangs is given up after this time. The failover of a hung node of a cluster is noticed later \
              by as much.",
        example: "500ms",
        ..About::EMPTY
    },
    values: TIMEOUT,
    absent: Absent::Default(Duration::from_secs(2)),
};

const TIMEOUT: Values<Duration> = Values::Range(Duration::from_millis(10), Duration::from_secs(300));

/// `targets[].attempts`
pub static ATTEMPTS: Key<NonZeroU32> = Key {
    about: About {
        path: "targets[].attempts",
        flag: Some(Flag::new("attempts", "NUMBER")),
        group: GROUP,
        help: "Attempts of a probe within one tick",
        doc: "The default is that of Azure's quickstart.",
        ..About::EMPTY
    },
    values: Values::Range(NonZeroU32::MIN, non_zero(10)),
    absent: Absent::Default(non_zero(3)),
};

/// `targets[].startup_grace`
pub static STARTUP_GRACE: Key<Duration> = Key {
    about: About {
        path: "targets[].startup_grace",
        flag: Some(Flag::new("startup-grace", "DURATION")),
        group: GROUP,
        help: "Time after the agent's start in which the cache may not be reachable yet",
        doc: "Until the first success, a failure within this time is a failed probe, but no unavailable time. A failure \
              that lasts longer counts from the end of the grace. Probes of new connections and their alert do not wait \
              for it. Use it where the network of a pod starts after the agent, as in a service mesh.",
        example: "30s",
        ..About::EMPTY
    },
    values: Values::Range(Duration::ZERO, Duration::from_secs(300)),
    absent: Absent::Default(Duration::ZERO),
};

/// `targets[].key`
pub static KEY: Key<&str> = Key {
    about: About {
        path: "targets[].key",
        flag: Some(Flag::new("key", "KEY")),
        group: GROUP,
        help: "Key to write and read; {instance} identifies the agent",
        doc: "`{instance}` is replaced by the host name and a random part, so that replicas never write the same key. \
              1 to 512 bytes. The key expires by itself. With several keys (one for each shard of a cluster, or \
              `keys`), a hash tag such as `{42}` follows it. So it may have one of its own, as in `{orders}:health`, only \
              with a single key and `cluster.mode: off`.",
        pattern: "^[^\\x00-\\x1f\\x7f]{1,512}$",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a key of 1 to 512 bytes"),
    absent: Absent::Default("cachepulse:{instance}"),
};

/// `targets[].keys`
pub static KEYS: Key<NonZeroU32> = Key {
    about: About {
        path: "targets[].keys",
        flag: Some(Flag::new("keys", "NUMBER")),
        group: GROUP,
        help: "Number of keys that are probed in turn, one per tick",
        doc: "For a cluster behind one endpoint, such as Azure Managed Redis with the Enterprise policy. The keys are \
              spread evenly over the hash slots: with `keys: 16` a key of every 16th part of the slots is written within 16 \
              ticks. That covers a shard if it owns a little more than such a part in one piece. After a failure, the same key is \
              probed until it succeeds. Where every shard has a connection, each has one key and `keys` is not used. `check` \
              probes each key once.",
        example: "16",
        ..About::EMPTY
    },
    values: Values::Range(NonZeroU32::MIN, non_zero(64)),
    absent: Absent::Default(NonZeroU32::MIN),
};

/// `targets[].client_list`
pub static CLIENT_LIST: Key<&str> = Key {
    about: About {
        path: "targets[].client_list",
        group: GROUP,
        help: "When the step CLIENT LIST runs",
        example: "{mode: optional, every: 10}",
        keys: &[&CLIENT_LIST_MODE, &CLIENT_LIST_EVERY],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `targets[].client_list.mode`
pub static CLIENT_LIST_MODE: Key<ClientListMode> = Key {
    about: About {
        path: "targets[].client_list.mode",
        flag: Some(Flag::new("client-list", "MODE")),
        group: GROUP,
        help: "Whether CLIENT LIST is a step of the probe",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice {
            name: "required",
            value: ClientListMode::Required,
            help: "The probe fails if the command fails or is forbidden",
        },
        Choice {
            name: "optional",
            value: ClientListMode::Optional,
            help: "The probe succeeds whatever the command returns",
        },
        Choice { name: "off", value: ClientListMode::Off, help: "The command is not run" },
    ]),
    absent: Absent::Default(ClientListMode::Optional),
};

/// `targets[].client_list.every`
pub static CLIENT_LIST_EVERY: Key<Option<NonZeroU32>> = Key {
    about: About {
        path: "targets[].client_list.every",
        flag: Some(Flag::new("client-list-every", "NUMBER")),
        group: GROUP,
        help: "Run CLIENT LIST in every n-th probe",
        doc: "`auto` is every probe for up to 500 clients, every second one for up to 1,000, and so on. A list that does \
              not come in time counts by the part that came or by its announced size, and runs at least in every 60th \
              probe. In between, the last known number of clients stays.",
        ..About::EMPTY
    },
    values: Values::Range(Some(NonZeroU32::MIN), Some(non_zero(1_000_000))),
    absent: Absent::Default(None),
};

/// `targets[].new_connection`
pub static NEW_CONNECTION: Key<&str> = Key {
    about: About {
        path: "targets[].new_connection",
        group: GROUP,
        help: "When a new connection is probed beside the open one",
        doc: "An open connection keeps working while new ones fail: the server is full, the password has changed, or \
              a firewall rejects them. So the agent opens a second connection, signs in, runs `PING` and closes it.",
        example: "{every: 1m}",
        keys: &[&NEW_CONNECTION_EVERY],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `targets[].new_connection.every`
pub static NEW_CONNECTION_EVERY: Key<Option<Duration>> = Key {
    about: About {
        path: "targets[].new_connection.every",
        flag: Some(Flag::new("new-connection-every", "DURATION")),
        group: GROUP,
        help: "Time from one probe of a new connection to the next",
        doc: "After a failure, the next one follows within 30 s. `0s` turns these probes off.",
        ..About::EMPTY
    },
    values: Values::Range(Some(Duration::from_secs(10)), Some(Duration::from_secs(3600))),
    absent: Absent::Default(Some(Duration::from_secs(60))),
};

/// `targets[].reply_limit`
pub static REPLY_LIMIT: Key<usize> = Key {
    about: About {
        path: "targets[].reply_limit",
        flag: Some(Flag::new("reply-limit", "SIZE")),
        group: GROUP,
        help: "Maximum size of a reply",
        doc: "It does not apply to CLIENT LIST, which is counted while it is read.",
        ..About::EMPTY
    },
    values: Values::Range(64 * KIB, 64 * MIB),
    absent: Absent::Default(8 * MIB),
};
