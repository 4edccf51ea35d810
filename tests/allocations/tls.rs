//! The cache in memory, behind TLS. The server answers during the write, on the thread of the client.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cachepulse::connection::dial::DialFailure;
use cachepulse::connection::dialer::{Dial, Dialed, Peer};
use cachepulse::connection::tls::roots::Roots;
use cachepulse::connection::tls::{TlsClient, TlsStream};
use cachepulse::connection::trace::Trace;
use cachepulse::probe::PhaseTimes;
use cachepulse::target::Endpoint;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::lab::Cache;

/// Where the cache is reached over TLS.
#[derive(Clone)]
pub(crate) struct TlsCache {
    cache: Cache,
    client: TlsClient,
    /// For what stands on rustls alone.
    bare: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl TlsCache {
    pub(crate) fn new(cache: &Cache) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["cache".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let server = ServerConfig::builder().with_no_client_auth();
        Self {
            cache: cache.clone(),
            client: TlsClient::new(&Roots::none().with_pem(cert.pem().as_bytes()).unwrap(), None),
            bare: Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()),
            server: Arc::new(server.with_single_cert(vec![cert.der().clone()], key).unwrap()),
        }
    }

    /// Opens a stream without a runtime.
    pub(crate) fn bare(&self) -> StreamOwned<ClientConnection, Pipe> {
        let client = ClientConnection::new(Arc::clone(&self.bare), name()).unwrap();
        StreamOwned::new(client, self.pipe())
    }

    fn pipe(&self) -> Pipe {
        Pipe {
            cache: self.cache.clone(),
            server: ServerConnection::new(Arc::clone(&self.server)).unwrap(),
            value: String::new(),
            request: vec![0; 1024],
            reply: Vec::new(),
            outgoing: Vec::new(),
        }
    }
}

fn name() -> ServerName<'static> {
    "cache".try_into().unwrap()
}

impl Dial for TlsCache {
    type Stream = TlsStream<Pipe>;

    fn to(&self, _endpoint: Endpoint) -> Self {
        self.clone()
    }

    async fn dial(&mut self, mut deadline: Instant) -> Result<Dialed<Self::Stream>, DialFailure> {
        let (pipe, trace) = (self.pipe(), Trace::default());
        let (stream, _) = self.client.handshake("cache", pipe, None, &mut deadline, &trace).await.unwrap();
        Ok(Dialed { stream, phases: PhaseTimes::default(), peer: Peer::default(), deadline })
    }

    async fn leads_to(&self, _address: SocketAddr, _deadline: Instant) -> Option<bool> {
        None
    }
}

/// The client's end of a connection whose peer answers during the write.
pub(crate) struct Pipe {
    cache: Cache,
    server: ServerConnection,
    value: String,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// What the client has not read yet.
    outgoing: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let length = self.server.read_tls(&mut bytes)?;
        self.server.process_new_packets().map_err(io::Error::other)?;
        if let Ok(length @ 1..) = self.server.reader().read(&mut self.request) {
            let request = std::str::from_utf8(&self.request[..length]).map_err(io::Error::other)?;
            self.cache.reply(request, &mut self.value, &mut self.reply);
            self.server.writer().write_all(&self.reply)?;
            self.reply.clear();
        }
        while self.server.wants_write() {
            self.server.write_tls(&mut self.outgoing)?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.outgoing.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.outgoing.len().min(bytes.len());
        bytes[..length].copy_from_slice(&self.outgoing[..length]);
        self.outgoing.drain(..length);
        Ok(length)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut().read(buffer.initialize_unfilled()) {
            Ok(length) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            // A reply only follows a write, so no waker is needed.
            Err(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
