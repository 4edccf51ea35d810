//! What tests of connections need: the machine's resolver, a certificate authority and TLS servers of its making.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use super::resolver::Resolver;
use super::tls::roots::Roots;
use crate::files::Files;

/// The year in which the certificates of [`Authority::server`] end.
pub(crate) const LAST_YEAR: i32 = 2101;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Roots that trust this authority alone.
    pub(crate) fn roots(&self) -> Roots {
        Roots::none().with_pem(self.pem().as_bytes()).unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a certificate for `name`.
    pub(crate) fn server(&self, name: &str) -> TlsAcceptor {
        self.server_until(name, LAST_YEAR)
    }

    /// A server with a certificate for `name` that ends on the first day of `year`.
    pub(crate) fn server_until(&self, name: &str, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        server(certificate.der(), &key, rustls::ALL_VERSIONS)
    }
}

/// Returns the machine's resolver.
pub(crate) fn resolver() -> Resolver {
    Resolver::system(Files::system())
}

/// A server with a certificate that it signed itself, and the certificate in PEM.
pub(crate) fn self_signed(
    params: &CertificateParams,
    versions: &[&'static SupportedProtocolVersion],
) -> (TlsAcceptor, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (server(certificate.der(), &key, versions), certificate.pem())
}

fn server(
    certificate: &CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
