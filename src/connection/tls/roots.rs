//! Root certificates: which authorities are trusted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_native_certs::CertificateResult;

use crate::files::within;

/// How long reading the platform's roots may take: hundreds of files, perhaps on a slow disk.
const LIMIT: Duration = Duration::from_secs(5);

/// The certificate authorities that are trusted, and the certificates that are trusted for themselves.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(super) authorities: Arc<RootCertStore>,
    /// The certificates that the operator named. A server may show one of them as its own.
    pinned: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Returns the platform's roots, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set. Where the
    /// platform has none (an image without ca-certificates), Mozilla's, which are built in.
    ///
    /// Certificates that cannot be read are logged and left out.
    #[must_use]
    pub fn platform() -> Self {
        let found = within(LIMIT, rustls_native_certs::load_native_certs).unwrap_or_else(|| {
            tracing::warn!(seconds = LIMIT.as_secs(), "root certificates not read in time");
            CertificateResult::default()
        });
        for error in &found.errors {
            tracing::warn!(%error, "root certificates not readable");
        }
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(found.certs);
        // Who names a file trusts that file alone: a typing error in it must not widen the trust.
        let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        if authorities.is_empty() && chosen {
            tracing::warn!("no certificate in SSL_CERT_FILE and SSL_CERT_DIR; trusting none");
        } else if authorities.is_empty() {
            tracing::info!("no root certificates on this machine; using the built-in ones");
            authorities.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self { authorities: Arc::new(authorities), pinned: Arc::default() }
    }

    /// Returns no roots at all: a start for [`Self::with_pem`].
    #[must_use]
    pub fn none() -> Self {
        Self { authorities: Arc::new(RootCertStore::empty()), pinned: Arc::default() }
    }

    /// Returns these roots and the certificates of the PEM file at `path`.
    ///
    /// # Errors
    /// [`RootsError`] if the file cannot be read or its content cannot be used.
    pub fn with_pem_file(&self, path: &Path) -> Result<Self, RootsError> {
        self.with_pem(&std::fs::read(path).map_err(RootsError::Unreadable)?)
    }

    /// Returns these roots and the certificates of `pem`.
    ///
    /// # Errors
    /// [`RootsError`] if `pem` holds no certificate, or one that cannot be used.
    pub fn with_pem(&self, pem: &[u8]) -> Result<Self, RootsError> {
        let mut authorities = RootCertStore::clone(&self.authorities);
        let mut pinned = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| RootsError::DamagedPem)?;
            let number = pinned.len() + 1;
            authorities.add(certificate.clone()).map_err(|_| RootsError::NotACertificate { number })?;
            pinned.push(certificate);
        }
        if pinned.is_empty() {
            return Err(RootsError::Empty);
        }
        let pinned = self.pinned.iter().cloned().chain(pinned).collect();
        Ok(Self { authorities: Arc::new(authorities), pinned })
    }

    /// Whether the operator named `certificate` itself.
    pub(super) fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned == certificate)
    }
}

/// Root certificates cannot be used.
#[derive(Debug)]
pub enum RootsError {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// There is a section without an end, or one that is not base64.
    DamagedPem,
    /// A section does not contain a certificate.
    NotACertificate {
        /// Which one, from 1.
        number: usize,
    },
    /// There is no section with a certificate.
    Empty,
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(_) => f.write_str("cannot be read"),
            Self::DamagedPem => f.write_str("is damaged PEM"),
            Self::NotACertificate { number } => write!(f, "is damaged at certificate {number}"),
            Self::Empty => f.write_str("holds no certificate in PEM (BEGIN CERTIFICATE)"),
        }
    }
}

impl std::error::Error for RootsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::DamagedPem | Self::NotACertificate { .. } | Self::Empty => None,
        }
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
        assert_eq!((roots.authorities.len(), roots.pinned.len()), (3, 3));
    }

    #[test]
    fn pem_that_is_missing_empty_or_damaged_is_an_error() {
        let error = |text: &[u8]| Roots::none().with_pem(text).unwrap_err().to_string();
        assert_eq!(error(b""), "holds no certificate in PEM (BEGIN CERTIFICATE)");
        assert_eq!(error(b"\x30\x82"), "holds no certificate in PEM (BEGIN CERTIFICATE)");
        assert_eq!(error(b"-----BEGIN CERTIFICATE-----\nMIIB\n"), "is damaged PEM");
        let other = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let second = Authority::new().pem() + other;
        assert_eq!(error(second.as_bytes()), "is damaged at certificate 2");
        let missing = Roots::none().with_pem_file(Path::new("/nonexistent/ca.pem")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot be read");
    }

    #[test]
    fn there_are_always_roots_unless_the_environment_says_otherwise() {
        if std::env::var_os("SSL_CERT_FILE").is_none() && std::env::var_os("SSL_CERT_DIR").is_none() {
            assert!(!Roots::platform().authorities.is_empty());
        }
    }
}
