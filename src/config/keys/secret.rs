//! Keys that name the source of a secret.

use super::{About, Absent, Descriptor, Flag, Group, IdentityType, Key, Kind, Values};

/// The keys of a secret: the mapping that names its source, and the two sources below it.
#[derive(Debug)]
pub struct SecretKeys {
    /// The mapping.
    pub whole: Key<&'static str>,
    /// A file.
    pub file: Key<&'static str>,
    /// An environment variable.
    pub env: Key<&'static str>,
}

/// Returns the documentation of a secret; `$when` says when it is read and used.
macro_rules! secret_doc {
    ($when:literal) => {
        concat!(
            "The configuration never contains the secret itself: `file` names a file, `env` an environment variable. ",
            $when,
            " A rotated secret needs no restart. One trailing line break is ignored."
        )
    };
}

pub(super) use secret_doc;

#[expect(clippy::too_many_arguments, reason = "the parts of a descriptor")]
pub(super) const fn secret_mapping(
    path: &'static str,
    group: Group,
    help: &'static str,
    doc: &'static str,
    example: &'static str,
    identities: &'static [IdentityType],
    keys: &'static [&'static dyn Descriptor],
    absent: Absent<&'static str>,
) -> Key<&'static str> {
    Key {
        about: About { path, group, help, doc, example, identities, keys, is_one_of: true, ..About::EMPTY },
        values: Values::Mapping,
        absent,
    }
}

pub(super) const fn secret_file(
    path: &'static str,
    group: Group,
    flag: Flag,
    help: &'static str,
    identities: &'static [IdentityType],
) -> Key<&'static str> {
    Key {
        about: About {
            path,
            flag: Some(flag),
            group,
            help,
            example: "/etc/cachepulse/secret",
            identities,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Path, "the path of a file"),
        absent: Absent::Nothing,
    }
}

pub(super) const fn secret_env(
    path: &'static str,
    group: Group,
    flag: Flag,
    help: &'static str,
    identities: &'static [IdentityType],
) -> Key<&'static str> {
    Key {
        about: About {
            path,
            flag: Some(flag),
            group,
            help,
            example: "CACHE_SECRET",
            identities,
            pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
            ..About::EMPTY
        },
        values: Values::Text(Kind::Text, "the name of an environment variable"),
        absent: Absent::Nothing,
    }
}
