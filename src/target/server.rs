//! How the server of a target is found: by its host, or by asking sentinels.

use std::fmt;
use std::sync::Arc;

use super::Tls;
use crate::secret::SecretSource;

/// How the server of a target is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// At this host and port.
    Host(Endpoint),
    /// Where sentinels say that the primary is. Boxed: most targets have none.
    Sentinels(Box<Sentinels>),
}

/// A service that Redis Sentinel watches, and how to ask for the address of its primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// The name of the service, as in `sentinel monitor`.
    pub service: Arc<str>,
    /// The sentinels, in the order in which they are asked first. At least one, each once.
    pub addresses: Vec<Endpoint>,
    /// The encryption of the connections to the sentinels.
    pub tls: Tls,
    /// The password of the sentinels. `None` is no sign-in.
    pub password: Option<SecretSource>,
    /// The user of that password. The default is the user `default`.
    pub username: Option<String>,
}

/// The host and port of a cache, or of a sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name, an IPv4 address or an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The TCP port.
    pub port: u16,
}

impl Server {
    /// Returns the host and port, if they are known without asking anybody.
    #[must_use]
    pub const fn host(&self) -> Option<&Endpoint> {
        match self {
            Self::Host(endpoint) => Some(endpoint),
            Self::Sentinels(_) => None,
        }
    }

    /// Returns the sentinels that are asked, if there are any.
    #[must_use]
    pub const fn sentinels(&self) -> Option<&Sentinels> {
        match self {
            Self::Host(_) => None,
            Self::Sentinels(sentinels) => Some(sentinels),
        }
    }
}

impl From<Endpoint> for Server {
    fn from(endpoint: Endpoint) -> Self {
        Self::Host(endpoint)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(endpoint) => endpoint.fmt(f),
            Self::Sentinels(sentinels) => {
                let Sentinels { service, addresses, .. } = &**sentinels;
                write!(f, "{service} of the sentinels")?;
                for (index, address) in addresses.iter().enumerate() {
                    write!(f, "{} {address}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
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
