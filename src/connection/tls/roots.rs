//! Root certificates: which authorities are trusted.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::CertificateResult;

use super::pem::{self, PemError};
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

    /// Returns these roots and the certificates of `pem`.
    ///
    /// # Errors
    /// [`PemError`] if `pem` holds no certificate, or one that cannot be used.
    pub fn with_pem(&self, pem: &[u8]) -> Result<Self, PemError> {
        let mut authorities = RootCertStore::clone(&self.authorities);
        let pinned = pem::certificates(pem)?;
        for (index, certificate) in pinned.iter().enumerate() {
            let added = authorities.add(certificate.clone());
            added.map_err(|_| PemError::DamagedCertificate { number: index + 1 })?;
        }
        let pinned = self.pinned.iter().cloned().chain(pinned).collect();
        Ok(Self { authorities: Arc::new(authorities), pinned })
    }

    /// Whether the operator named `certificate` itself.
    pub(super) fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned == certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::Authority;

    #[test]
    fn roots_in_pem_come_beside_the_others() {
        let pem = Authority::new().pem() + &Authority::new().pem();
        let roots = Authority::new().roots().with_pem(pem.as_bytes()).unwrap();
        assert_eq!((roots.authorities.len(), roots.pinned.len()), (3, 3));
    }

    #[test]
    fn there_are_always_roots_unless_the_environment_says_otherwise() {
        if std::env::var_os("SSL_CERT_FILE").is_none() && std::env::var_os("SSL_CERT_DIR").is_none() {
            assert!(!Roots::platform().authorities.is_empty());
        }
    }
}
