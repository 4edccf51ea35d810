//! The local Azure over real sockets, with raw clients.

use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// Both ends of a connection in memory.
pub(super) fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(64 * 1024)
}

/// Connects a TLS client that trusts only `pem` and expects `name`.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    pem: &str,
    name: &'static str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

/// Keeps every event.
pub(super) fn recorder() -> (EventSink, Arc<Mutex<Vec<Event>>>) {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&recorded);
    (Arc::new(move |event| sink.lock().unwrap().push(event)), recorded)
}

/// Returns a cache without sockets, for tests on paused time.
pub(super) fn cache_without_sockets(events: EventSink) -> CacheHandle {
    let options = CacheOptions {
        port: 0,
        service: Service::Cache,
        certificate: None,
        policies: Vec::new(),
        access_keys: Vec::new(),
        events,
    };
    CacheHandle::new(
        Backend::Memory.into(),
        options,
        Arc::new(Authority::new(TENANT_ID, Clock::system()).unwrap()),
    )
}

mod cache;
mod cluster;
mod identity;
