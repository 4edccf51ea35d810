//! Several agents for one set of targets, and targets from further files.

use std::num::NonZeroU32;

use super::{About, Absent, Flag, Group, Key, Values, non_zero};
use crate::config::ordinal::Ordinal;

const GROUP: Group = Group::Fleet;

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
