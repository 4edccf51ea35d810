//! For tests of identity requests: a server with one fixed response, a proxy, and a key of an application.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::{Request, Response};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::transport::{Carry, Route, TransportError};

/// A certificate and its RSA key. Keys of this kind cannot be made here.
pub(super) const CERTIFICATE: &str = include_str!("../../examples/secrets/client-certificate.pem");

/// Returns the RSA key of [`CERTIFICATE`].
pub(super) fn rsa_key() -> KeyPair {
    let start = CERTIFICATE.find("-----BEGIN PRIVATE KEY").unwrap();
    KeyPair::from_pem_and_sign_algo(&CERTIFICATE[start..], &PKCS_RSA_SHA256).unwrap()
}

/// Returns a transport for tests that send nothing.
pub(super) fn no_transport() -> Arc<dyn Carry> {
    Arc::new(NoTransport)
}

#[derive(Debug)]
struct NoTransport;

#[async_trait::async_trait]
impl Carry for NoTransport {
    async fn send(&self, request: Request<Bytes>, _: &Route) -> Result<Response<Bytes>, TransportError> {
        panic!("{request:?}")
    }
}

/// Returns a response as it is sent.
pub(super) fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    (text + "\r\n" + body).into_bytes()
}

pub(super) fn json(status: u16, body: &str) -> Vec<u8> {
    response(status, &[("content-type", "application/json; charset=utf-8")], body)
}

/// A server on a free port of 127.0.0.1 that serves one connection at a time. It stops when it is dropped.
pub(super) struct Server {
    port: u16,
    requests: Requests,
    task: JoinHandle<()>,
}

type Requests = Arc<Mutex<Vec<String>>>;

enum Manner {
    /// Sends the same response to each request and closes.
    Reply(Option<TlsAcceptor>, Vec<u8>),
    /// Opens the tunnel that CONNECT requests.
    Tunnel,
}

impl Server {
    /// Starts a server that sends `reply` to each request and closes.
    pub(super) async fn start(tls: Option<TlsAcceptor>, reply: Vec<u8>) -> Self {
        Self::serve(Manner::Reply(tls, reply)).await
    }

    /// Starts an HTTP proxy that supports only CONNECT.
    pub(super) async fn proxy() -> Self {
        Self::serve(Manner::Tunnel).await
    }

    async fn serve(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Requests::default();
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Some tests have clients that reject the certificate or disconnect early.
                let _ = manner.serve(stream, &seen).await;
            }
        });
        Self { port, requests, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the requests so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Manner {
    async fn serve(&self, mut stream: TcpStream, requests: &Requests) -> io::Result<()> {
        match self {
            Self::Reply(None, reply) => answer(stream, requests, reply).await,
            Self::Reply(Some(tls), reply) => answer(tls.accept(stream).await?, requests, reply).await,
            Self::Tunnel => {
                let request = receive(&mut stream).await?;
                let destination = request.split(' ').nth(1).unwrap().to_owned();
                requests.lock().unwrap().push(request);
                let mut server = TcpStream::connect(destination).await?;
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
                Ok(())
            }
        }
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &Requests,
    reply: &[u8],
) -> io::Result<()> {
    let request = receive(&mut stream).await?;
    requests.lock().unwrap().push(request);
    stream.write_all(reply).await?;
    stream.shutdown().await
}

/// Reads one request, head and body.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut request = String::new();
    loop {
        // One byte at a time, so that bytes after a CONNECT stay in the stream.
        request.push(stream.read_u8().await?.into());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() == length.parse::<usize>().unwrap() {
            return Ok(request);
        }
    }
}
