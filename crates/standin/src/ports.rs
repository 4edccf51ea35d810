//! The ports of a stand-in, and the errors of listening on them.

use std::fmt;
use std::io;

/// The ports to listen on, at 127.0.0.1. Zero, the default, takes any free port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The cache.
    pub cache: u16,
    /// The identity endpoint of App Service and IMDS, over http.
    pub identity: u16,
    /// Entra's token service, over https.
    pub authority: u16,
}

/// A service that listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The cache.
    Cache,
    /// A node of the cache.
    Node,
    /// The identity endpoint of App Service and IMDS.
    Identity,
    /// Entra's token service.
    Authority,
}

/// A port cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The service.
    pub service: Service,
    /// The port.
    pub port: u16,
    pub(super) source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on 127.0.0.1:{}", self.port)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A stand-in cannot start.
#[derive(Debug)]
pub enum StartError {
    /// One of its ports cannot be listened on.
    Bind(BindError),
    /// Its keys or certificates cannot be generated.
    Generate(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Generate(_) => f.write_str("cannot generate keys and certificates"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(error) => error.source(),
            Self::Generate(error) => Some(error),
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Generate(error)
    }
}
