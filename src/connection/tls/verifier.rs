//! The check of a server's certificate: the one of rustls, and one for certificates that the operator named themselves.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::pinned::{parse, verify_dates};
use super::roots::Roots;
use super::witness::shown;
use super::x509;

/// The check of rustls for one version of TLS.
type VerifySignature = fn(
    &[u8],
    &CertificateDer<'_>,
    &DigitallySignedStruct,
    &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error>;

/// Checks the certificates of servers.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Roots,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Creates a verifier that trusts `roots`.
    pub(super) const fn new(roots: Roots, provider: &CryptoProvider) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms }
    }

    /// Returns the key of a pinned certificate that rustls does not read, such as one of version 1. A signature can be
    /// checked with the key alone; the check is the same in TLS 1.2 and 1.3.
    fn bare_key(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Option<SubjectPublicKeyInfoDer<'static>>, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() || !self.roots.is_pinned(certificate) {
            return Ok(None);
        }
        Ok(Some(SubjectPublicKeyInfoDer::from(parse(certificate)?.public_key().raw).into_owned()))
    }

    /// Checks a signature with the key of `certificate`, which `verify` reads unless only the bare key can be used.
    fn verify_signature(
        &self,
        verify: VerifySignature,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.bare_key(certificate)? {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms),
            None => verify(message, certificate, signature, &self.algorithms),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        shown(end_entity);
        if self.roots.is_pinned(end_entity) {
            return verify_pinned(end_entity, server_name, now);
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let (authorities, algorithms) = (&self.roots.authorities, self.algorithms.all);
        verify_server_cert_signed_by_trust_anchor(&certificate, authorities, intermediates, now, algorithms)?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(verify_tls12_signature, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(verify_tls13_signature, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks the dates and the name of a certificate that is trusted for itself. Nobody needs to vouch for it, so that it
/// may be any kind of certificate: of an authority, or one without extensions.
fn verify_pinned(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = parse(certificate)?;
    verify_dates(&parsed, now)?;
    if matches!(x509::alternative_names(&parsed), Ok(None)) {
        // `openssl req -x509` gives none. OpenSSL and others then take the common name.
        let is_common_name = |name: &str| name.eq_ignore_ascii_case(&server_name.to_str());
        let mut names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        return if names.any(is_common_name) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        };
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}
