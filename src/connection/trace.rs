//! What opening a connection finds out beyond success and times, for `cachepulse check`. The daemon keeps none of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;

use crate::lock::lock;
use crate::target::Endpoint;

/// Keeps the [`Findings`] of the last opening, if it is on. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<Mutex<Findings>>>);

/// What opening a connection found out, as far as it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The sentinels that answered or failed, in that order.
    pub sentinels: Vec<AskedSentinel>,
    /// The addresses of the host name, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// The addresses that were tried without success, and the system's words.
    pub refused: Vec<(SocketAddr, String)>,
    /// The address that accepted the connection.
    pub connected: Option<SocketAddr>,
    /// The version of a completed handshake.
    pub tls_version: Option<&'static str>,
    /// The certificate that the server showed, trusted or not.
    pub certificate: Option<CertificateDer<'static>>,
}

/// A sentinel that was asked for the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedSentinel {
    /// The sentinel.
    pub sentinel: Endpoint,
    /// The address that it named, or why it named none.
    pub answer: Result<Endpoint, String>,
}

impl Trace {
    /// A trace that keeps what is found. The default one does not.
    #[must_use]
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether it keeps what is found.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What the last opening has found so far; nothing where the trace is off.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        self.note(|kept| findings.clone_from(kept));
        findings
    }

    /// Lets `note` write, if the trace is on.
    pub(super) fn note(&self, note: impl FnOnce(&mut Findings)) {
        if let Some(findings) = &self.0 {
            note(&mut lock(findings));
        }
    }
}
