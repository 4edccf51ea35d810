//! A client of the guarded endpoint: certificates, handshakes and requests.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::program::{Page, within};

/// A certificate that signed itself, and its key.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    der: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Certificate {
    /// That of a server called `localhost`.
    pub(crate) fn of_server() -> Self {
        Self::new(&CertificateParams::new(["localhost".to_owned()]).unwrap())
    }

    /// That of a client, as `openssl req -x509` makes it: its own authority.
    pub(crate) fn of_client(names: &[SanType]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names.to_vec();
        Self::new(&params)
    }

    pub(crate) fn new(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: key.serialize_der().into(),
        }
    }
}

/// What a client offers and shows.
pub(crate) struct Client<'a> {
    pub(crate) server: &'a Certificate,
    pub(crate) shows: Option<&'a Certificate>,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) suites: &'a [CipherSuite],
    pub(crate) groups: &'a [NamedGroup],
    pub(crate) alpn: &'a [&'a [u8]],
}

/// What client and server agreed on.
#[derive(Debug, PartialEq)]
pub(crate) struct Agreed {
    pub(crate) suite: CipherSuite,
    pub(crate) group: NamedGroup,
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: HandshakeKind,
}

impl<'a> Client<'a> {
    /// One that trusts `server`, and offers what rustls has.
    pub(crate) fn new(server: &'a Certificate) -> Self {
        Self { server, shows: None, versions: rustls::ALL_VERSIONS, suites: &[], groups: &[], alpn: &[] }
    }

    pub(crate) fn showing(server: &'a Certificate, shown: &'a Certificate) -> Self {
        Self { shows: Some(shown), ..Self::new(server) }
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            // In the order of the client.
            let all = std::mem::take(&mut provider.cipher_suites);
            let named = self.suites.iter().map(|name| all.iter().find(|suite| suite.suite() == *name));
            provider.cipher_suites = named.map(|suite| *suite.unwrap()).collect();
        }
        if !self.groups.is_empty() {
            provider.kx_groups.retain(|group| self.groups.contains(&group.name()));
        }
        provider
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(self.provider().into())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            Some(shown) => {
                let key = PrivateKeyDer::from(shown.key.clone_key());
                builder.with_client_auth_cert(vec![shown.der.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(8);
        config.into()
    }

    /// Requests `/readyz`. The error is the text of rustls.
    pub(crate) async fn get(&self, addr: SocketAddr) -> Result<(Page, Agreed), String> {
        get_with(self.config(), addr).await
    }
}

/// Requests `/readyz` with this configuration.
pub(crate) async fn get_with(config: Arc<ClientConfig>, addr: SocketAddr) -> Result<(Page, Agreed), String> {
    let request = async {
        let mut stream = connect(config, addr).await?;
        let page = exchange(&mut stream, "/readyz", "").await?;
        let session = stream.get_ref().1;
        let agreed = Agreed {
            suite: session.negotiated_cipher_suite().unwrap().suite(),
            group: session.negotiated_key_exchange_group().unwrap().name(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            kind: session.handshake_kind().unwrap(),
        };
        Ok((page, agreed))
    };
    within("it responds", request).await.map_err(|error: std::io::Error| error.to_string())
}

/// Opens a connection with this configuration.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    addr: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// Requests `path` over plain HTTP with further `headers`, each with its line break.
pub(crate) async fn plain(addr: SocketAddr, path: &str, headers: &str) -> Page {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    within("it responds", exchange(&mut stream, path, headers)).await.unwrap()
}

/// Requests `path` and reads to the end.
async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    headers: &str,
) -> std::io::Result<Page> {
    // HTTP 1.0 has no chunks, so everything after the header is the body.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").expect("it is a response");
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Page { code, head: head.to_owned(), body: body.to_owned() })
}

/// Sends a greeting of TLS with this version and one cipher suite, which rustls could not. Returns the alert.
pub(crate) async fn alert_for(addr: SocketAddr, version: [u8; 2], suite: [u8; 2]) -> u8 {
    let extensions = [
        // Supported groups: X25519. Signature algorithms: ECDSA with P-256.
        &[0, 10, 0, 4, 0, 2, 0, 29][..],
        &[0, 13, 0, 4, 0, 2, 4, 3],
    ]
    .concat();
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, 2]);
    hello.extend(suite);
    hello.extend([1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = [0; 7];
    within("it responds", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[0], 21, "an alert: {answer:?}");
    answer[6]
}
