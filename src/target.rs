//! A target: one cache and its settings. Values without I/O.

mod labels;
mod product;
mod server;

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::labels::Labels;
pub use self::product::Product;
pub use self::server::{Endpoint, Sentinels, Server};
use crate::closed_set::closed_set;
use crate::identity::Identity;

/// The name of a target: the value of the label `target`, unique in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Creates a name of 1 to [`Self::MAX_LENGTH`] characters without control characters and surrounding spaces; `None`
    /// otherwise, and for `.` and `..`: browsers resolve them in the path of the target's page, however they are encoded.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let length = name.chars().count();
        let fits = (1..=Self::MAX_LENGTH).contains(&length) && !name.chars().any(char::is_control);
        (fits && name.trim() == name && !matches!(name, "." | "..")).then(|| Self(name.into()))
    }

    /// Returns the name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The encryption of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plaintext.
    Off,
    /// TLS 1.2 or 1.3.
    On {
        /// The files with certificates.
        files: TlsFiles,
        /// The name for SNI and the certificate check. The default is the host that is connected to.
        server_name: Option<String>,
    },
}

impl Tls {
    /// TLS with the platform's root certificates, for the name of the host, without a client certificate.
    pub const DEFAULT: Self = Self::On { files: TlsFiles { ca_file: None, client: None }, server_name: None };
}

/// The files of a TLS client, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// Root certificates, in addition to the platform's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate for servers that ask for one.
    pub client: Option<ClientFiles>,
}

/// The files of a client certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The certificate, and those of the authorities between it and a root.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl fmt::Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client.iter().flat_map(|client| [&client.cert_file, &client.key_file]);
        for (index, path) in self.ca_file.iter().chain(client).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", path.display())?;
        }
        Ok(())
    }
}

/// A template of the key that is written and read. `{instance}` is replaced by a name unique to each prober.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(Arc<str>);

impl KeyTemplate {
    /// The placeholder for the prober's name.
    pub const INSTANCE: &str = "{instance}";

    /// Creates a template of 1 to 512 bytes; `None` otherwise.
    #[must_use]
    pub fn new(template: &str) -> Option<Self> {
        (1..=512).contains(&template.len()).then(|| Self(template.into()))
    }

    /// Whether all probers write the same key.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.0.contains(Self::INSTANCE)
    }

    /// Whether the keys have a hash tag (`{…}`), which fixes their slot in a cluster.
    #[must_use]
    pub fn has_hash_tag(&self) -> bool {
        let key = self.render("instance");
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        tag.is_some_and(|(tag, _)| !tag.is_empty())
    }

    /// Returns the key of the prober called `instance`.
    #[must_use]
    pub fn render(&self, instance: &str) -> String {
        self.0.replace(Self::INSTANCE, instance)
    }
}

closed_set! {
    /// A version of RESP, the protocol of Redis: the label `version` of `cachepulse_protocol`.
    pub enum Protocol {
        /// RESP2: the server, or a proxy in front of it, does not know `HELLO 3`, or `protocol: resp2` is set.
        Resp2 = "2",
        /// RESP3.
        Resp3 = "3",
    }
}

/// What is probed of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Which nodes are probed.
    pub mode: ClusterMode,
    /// The largest number of nodes that are probed.
    pub max_nodes: NonZeroU32,
    /// The time from one reading of the topology to the next.
    pub refresh: Duration,
    /// The address of a node.
    pub address: AddressMode,
}

/// Which nodes of a cluster are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterMode {
    /// Every primary, where the server says that it is a cluster.
    Auto,
    /// The configured host alone.
    Off,
    /// Every primary.
    Primaries,
    /// Every primary and replica.
    All,
}

/// The address at which a node of a cluster is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMode {
    /// The address and port that the cluster announces.
    Announced,
    /// The configured host, at the port that the cluster announces.
    Host,
}

/// The role that a server outside of a cluster must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectRole {
    /// The role that it says it has decides what is probed.
    Any,
    /// A replica fails the probe.
    Primary,
    /// The probe reads only.
    Replica,
}

/// Whether the agent asks for notices of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Of the kind that the host is known to send.
    Auto,
    /// Of every kind, from any host.
    On,
    /// Never.
    Off,
}

/// Whether `CLIENT LIST` is a step of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientListMode {
    /// The probe fails if it fails or the user may not run it.
    Required,
    /// The probe succeeds whatever it returns.
    Optional,
    /// It does not run.
    Off,
}

/// When `CLIENT LIST` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientList {
    /// Whether it is a step of the probe.
    pub mode: ClientListMode,
    /// It runs in every n-th probe. `None` thins it out by the number of clients.
    pub every: Option<NonZeroU32>,
}

/// One cache and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The label `target`.
    pub name: TargetName,
    /// Further labels, which `cachepulse_target_labels` has.
    pub labels: Labels,
    /// How its server is found.
    pub server: Server,
    /// The encryption of the connection.
    pub tls: Tls,
    /// The identity to sign in with.
    pub identity: Arc<Identity>,
    /// The Redis user. The default is the token's `oid` for an Entra identity, otherwise the user `default`.
    pub username: Option<String>,
    /// The version of RESP. `None` is RESP3, and RESP2 if the server does not know that.
    pub protocol: Option<Protocol>,
    /// The time between ticks.
    pub interval: Duration,
    /// The timeout of resolve, connect, TLS and AUTH together.
    pub connect_timeout: Duration,
    /// The timeout of each step.
    pub command_timeout: Duration,
    /// The maximum number of attempts per tick.
    pub attempts: NonZeroU32,
    /// The time after the process's start in which failures before the first success are not unavailable time.
    pub startup_grace: Duration,
    /// The template of the key that is written and read.
    pub key: KeyTemplate,
    /// The number of keys, spread over the hash slots, that are written and read in turn.
    pub keys: NonZeroU32,
    /// When `CLIENT LIST` runs.
    pub client_list: ClientList,
    /// The time from one probe of a new connection to the next.
    pub new_connection_every: Option<Duration>,
    /// The time from one lookup of the host's name to the next while a connection is open.
    pub dns_refresh: Option<Duration>,
    /// The age at which the open connection is replaced.
    pub max_connection_age: Option<Duration>,
    /// The largest reply that is read, in bytes.
    pub reply_limit: usize,
    /// What is probed of a cluster.
    pub cluster: Cluster,
    /// The role that a server outside of a cluster must have.
    pub expect_role: ExpectRole,
    /// Whether the agent asks for notices of maintenance.
    pub maintenance: Maintenance,
}

impl Target {
    /// Whether it is probed exactly as `other` is: labels are only exported.
    #[must_use]
    pub fn is_probed_like(&self, other: &Self) -> bool {
        self == other || Self { labels: other.labels.clone(), ..self.clone() } == *other
    }
}

#[cfg(test)]
impl Target {
    /// Returns a target without TLS and sign-in and with defaults otherwise, for tests.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            tls: Tls::Off,
            identity: Arc::new(Identity::None),
            ..Self::with_defaults(
                TargetName::new(name).expect("tests use valid names"),
                Endpoint { host: "localhost".into(), port: 6380 },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_hash_tag_if_something_stands_between_its_first_braces() {
        let has_tag = |key: &str| KeyTemplate::new(key).expect("tests use valid keys").has_hash_tag();
        for key in ["cachepulse:{instance}", "health", "a{}b", "a{}{b}", "a{b", "a}b{"] {
            assert!(!has_tag(key), "{key}");
        }
        for key in ["{a}b", "a:{b}", "a{b}{instance}", "{{instance}}", "{a}{}", "a}{b}"] {
            assert!(has_tag(key), "{key}");
        }
    }
}
