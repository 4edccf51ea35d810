//! An encrypted stream. Its one addition to the one of rustls: a server's refusal of the client certificate, which comes
//! after the handshake in TLS 1.3, is an error of its own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{AlertDescription, ClientConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client;

use super::diagnosis::name_of_alert;
use super::witness::{Answer, Witnessed};

/// An encrypted stream over `S`.
#[derive(Debug)]
pub struct TlsStream<S> {
    inner: client::TlsStream<Witnessed<S>>,
    /// How the server's request for a client certificate was answered, until the server has accepted the answer.
    answer: Option<Answer>,
}

impl<S> TlsStream<S> {
    pub(super) fn new(mut inner: client::TlsStream<Witnessed<S>>, answer: Option<Answer>) -> Self {
        inner.get_mut().0.dismiss();
        Self { inner, answer }
    }

    /// Returns the stream below.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0.get_ref()
    }

    pub(super) fn connection(&self) -> &ClientConnection {
        self.inner.get_ref().1
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        let Some(answer) = self.answer else { return poll };
        if buffer.filled().len() > start {
            self.answer = None;
        }
        poll.map_err(|error| match ClientCertificateRefused::from_alert(&error, answer) {
            Some(refused) => io::Error::new(io::ErrorKind::InvalidData, refused),
            None => error,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// The server asked for a client certificate and did not accept the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificateRefused {
    answer: Answer,
    alert: AlertDescription,
}

impl ClientCertificateRefused {
    /// Whether `error` is one.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }

    /// Returns the refusal that `error` means once the server's request was answered with `answer`; `None` if it means
    /// something else.
    pub(super) fn from_alert(error: &io::Error, answer: Answer) -> Option<Self> {
        use AlertDescription as Alert;
        match error.get_ref()?.downcast_ref()? {
            &rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
                // TLS 1.2 has no alert for a certificate that is missing. Servers ask for one after the negotiation
                // of everything else.
                | Alert::HandshakeFailure),
            ) => Some(Self { answer, alert }),
            _ => None,
        }
    }
}

impl fmt::Display for ClientCertificateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.answer {
            Answer::Nothing => f.write_str("the server requires a client certificate, and none is configured")?,
            Answer::UnfitKey => f.write_str(
                "the server requires a client certificate, and accepts no signature of the configured key's type",
            )?,
            Answer::Certificate => f.write_str("the server refused the client certificate")?,
        }
        write!(f, " (alert {})", name_of_alert(self.alert))
    }
}

impl std::error::Error for ClientCertificateRefused {}
