//! What a server says of itself: its product, version, mode and role.

use crate::closed_set::closed_set;
use crate::excerpt::excerpt;

/// How much is kept of a product's name or version, in characters. Both become labels.
const MAX_TEXT: usize = 40;
/// What a label says if the server did not.
const UNKNOWN: &str = "unknown";
/// A second `HELLO` needs no right from this major version on.
const FREE_HELLO: u32 = 7;

closed_set! {
    /// The role of a server in replication: the label `role`.
    pub enum Role {
        /// The server takes writes.
        Primary = "primary",
        /// The server copies a primary.
        Replica = "replica",
    }
}

impl Role {
    /// Returns the role that a server calls `word`: `master` or `primary`, `replica` or `slave`.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"master" | b"primary" => Some(Self::Primary),
            b"replica" | b"slave" => Some(Self::Replica),
            _ => None,
        }
    }
}

closed_set! {
    /// How a server runs: the label `mode`.
    pub enum Mode {
        /// The server has all keys.
        Standalone = "standalone",
        /// The server is a node of a cluster.
        Cluster = "cluster",
        /// The server is a Sentinel.
        Sentinel = "sentinel",
    }
}

/// What a server says of itself in its reply to `HELLO`. Empty for a server that does not know `HELLO`, but for the role
/// that its error replies show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The product, such as `redis` or `valkey`: one bounded line. May be empty.
    product: Box<str>,
    /// Its version: one bounded line. May be empty.
    version: Box<str>,
    /// How it runs.
    pub mode: Option<Mode>,
    /// Its role.
    pub role: Option<Role>,
}

impl ServerInfo {
    /// Creates the information of a server that calls itself `product` in `version`. Both are cut to 40 characters.
    #[must_use]
    pub fn new(product: &str, version: &str, mode: Option<Mode>, role: Option<Role>) -> Self {
        let bounded = |text: &str| excerpt(text, MAX_TEXT).into_boxed_str();
        Self { product: bounded(product), version: bounded(version), mode, role }
    }

    /// Returns the product as a label: `unknown` if the server did not say.
    #[must_use]
    pub fn product(&self) -> &str {
        if self.product.is_empty() { UNKNOWN } else { &self.product }
    }

    /// Returns the version as a label: `unknown` if the server did not say.
    #[must_use]
    pub fn version(&self) -> &str {
        if self.version.is_empty() { UNKNOWN } else { &self.version }
    }

    /// Returns the mode as a label: `unknown` if the server did not say, or used a word that is not known.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.mode.map_or(UNKNOWN, Mode::as_str)
    }

    /// Returns the role as a label: `unknown` if the server has shown none.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role.map_or(UNKNOWN, Role::as_str)
    }

    /// Whether the server says that it is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.role == Some(Role::Replica)
    }

    /// Whether `HELLO` may be sent again to ask for the role. Servers below version 7 demand a right for that.
    #[must_use]
    pub fn answers_hello_again(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        major.is_some_and(|major| major >= FREE_HELLO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_role_is_understood_and_no_other_word() {
        for (word, role) in [
            ("master", Some(Role::Primary)),
            ("primary", Some(Role::Primary)),
            ("replica", Some(Role::Replica)),
            ("slave", Some(Role::Replica)),
            ("sentinel", None),
            ("", None),
        ] {
            assert_eq!(Role::parse(word.as_bytes()), role, "{word}");
        }
    }

    #[test]
    fn what_a_server_did_not_say_is_unknown() {
        let silent = ServerInfo::default();
        let labels = [silent.product(), silent.version(), silent.mode(), silent.role()];
        assert_eq!(labels, [UNKNOWN; 4]);
    }

    #[test]
    fn texts_of_a_server_are_one_bounded_line() {
        let info = ServerInfo::new(&"x".repeat(5_000), "7.4\n\u{202e}evil\0", None, None);
        assert_eq!(info.product().chars().count(), MAX_TEXT);
        assert_eq!(info.version(), "7.4 evil");
    }

    #[test]
    fn hello_is_sent_again_only_where_it_needs_no_right() {
        for (version, answers) in [
            ("7.0.15", true),
            ("8.1.1", true),
            ("10", true),
            ("6.2.14", false),
            ("6.0", false),
            ("255.255.255", true),
            ("", false),
            ("v7", false),
            ("99999999999", false),
        ] {
            assert_eq!(
                ServerInfo::new("redis", version, None, None).answers_hello_again(),
                answers,
                "{version}"
            );
        }
    }
}
