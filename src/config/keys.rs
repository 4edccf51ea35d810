//! The configuration's keys: one descriptor for each.
//!
//! A [`Key`] describes a configuration key completely: its path, its flag and variable, the values that it accepts, its
//! default, its help. Everything that depends on a key derives from its descriptor: the parser and its
//! messages (the rest of [`crate::config`]), the command line ([`super::flags`]), the JSON Schema, the reference page
//! and the completions. To add a key, add its descriptor, name it in its parent's list of keys (`TARGET` for those of
//! a target), and add the code that uses the value.
//!
//! The descriptors form a tree, as the keys do: [`ROOT`] lists the top-level keys, and [`About::keys`] those below a
//! key. [`all`] walks the tree in the order of the documentation. Code that handles keys of any type works with
//! [`Descriptor`]; code that reads one key uses its [`Key`], which knows the Rust type of the value:
//!
//! ```
//! use std::time::Duration;
//! use cachepulse::config::keys::{self, Descriptor as _};
//!
//! assert_eq!(keys::probe::INTERVAL.default(), Duration::from_secs(10));
//! for key in keys::all().filter(|key| key.about().flag.is_some()) {
//!     println!("{}: {} [default: {:?}]", key.about().path, key.about().help, key.default_text());
//! }
//! ```

pub mod agent;
pub mod cluster;
pub mod connection;
mod flag;
pub mod fleet;
pub mod identity;
pub mod labels;
pub mod probe;
mod secret;
pub mod sentinel;
mod value;
pub mod web;

use std::fmt;
use std::num::NonZeroU32;

pub use self::flag::{Flag, VARIABLE_PREFIX};
pub use self::identity::IdentityType;
pub use self::secret::SecretKeys;
pub(super) use self::value::AUTO;
pub use self::value::{Kind, Value};

/// The [`About::pattern`] of text without spaces.
const WORD: &str = "^\\S+$";

/// The top-level keys.
pub static ROOT: &[&dyn Descriptor] = &[
    &agent::TARGETS,
    &agent::DEFAULTS,
    &fleet::TARGET_FILES,
    &fleet::IDENTITIES,
    &fleet::AUTHORITIES,
    &fleet::PARTITION,
    &agent::HTTP,
    &agent::METRICS,
    &agent::LOG,
    &agent::SHUTDOWN_GRACE_PERIOD,
];

/// The keys of a target. Those after the first three are also the keys of `defaults`.
static TARGET: &[&dyn Descriptor] = &[
    &connection::NAME,
    &connection::HOST,
    &sentinel::SENTINEL,
    &connection::PORT,
    &connection::TLS.whole,
    &connection::PROTOCOL,
    &connection::DNS_REFRESH,
    &connection::MAX_CONNECTION_AGE,
    &identity::IDENTITY,
    &identity::USERNAME,
    &probe::INTERVAL,
    &probe::CONNECT_TIMEOUT,
    &probe::COMMAND_TIMEOUT,
    &probe::ATTEMPTS,
    &probe::STARTUP_GRACE,
    &probe::KEY,
    &probe::KEYS,
    &probe::CLIENT_LIST,
    &probe::NEW_CONNECTION,
    &probe::REPLY_LIMIT,
    &cluster::CLUSTER,
    &cluster::EXPECT_ROLE,
    &cluster::MAINTENANCE,
    &labels::LABELS,
];

/// Every key once, each before those below it.
pub fn all() -> impl Iterator<Item = &'static dyn Descriptor> {
    below(ROOT)
}

/// Every key of a tree once, each before those below it.
pub(super) fn below(
    root: &'static [&'static dyn Descriptor],
) -> impl Iterator<Item = &'static dyn Descriptor> {
    let mut pending: Vec<&'static dyn Descriptor> = root.iter().rev().copied().collect();
    std::iter::from_fn(move || {
        let key = pending.pop()?;
        let about = key.about();
        // The keys of `defaults` are those of a target.
        pending.extend(about.keys.iter().rev().filter(|below| below.about().path.starts_with(about.path)));
        Some(key)
    })
}

/// The description of a key that does not depend on the type of its value.
#[derive(Debug)]
pub struct About {
    /// The path in a configuration file, such as `http.listen` or `targets[].interval`.
    pub path: &'static str,
    /// The flag, for those that configure a single target or the agent.
    pub flag: Option<Flag>,
    /// The heading under which the key is documented.
    pub group: Group,
    /// The meaning of the key in one line: a phrase that starts with a capital and has no full stop.
    pub help: &'static str,
    /// Further documentation, in sentences. May be empty.
    pub doc: &'static str,
    /// A value in YAML. Empty if the default is a sufficient example.
    pub example: &'static str,
    /// The identity types that use the key; empty for a key that does not depend on the identity.
    pub identities: &'static [IdentityType],
    /// The regular expression that text matches, for the JSON Schema. Empty for any text that is not blank. It may accept
    /// more than the parser, never less.
    pub pattern: &'static str,
    /// The keys below this one.
    pub keys: &'static [&'static dyn Descriptor],
    /// Whether exactly one of the keys below must be given.
    pub is_one_of: bool,
}

impl About {
    /// A base for descriptors: no flag, no example, no keys below.
    const EMPTY: Self = Self {
        path: "",
        flag: None,
        group: Group::Agent,
        help: "",
        doc: "",
        example: "",
        identities: &[],
        pattern: "",
        keys: &[],
        is_one_of: false,
    };

    /// Returns the last segment of the path, which is the key in its mapping.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether the key belongs to a target, or to a mapping in a target.
    #[must_use]
    pub fn is_of_target(&self) -> bool {
        self.path.starts_with("targets[].")
    }

    /// Whether an identity of the type `identity` uses the key.
    #[must_use]
    pub fn is_used_by(&self, identity: IdentityType) -> bool {
        self.identities.is_empty() || self.identities.contains(&identity)
    }
}

/// The headings under which keys are documented, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where the cache is and how the connection is encrypted.
    Connection,
    /// How to sign in.
    Identity,
    /// What is probed, and how often.
    Probe,
    /// Shards, roles and maintenance.
    Cluster,
    /// Several agents for one set of targets.
    Fleet,
    /// The agent itself.
    Agent,
}

impl Group {
    /// Every heading, in order.
    pub const ALL: [Self; 6] =
        [Self::Connection, Self::Identity, Self::Probe, Self::Cluster, Self::Fleet, Self::Agent];

    /// Returns the heading's text.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Identity => "Identity",
            Self::Probe => "Probe",
            Self::Cluster => "Cluster, role and maintenance",
            Self::Fleet => "Fleet",
            Self::Agent => "Agent",
        }
    }
}

/// A key whose value is a `T`. Free text is a `&'static str` here: the type of its default.
#[derive(Debug)]
pub struct Key<T: 'static> {
    /// The description that does not depend on the type.
    pub about: About,
    /// The values that the key accepts.
    pub values: Values<T>,
    /// The behaviour if the key is not given.
    pub absent: Absent<T>,
}

/// The values that a key accepts.
#[derive(Debug)]
pub enum Values<T: 'static> {
    /// Every value of the type.
    Any,
    /// A range of values, both ends included.
    Range(T, T),
    /// One of these.
    Choices(&'static [Choice<T>]),
    /// Text of a kind. The words complete the message "expected …".
    Text(Kind, &'static str),
    /// A mapping of the keys below.
    Mapping,
    /// A list of mappings of the keys below, with a minimum and a maximum length.
    List(usize, usize),
    /// A list of hosts, each with an optional port, with a minimum and a maximum length.
    Hosts(usize, usize),
    /// A list of words, or the first alone, with a minimum and a maximum length.
    Words(usize, usize),
    /// A mapping with up to so many keys that the operator names. The values are those of the other key.
    Named(&'static dyn Descriptor, usize),
}

/// One of the values of a key that accepts a closed set.
#[derive(Debug)]
pub struct Choice<T> {
    /// The value as written in the configuration.
    pub name: &'static str,
    /// The value of the name.
    pub value: T,
    /// The meaning of the value, in one line.
    pub help: &'static str,
}

/// The behaviour if a key is not given.
#[derive(Debug)]
pub enum Absent<T> {
    /// The key must be given.
    Required,
    /// This value.
    Default(T),
    /// A default that depends on other settings, described in words such as "the host's first label".
    Described(&'static str),
    /// There is no default, and the key is optional.
    Nothing,
}

impl<T: Copy> Key<T> {
    /// Returns the value that applies if the key is not given.
    ///
    /// # Panics
    /// If the key has no fixed default; meant for constants, where that is a compile error.
    #[must_use]
    pub const fn default(&self) -> T {
        match &self.absent {
            Absent::Default(value) => *value,
            _ => panic!("the key has no fixed default"),
        }
    }
}

impl<T> Key<T> {
    /// Returns the description of its text that completes the message "expected …".
    pub(super) fn words(&self) -> &'static str {
        match self.values {
            Values::Text(_, words) => words,
            Values::Hosts(..) => "a host with an optional port, such as sentinel-0.example.com:26379",
            _ => "",
        }
    }
}

impl<T: PartialEq> Key<T> {
    /// Returns the values of a closed set.
    pub(super) fn choices(&self) -> &'static [Choice<T>] {
        if let Values::Choices(choices) = self.values { choices } else { &[] }
    }

    /// Returns the name of `value`, for a key that accepts a closed set.
    pub(super) fn name_of(&self, value: &T) -> &'static str {
        let Values::Choices(choices) = &self.values else { return "" };
        choices.iter().find(|choice| choice.value == *value).map_or("", |choice| choice.name)
    }
}

impl<T: Value> Key<T> {
    /// Returns `value` as it is written in the configuration.
    #[must_use]
    pub fn written(&self, value: &T) -> String {
        if matches!(self.values, Values::Choices(_)) {
            self.name_of(value).to_owned()
        } else {
            value.written()
        }
    }
}

/// A key, whatever the type of its value.
pub trait Descriptor: fmt::Debug + Sync {
    /// Returns the description that does not depend on the type.
    fn about(&self) -> &About;

    /// Returns the type of the value in the documentation. For a key that accepts a mapping or a shorter form, such as
    /// `tls`, this is the type of the shorter form.
    fn kind(&self) -> Kind;

    /// Returns the smallest and the largest value.
    fn range(&self) -> Option<(String, String)>;

    /// Returns the values of a closed set, each with its meaning.
    fn choices(&self) -> Vec<(&'static str, &'static str)>;

    /// Returns the key that describes each value of a mapping whose keys the operator names.
    fn named(&self) -> Option<&'static dyn Descriptor>;

    /// Returns the behaviour if the key is not given.
    fn default_text(&self) -> Absent<String>;
}

impl<T: Value> Descriptor for Key<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn kind(&self) -> Kind {
        match &self.values {
            Values::Any | Values::Range(..) | Values::Choices(_) => T::KIND,
            Values::Text(kind, _) => *kind,
            Values::Mapping => Kind::Mapping,
            Values::List(..) => Kind::List,
            Values::Hosts(..) => Kind::Hosts,
            Values::Words(..) => Kind::Words,
            Values::Named(..) => Kind::Named,
        }
    }

    fn range(&self) -> Option<(String, String)> {
        match &self.values {
            Values::Range(least, most) => Some((least.written(), most.written())),
            Values::List(least, most) | Values::Hosts(least, most) | Values::Words(least, most) => {
                Some((least.to_string(), most.to_string()))
            }
            Values::Named(_, most) => Some(("0".to_owned(), most.to_string())),
            _ => None,
        }
    }

    fn choices(&self) -> Vec<(&'static str, &'static str)> {
        match &self.values {
            Values::Choices(choices) => choices.iter().map(|choice| (choice.name, choice.help)).collect(),
            _ => Vec::new(),
        }
    }

    fn named(&self) -> Option<&'static dyn Descriptor> {
        if let Values::Named(value, _) = self.values { Some(value) } else { None }
    }

    fn default_text(&self) -> Absent<String> {
        match &self.absent {
            Absent::Required => Absent::Required,
            Absent::Default(value) => Absent::Default(self.written(value)),
            Absent::Described(words) => Absent::Described(words),
            Absent::Nothing => Absent::Nothing,
        }
    }
}

/// Converts a constant; zero is a compile error.
const fn non_zero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the number is not zero")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_is_described_once_and_below_its_parent() {
        let mut paths = HashSet::new();
        for key in all() {
            let about = key.about();
            assert!(paths.insert(about.path), "duplicate path {}", about.path);
            assert!(about.help.starts_with(char::is_uppercase), "{}: {}", about.path, about.help);
            assert!(!about.help.ends_with('.') && about.help.len() <= 80, "{}: {}", about.path, about.help);
            if !matches!(about.path, "defaults") {
                for below in about.keys.iter().map(|key| key.about()) {
                    let parent = below.path.strip_suffix(&format!(".{}", below.name()));
                    let (list, named) = (format!("{}[]", about.path), format!("{}.*", about.path));
                    let is_below = [about.path, &list, &named].map(Some).contains(&parent);
                    assert!(is_below, "{}", below.path);
                }
            }
        }
    }

    #[test]
    fn every_flag_names_one_key_and_its_variable_follows_from_it() {
        let flags: Vec<Flag> = all().filter_map(|key| key.about().flag).collect();
        let names: HashSet<&str> = flags.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), flags.len(), "two keys have the same flag");
        assert_eq!(Flag::new("ca-file", "FILE").variable(), "CACHEPULSE_CA_FILE");
        assert_eq!(Flag::new("ca-file", "FILE").to_string(), "--ca-file");
    }

    #[test]
    fn an_example_is_written_in_yaml() {
        for key in all() {
            let example = key.about().example;
            assert!(super::super::document::parse(example).is_ok(), "{}: {example}", key.about().path);
        }
    }

    #[test]
    fn a_default_and_a_range_are_written_as_they_are_read() {
        assert!(matches!(probe::INTERVAL.default_text(), Absent::Default(text) if text == "10s"));
        assert!(
            matches!(probe::CLIENT_LIST_MODE.default_text(), Absent::Default(text) if text == "optional")
        );
        assert_eq!(probe::REPLY_LIMIT.range(), Some(("64KiB".into(), "64MiB".into())));
        assert_eq!(probe::INTERVAL.kind(), Kind::Duration);
    }
}
