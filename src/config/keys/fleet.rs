//! Several agents for one set of targets, and targets from further files.

use std::num::NonZeroU32;

use super::identity::{NAMED, TYPES};
use super::{About, Absent, Flag, Group, IdentityType, Key, Kind, Values, non_zero};
use crate::config::ordinal::Ordinal;

const GROUP: Group = Group::Fleet;

/// The [`About::pattern`] of a name that files with targets use.
const NAME: &str = "^[^\\x00-\\x1f\\x7f]*$";

/// The largest number of partitions.
const MOST: u32 = 1000;

/// `partition`
pub static PARTITION: Key<&str> = Key {
    about: About {
        path: "partition",
        group: GROUP,
        help: "Which of the targets this agent probes, if several agents share them",
        doc: "See [fleets](fleets.md).",
        example: "{index: 0, of: 3, copies: 2}",
        keys: &[&INDEX, &OF, &COPIES],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `partition.index`
pub static INDEX: Key<Ordinal> = Key {
    about: About {
        path: "partition.index",
        flag: Some(Flag::new("partition-index", "NUMBER").allowed_beside_file()),
        group: GROUP,
        help: "Number of this agent's partition, counted from 0",
        doc: "A name that ends with a number stands for the number, so that a pod of a StatefulSet can give its own name: \
              `cachepulse-2`. With `partition.of`, the index must be given.",
        example: "0",
        ..About::EMPTY
    },
    values: Values::Range(Ordinal(0), Ordinal(MOST - 1)),
    absent: Absent::Nothing,
};

/// `partition.of`
pub static OF: Key<NonZeroU32> = Key {
    about: About {
        path: "partition.of",
        flag: Some(Flag::new("partition-of", "NUMBER").allowed_beside_file()),
        group: GROUP,
        help: "Number of partitions, which is that of the agents",
        doc: "The same for all of them.",
        example: "3",
        ..About::EMPTY
    },
    values: Values::Range(non_zero(1), non_zero(MOST)),
    absent: Absent::Nothing,
};

/// `partition.copies`
pub static COPIES: Key<NonZeroU32> = Key {
    about: About {
        path: "partition.copies",
        flag: Some(Flag::new("partition-copies", "NUMBER").allowed_beside_file()),
        group: GROUP,
        help: "Number of agents that probe each target",
        doc: "The same for all agents, and not more than there are.",
        ..About::EMPTY
    },
    values: Values::Range(non_zero(1), non_zero(MOST)),
    absent: Absent::Default(non_zero(1)),
};

/// `target_files`
pub static TARGET_FILES: Key<&str> = Key {
    about: About {
        path: "target_files",
        group: GROUP,
        help: "Files with further targets",
        doc: "In YAML or JSON: `targets` as here, a list of them, or a file of Prometheus' `file_sd_configs`. `*` in the name of a \
              file, not of a folder, stands for any characters. The files are watched. See [target files](fleets.md#target-files).",
        example: "[/etc/cachepulse/targets/*.yaml]",
        ..About::EMPTY
    },
    values: Values::Words(1, 100),
    absent: Absent::Nothing,
};

/// One of `target_files`.
pub static TARGET_FILE: Key<&str> = Key {
    about: About {
        path: "target_files[]",
        group: GROUP,
        help: "Path of a file with targets, or of several",
        example: "/etc/cachepulse/targets/*.yaml",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, "the path of a file"),
    absent: Absent::Required,
};

/// `identities`
pub static IDENTITIES: Key<&str> = Key {
    about: About {
        path: "identities",
        group: GROUP,
        help: "Identities that files with targets use by these names",
        doc: "Each is what `identity` of a target may be, and may have `hosts` beside that.",
        example: "{shop: managed_identity}",
        pattern: NAME,
        keys: &[&HOSTS],
        ..About::EMPTY
    },
    values: Values::Named(&NAMED_IDENTITY, 1000),
    absent: Absent::Nothing,
};

/// One of `identities`.
pub static NAMED_IDENTITY: Key<IdentityType> = Key {
    about: About {
        path: "identities.*",
        group: GROUP,
        help: "An identity: a type, or a mapping with the type and its details",
        example: "{type: access_key, key: {file: key}, hosts: [cache.example.com]}",
        keys: NAMED,
        ..About::EMPTY
    },
    values: Values::Choices(TYPES),
    absent: Absent::Required,
};

/// `identities.*.hosts`
pub static HOSTS: Key<&str> = Key {
    about: About {
        path: "identities.*.hosts",
        group: GROUP,
        help: "Hosts for which files with targets may use the identity",
        doc: "Names, or `*.` and a domain for all hosts in it. See [who may write these \
              files](fleets.md#who-may-write-these-files).",
        example: "[cache.example.com, \"*.redis.example.com\"]",
        ..About::EMPTY
    },
    values: Values::Words(1, 1000),
    absent: Absent::Described("those of Azure's caches for an Entra identity, otherwise none"),
};

/// `authorities`
pub static AUTHORITIES: Key<&str> = Key {
    about: About {
        path: "authorities",
        group: GROUP,
        help: "Files with root certificates that files with targets use by these names",
        doc: "Each is what `tls.ca_file` of a target may be.",
        example: "{corporate: ca.pem}",
        pattern: NAME,
        ..About::EMPTY
    },
    values: Values::Named(&AUTHORITY, 1000),
    absent: Absent::Nothing,
};

/// One of `authorities`.
pub static AUTHORITY: Key<&str> = Key {
    about: About {
        path: "authorities.*",
        group: GROUP,
        help: "PEM file with root certificates",
        example: "ca.pem",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, "the path of a PEM file"),
    absent: Absent::Required,
};
