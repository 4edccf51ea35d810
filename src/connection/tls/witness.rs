//! The witness of one handshake: notes what the server shows, so that a failure can be explained.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client_certificate::ClientCertificate;
use crate::lock::lock;

/// How many of the first bytes are kept: a line of text.
const FIRST_BYTES: usize = 160;

/// Notes what the server shows in one handshake, and answers its request for a client certificate.
#[derive(Debug)]
pub(super) struct Witness {
    certificate: Option<ClientCertificate>,
    seen: Mutex<Seen>,
}

/// What the server has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first bytes that came, whatever they mean.
    pub(super) first_bytes: Vec<u8>,
    /// The server's own certificate.
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// The answer to the request for a client certificate; `None` if there was no request.
    pub(super) answer: Option<Answer>,
}

/// How a request for a client certificate was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With nothing, because none is configured.
    Nothing,
    /// With nothing, because the server accepts no signature of the key.
    UnfitKey,
    /// With the configured certificate.
    Certificate,
}

impl Witness {
    /// Creates a witness that answers with `certificate`.
    pub(super) fn new(certificate: Option<ClientCertificate>) -> Self {
        Self { certificate, seen: Mutex::default() }
    }

    /// Returns what was seen so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fitting = self.certificate.as_ref().filter(|it| it.0.key.choose_scheme(schemes).is_some());
        let answer = match (&self.certificate, fitting) {
            (None, _) => Answer::Nothing,
            (Some(_), None) => Answer::UnfitKey,
            (Some(_), Some(_)) => Answer::Certificate,
        };
        self.seen().answer = Some(answer);
        fitting.map(|it| Arc::clone(&it.0))
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

/// A stream whose first bytes are noted by a witness.
#[derive(Debug)]
pub(super) struct Witnessed<S> {
    stream: S,
    witness: Option<Arc<Witness>>,
}

impl<S> Witnessed<S> {
    pub(super) const fn new(stream: S, witness: Arc<Witness>) -> Self {
        Self { stream, witness: Some(witness) }
    }

    /// Ends the notes.
    pub(super) fn dismiss(&mut self) {
        self.witness = None;
    }

    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Witnessed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(witness) = &self.witness {
            let first_bytes = &mut witness.seen().first_bytes;
            let new = &buffer.filled()[start..];
            first_bytes.extend(new.iter().take(FIRST_BYTES - first_bytes.len()));
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Witnessed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
