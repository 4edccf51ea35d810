//! A target: one cache that is probed, with everything the operator decided about it. Values without I/O.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Identity;

/// The name of a target: the value of the label `target`, unique in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// A name of 1 to [`Self::MAX_LENGTH`] characters without control characters; `None` otherwise.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let length = name.chars().count();
        let fits = (1..=Self::MAX_LENGTH).contains(&length) && !name.chars().any(char::is_control);
        (fits && name.trim() == name).then(|| Self(name.into()))
    }

    /// The name's text.
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

/// Where a cache is: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A host name, an IPv4 address or an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whether and how the connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plaintext.
    Off,
    /// TLS 1.2 or 1.3, the certificate checked against the platform's roots.
    On {
        /// Roots beside the platform's, in PEM.
        ca_file: Option<PathBuf>,
        /// The name for SNI and the certificate check, where it is not the host.
        server_name: Option<String>,
    },
}

/// The key that is written and read. `{instance}` in it stands for this one prober.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(Arc<str>);

impl KeyTemplate {
    /// What stands for the prober's own name.
    pub const INSTANCE: &str = "{instance}";

    /// A template of 1 to 512 bytes; `None` otherwise.
    #[must_use]
    pub fn new(template: &str) -> Option<Self> {
        (1..=512).contains(&template.len()).then(|| Self(template.into()))
    }

    /// Whether two probers would write the same key.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.0.contains(Self::INSTANCE)
    }

    /// The key of the prober called `instance`.
    #[must_use]
    pub fn render(&self, instance: &str) -> String {
        self.0.replace(Self::INSTANCE, instance)
    }
}

/// Whether `CLIENT LIST` belongs to the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientListMode {
    /// The probe fails where it is forbidden.
    Required,
    /// The probe succeeds where it is forbidden (`NOPERM`); other errors still fail it.
    Optional,
    /// It is not run.
    Off,
}

/// When `CLIENT LIST` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientList {
    /// Whether it belongs to the probe.
    pub mode: ClientListMode,
    /// It runs in every n-th probe.
    pub every: NonZeroU32,
}

/// One cache that is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The label `target`.
    pub name: TargetName,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// How to sign in.
    pub identity: Arc<Identity>,
    /// The Redis user. With an Entra identity the default is the token's `oid`; otherwise the default user.
    pub username: Option<String>,
    /// From tick to tick.
    pub interval: Duration,
    /// The limit for resolve, connect, TLS and AUTH together.
    pub connect_timeout: Duration,
    /// The limit for each step.
    pub command_timeout: Duration,
    /// How often a probe is attempted within one tick while connections fail.
    pub attempts: NonZeroU32,
    /// The key that is written and read.
    pub key: KeyTemplate,
    /// When `CLIENT LIST` runs.
    pub client_list: ClientList,
    /// The longest reply that is read, in bytes.
    pub reply_limit: usize,
}

#[cfg(test)]
impl Target {
    /// A target in plaintext without sign-in, everything else at its default; for tests.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            tls: Tls::Off,
            identity: Arc::new(Identity::None),
            ..Self::with_defaults(
                TargetName::new(name).expect("tests name their targets well"),
                Endpoint { host: "localhost".into(), port: 6380 },
            )
        }
    }
}
