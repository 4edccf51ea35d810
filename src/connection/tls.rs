//! TLS: which roots are trusted, and the [`handshake`] with its certificate check. Whose name is checked is the
//! caller's decision.

pub mod handshake;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use super::trace::Trace;
use super::verifier::TracingVerifier;

/// The certificate authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// The platform's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set. Where the platform
    /// has none (an image without ca-certificates), Mozilla's, which are built in.
    ///
    /// What cannot be read is logged and left out.
    #[must_use]
    pub fn platform() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "root certificates not readable");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        // Who names a file trusts that file alone: a typing error in it must not widen the trust.
        let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        if roots.is_empty() && chosen {
            tracing::warn!("no certificate in SSL_CERT_FILE and SSL_CERT_DIR; trusting none");
        } else if roots.is_empty() {
            tracing::info!("no root certificates on this machine; using the built-in ones");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self(Arc::new(roots))
    }

    /// No roots at all: a start for [`Self::with_pem`].
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// These roots and the certificates of the PEM file at `path`.
    ///
    /// # Errors
    /// [`TlsSetupError`], when the file cannot be read or is not what it should be.
    pub fn with_pem_file(&self, path: &Path) -> Result<Self, TlsSetupError> {
        let place = format!("file {}", path.display());
        match std::fs::read(path) {
            Ok(pem) => self.with_pem_from(place, &pem),
            Err(error) => Err(TlsSetupError { place, fault: Fault::Unreadable(error) }),
        }
    }

    /// These roots and the certificates of `pem`.
    ///
    /// # Errors
    /// [`TlsSetupError`], when `pem` is not what it should be.
    pub fn with_pem(&self, pem: &[u8]) -> Result<Self, TlsSetupError> {
        self.with_pem_from("the PEM text".to_owned(), pem)
    }

    fn with_pem_from(&self, place: String, pem: &[u8]) -> Result<Self, TlsSetupError> {
        let mut roots = RootCertStore::clone(&self.0);
        let before = roots.len();
        let added = CertificateDer::pem_slice_iter(pem)
            .try_for_each(|certificate| roots.add(certificate.map_err(Fault::Pem)?).map_err(Fault::Root));
        match added {
            Err(fault) => Err(TlsSetupError { place, fault }),
            Ok(()) if roots.len() == before => Err(TlsSetupError { place, fault: Fault::Empty }),
            Ok(()) => Ok(Self(Arc::new(roots))),
        }
    }
}

/// Certificates to trust could not be taken.
#[derive(Debug)]
pub struct TlsSetupError {
    place: String,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(io::Error),
    Pem(pem::Error),
    Root(rustls::Error),
    Empty,
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match &self.fault {
            Fault::Unreadable(_) => write!(f, "{place} cannot be read"),
            Fault::Pem(_) => write!(f, "{place} is damaged PEM"),
            Fault::Root(_) => write!(f, "{place} holds a certificate that cannot be trusted as a root"),
            Fault::Empty => write!(f, "{place} holds no certificate in PEM (BEGIN CERTIFICATE)"),
        }
    }
}

impl std::error::Error for TlsSetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            Fault::Pem(error) => Some(error),
            Fault::Root(error) => Some(error),
            Fault::Empty => None,
        }
    }
}

/// The client's side of TLS 1.2 and 1.3. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// A client that trusts `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self::traced(roots, &Trace::default())
    }

    /// A client that trusts `roots` and notes in `trace` which certificate a server showed.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it cannot: see the text of the expectation")]
    pub fn traced(roots: &Roots, trace: &Trace) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider ring has suites for both versions")
            .with_root_certificates(Arc::clone(&roots.0))
            .with_no_client_auth();
        // A resumed session skips the certificate. Each reconnect shall check it anew, and be timed alike.
        config.resumption = Resumption::disabled();
        if trace.is_on()
            // Fails without roots, where no certificate is trusted and the one above says so.
            && let Ok(inner) =
                WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), provider).build()
        {
            let verifier = TracingVerifier { inner, trace: trace.clone() };
            config.dangerous().set_certificate_verifier(Arc::new(verifier));
        }
        Self(Arc::new(config))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::Authority;

    #[test]
    fn roots_of_a_pem_file_come_beside_the_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), Authority::new().pem() + &Authority::new().pem()).unwrap();
        let roots = Authority::new().roots().with_pem_file(file.path()).unwrap();
        assert_eq!(roots.0.len(), 3);
    }

    #[test]
    fn a_file_that_is_missing_empty_or_damaged_is_an_error_that_names_it() {
        let error = |text: &[u8]| Roots::none().with_pem(text).unwrap_err().to_string();
        assert_eq!(error(b""), "the PEM text holds no certificate in PEM (BEGIN CERTIFICATE)");
        assert_eq!(error(b"\x30\x82"), "the PEM text holds no certificate in PEM (BEGIN CERTIFICATE)");
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
        assert_eq!(error(cut.as_bytes()), "the PEM text is damaged PEM");
        let no_certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert_eq!(
            error(no_certificate.as_bytes()),
            "the PEM text holds a certificate that cannot be trusted as a root"
        );
        let missing = Roots::none().with_pem_file(Path::new("/nonexistent/ca.pem")).unwrap_err();
        assert_eq!(missing.to_string(), "file /nonexistent/ca.pem cannot be read");
    }

    #[test]
    fn there_are_always_roots_unless_the_environment_says_otherwise() {
        if std::env::var_os("SSL_CERT_FILE").is_none() && std::env::var_os("SSL_CERT_DIR").is_none() {
            assert!(!Roots::platform().0.is_empty());
        }
    }
}
