//! The labels of targets.

use super::{About, Absent, Group, Key, Kind, Values};

const GROUP: Group = Group::Fleet;

/// `targets[].labels`
pub static LABELS: Key<&str> = Key {
    about: About {
        path: "targets[].labels",
        group: GROUP,
        help: "Labels of the target in the metric cachepulse_target_labels",
        doc: "At most 10. A name has letters, digits and underscores, begins with a letter or an underscore, and is none of \
              the labels that the agent exports, nor `cluster` or `namespace`, on which queries join series. A label that the scrape adds, such as `job`, keeps its value there, and \
              Prometheus renames that of the target to `exported_job`.",
        example: "{team: shop}",
        pattern: "^[a-zA-Z_][a-zA-Z0-9_]*$",
        ..About::EMPTY
    },
    values: Values::Named(&LABEL, 10),
    absent: Absent::Nothing,
};

/// The value of one of `targets[].labels`.
pub static LABEL: Key<&str> = Key {
    about: About {
        path: "targets[].labels.*",
        group: GROUP,
        help: "Value of the label",
        example: "shop",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "the value of a label"),
    absent: Absent::Required,
};
