//! The certificate authority: new at each start, and trusted only by clients that are given its PEM.
//!
//! It issues server certificates, valid or invalid ones. `authority.rs` signs tokens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::clock::Clock;

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Issues server certificates.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    clock: Clock,
}

impl CertificateAuthority {
    /// Returns an authority with a new key.
    pub fn new(clock: Clock) -> io::Result<Self> {
        Self::named("cachepulse stand-in CA", clock)
    }

    /// Returns an authority of another name, with a new key.
    pub fn named(name: &str, clock: Clock) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (clock.now() - HOUR).into();
        params.not_after = (clock.now() + YEAR).into();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Self { issuer, clock })
    }

    /// Returns the root certificate, for `tls.ca_file` or `SSL_CERT_FILE`.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns a certificate for `names` (host names or addresses) that is valid for a year. The certificates of real
    /// caches hold host names only.
    pub fn issue(&self, names: &[&str]) -> io::Result<ServerCertificate> {
        self.issue_until(names, self.clock.now() + YEAR)
    }

    /// Returns a certificate for `names` that expired an hour ago.
    pub fn issue_expired(&self, names: &[&str]) -> io::Result<ServerCertificate> {
        self.issue_until(names, self.clock.now() - HOUR)
    }

    fn issue_until(&self, names: &[&str], not_after: std::time::SystemTime) -> io::Result<ServerCertificate> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "cachepulse stand-in");
        params.not_before = (not_after - YEAR - HOUR).into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
            })
            .map_err(io::Error::other)?;
        Ok(ServerCertificate(Arc::new(config)))
    }
}

/// A certificate with its key, as a TLS server presents it.
#[derive(Clone)]
pub struct ServerCertificate(Arc<ServerConfig>);

impl ServerCertificate {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{handshake, pipe};

    async fn verdict(
        names: &[&str],
        asked: &'static str,
        issue: fn(&CertificateAuthority, &[&str]) -> io::Result<ServerCertificate>,
    ) -> String {
        let ca = CertificateAuthority::new(Clock::system()).unwrap();
        let certificate = issue(&ca, names).unwrap();
        let (client, server) = pipe();
        let pem = ca.pem();
        let (client, _server) =
            tokio::join!(handshake(&pem, asked, client), certificate.acceptor().accept(server));
        client.map_or_else(|error| error.to_string(), |_| "trusted".to_owned())
    }

    #[tokio::test]
    async fn a_certificate_is_trusted_for_its_own_names_only() {
        assert_eq!(verdict(&["localhost"], "localhost", CertificateAuthority::issue).await, "trusted");
        assert_eq!(verdict(&["127.0.0.1"], "127.0.0.1", CertificateAuthority::issue).await, "trusted");
        for (name, asked) in [("localhost", "127.0.0.1"), ("elsewhere.example", "localhost")] {
            let error = verdict(&[name], asked, CertificateAuthority::issue).await;
            assert!(error.contains("not valid for name"), "{name} asked as {asked}: {error}");
        }
    }

    #[tokio::test]
    async fn an_expired_certificate_is_expired() {
        let error = verdict(&["localhost"], "localhost", CertificateAuthority::issue_expired).await;
        assert!(error.contains("certificate expired"), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_of_another_authority_is_not_trusted() {
        let ca = CertificateAuthority::new(Clock::system()).unwrap();
        let other = CertificateAuthority::new(Clock::system()).unwrap();
        let certificate = other.issue(&["localhost"]).unwrap();
        let (client, server) = pipe();
        let pem = ca.pem();
        let (client, _server) =
            tokio::join!(handshake(&pem, "localhost", client), certificate.acceptor().accept(server));
        let error = client.unwrap_err().to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
}
