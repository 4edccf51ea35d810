//! The check of a client's certificate.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::ClientAuth;
use crate::connection::tls::pinned::{parse, verify_dates};
use crate::connection::tls::x509::{alternative_names, purposes};

/// Checks the certificates of clients.
pub(super) struct ClientVerifier {
    auth: ClientAuth,
    /// Checks that an authority has issued the certificate. `None` if there are no authorities.
    by_authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of the authorities. A client may show one of them as its own.
    authorities: Vec<CertificateDer<'static>>,
    /// The subject alternative names of which a certificate must have one.
    allowed_sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// Creates a verifier that trusts `authorities`.
    pub(super) fn new(
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        allowed_sans: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let by_authorities = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        Self {
            auth,
            by_authorities: by_authorities.build().ok(),
            authorities,
            allowed_sans,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify_issuer(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.authorities.iter().any(|authority| authority == certificate) {
            return verify_pinned(&parse(certificate)?, now);
        }
        let by_authorities = self.by_authorities.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        by_authorities.verify_client_cert(certificate, intermediates, now).map(drop)
    }

    fn verify_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_sans else { return Ok(()) };
        let certificate = parse(certificate)?;
        let names = alternative_names(&certificate).ok().flatten().unwrap_or_default();
        let mut names = names.iter().filter_map(text);
        let is_allowed = |name: String| allowed.contains(&name);
        if names.any(is_allowed) { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.is_required()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authorities.as_ref().map_or(&[], |by_authorities| by_authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.auth.is_verified() {
            self.verify_issuer(certificate, intermediates, now)?;
        }
        self.verify_names(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

/// Checks the dates and the purpose of a certificate that is trusted for itself. It may be that of an authority, as
/// `openssl req -x509` makes it.
fn verify_pinned(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    verify_dates(certificate, now)?;
    let purposes = purposes(certificate).map_err(|_| CertificateError::BadEncoding)?;
    if purposes.is_some_and(|purposes| !purposes.client_auth && !purposes.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(())
}

/// Returns a subject alternative name as text; `None` for a kind that cannot be allowed.
fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok()
                .map(|address| address.to_canonical().to_string())
        }
        _ => None,
    }
}
