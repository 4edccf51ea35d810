//! TLS: the client's side of it. Which authorities are trusted is in [`roots`], how a server's certificate is checked in
//! `verifier.rs`, the [`handshake`] and its failures in files of their own. Whose name is checked is the caller's
//! decision.

pub mod certificate;
pub mod client_certificate;
mod diagnosis;
pub mod handshake;
mod peers;
pub mod pem;
pub(crate) mod pinned;
mod records;
pub mod reload;
mod remedy;
pub mod roots;
mod stream;
mod verifier;
mod witness;
pub(crate) mod x509;

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;

use client_certificate::ClientCertificate;
use peers::Peers;
use roots::Roots;
use verifier::Verifier;
use witness::Answers;

pub(super) use diagnosis::PLAIN_TEXT;
pub use remedy::Remedy;
pub(crate) use stream::ClientCertificateRefused;
pub use stream::TlsStream;

/// The client's side of TLS 1.2 and 1.3. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient {
    /// Shared by all connections.
    config: Arc<ClientConfig>,
    /// The peers that have finished a handshake.
    peers: Peers,
    remedy: Remedy,
}

impl TlsClient {
    /// Creates a client that trusts `roots`, and shows `certificate` to servers that ask for one.
    ///
    /// # Panics
    /// Never: the provider has cipher suites for both versions of TLS.
    #[must_use]
    pub fn new(roots: &Roots, certificate: Option<ClientCertificate>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(roots.clone(), &provider);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Answers(certificate)));
        // A resumed session skips the certificate. Each reconnect shall check it anew, and be timed alike.
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), peers: Peers::default(), remedy: Remedy::OF_TARGET }
    }

    /// Returns this client with failures that name this `remedy` instead of the keys of a target.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        Self { remedy, ..self }
    }

    /// Remembers the same peers as `previous`.
    fn after(self, previous: &Self) -> Self {
        Self { peers: previous.peers.clone(), ..self }
    }
}

/// The failure of a session without TLS whose peer sends what [`is_greeting`] recognises.
pub(super) const PEER_SPEAKS_TLS: &str = "the peer speaks TLS";

/// Whether `bytes` begin as an alert or a handshake of TLS does (RFC 8446, section 5.1).
pub(super) const fn is_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [21 | 22, 3, ..])
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}
