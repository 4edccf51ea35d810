//! The server's side of TLS.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::client::ClientVerifier;

/// The protocol over TLS.
const HTTP_1_1: &[u8] = b"http/1.1";

/// What TLS needs.
#[derive(Debug)]
pub struct TlsOptions {
    /// The server's certificate and its key.
    pub certificate: CertifiedKey,
    /// What clients must show.
    pub client_auth: ClientAuth,
    /// The authorities that issue the certificates of clients.
    pub client_authorities: Vec<CertificateDer<'static>>,
    /// The subject alternative names of which a client's certificate must have one.
    pub allowed_sans: Option<Vec<String>>,
    /// The lowest version.
    pub min_version: TlsVersion,
    /// The highest version.
    pub max_version: TlsVersion,
    /// The cipher suites of TLS 1.2, best first; all if there are none. They do not limit TLS 1.3.
    pub cipher_suites: Vec<CipherSuite>,
    /// Whether the order of the server decides and not that of the client.
    pub is_server_order: bool,
    /// The key exchanges, best first; all if there are none.
    pub curves: Vec<Curve>,
}

/// The server's side of TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    client_auth: ClientAuth,
    has_allowed_sans: bool,
}

impl Tls {
    /// Creates TLS with these options. `None` if they leave no version with a cipher suite.
    #[must_use]
    pub fn new(options: TlsOptions) -> Option<Self> {
        let provider = Arc::new(options.provider());
        let client_auth = options.client_auth;
        let has_allowed_sans = options.allowed_sans.is_some();
        let verifier = match client_auth {
            ClientAuth::None => None,
            auth => Some(ClientVerifier::new(
                auth,
                options.client_authorities.clone(),
                options.allowed_sans.clone(),
                &provider,
            )),
        };
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&options.versions()).ok()?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(options.certificate)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ignore_client_order = options.is_server_order;
        // A resumed session would skip the client's certificate, even if its authority is not trusted any more.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Self { config: Arc::new(config), client_auth, has_allowed_sans })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether `other` is a clone of it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// What clients must show.
    pub(crate) fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }

    /// Whether a client's certificate must have one of certain names.
    pub(crate) fn has_allowed_sans(&self) -> bool {
        self.has_allowed_sans
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl TlsOptions {
    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let chosen =
                self.cipher_suites.iter().map(|suite| suite.0).filter(|suite| suite.tls13().is_none());
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
            provider.cipher_suites.extend(chosen);
        }
        if !self.curves.is_empty() {
            provider.kx_groups = self.curves.iter().map(|curve| curve.0).collect();
        }
        provider
    }

    /// Returns the versions for which there are cipher suites.
    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let is_tls12_left =
            self.cipher_suites.is_empty() || self.cipher_suites.iter().any(CipherSuite::is_tls12);
        let versions = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)].into_iter();
        let is_wanted = |version: &TlsVersion| {
            (self.min_version..=self.max_version).contains(version)
                && (*version == TlsVersion::Tls13 || is_tls12_left)
        };
        versions.filter(|(version, _)| is_wanted(version)).map(|(_, version)| version).collect()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What clients must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate.
    None,
    /// Any certificate or none.
    Request,
    /// Any certificate.
    RequireAny,
    /// A certificate of an authority, or none.
    VerifyIfGiven,
    /// A certificate of an authority.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a client without a certificate is refused.
    #[must_use]
    pub fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    /// Whether an authority must have issued the certificate.
    #[must_use]
    pub fn is_verified(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether clients that `other` refuses are accepted, because a certificate is not required or not verified any more.
    pub(crate) fn is_weaker_than(self, other: Self) -> bool {
        match other {
            Self::RequireAndVerify => self != other,
            Self::RequireAny => !self.is_required(),
            Self::None | Self::Request | Self::VerifyIfGiven => false,
        }
    }
}

/// A cipher suite.
#[derive(Clone, Copy, Debug)]
pub struct CipherSuite(SupportedCipherSuite);

impl CipherSuite {
    /// Returns the suite that Go and the IANA call `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ring::ALL_CIPHER_SUITES.iter().map(|suite| Self(*suite)).find(|suite| suite.name() == name)
    }

    /// Returns every suite, best first.
    pub fn all() -> impl Iterator<Item = Self> {
        ring::ALL_CIPHER_SUITES.iter().map(|suite| Self(*suite))
    }

    /// Returns the name in Go and of the IANA.
    #[must_use]
    pub fn name(self) -> String {
        // rustls has an infix of its own.
        self.0.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
    }

    /// Whether it is one of TLS 1.2.
    #[must_use]
    pub fn is_tls12(&self) -> bool {
        self.0.tls13().is_none()
    }
}

/// A key exchange over an elliptic curve.
#[derive(Clone, Copy, Debug)]
pub struct Curve(&'static dyn SupportedKxGroup);

impl Curve {
    /// Returns the curve that Go calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let group = match name {
            "X25519" => NamedGroup::X25519,
            "CurveP256" => NamedGroup::secp256r1,
            "CurveP384" => NamedGroup::secp384r1,
            _ => return None,
        };
        ring::ALL_KX_GROUPS.iter().find(|supported| supported.name() == group).map(|group| Self(*group))
    }
}
