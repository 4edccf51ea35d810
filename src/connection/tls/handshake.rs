//! The TLS handshake: what it reveals about the peer, and why it failed. Which certificates are trusted is decided in
//! [`super`].

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsClient;
use crate::connection::certificate::expiry;
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Phase, Stage};

/// What a handshake revealed about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// When the server's own certificate ends. Those above it in the chain are left out: servers may send ones that
    /// are expired and not needed, and an authority's certificate rarely ends before those it signed.
    pub certificate_expiry: Option<SystemTime>,
}

impl TlsClient {
    /// Shakes hands over `stream` and checks that the peer's certificate is trusted and valid for `server_name`,
    /// which SNI sends as well.
    ///
    /// # Errors
    /// [`FailureReason::TlsCertificate`] when the certificate is at fault, [`FailureReason::TlsHandshake`] for
    /// everything else, `deadline` included.
    pub async fn handshake<S>(
        &self,
        server_name: &str,
        stream: S,
        deadline: Instant,
    ) -> Result<(TlsStream<S>, TlsInfo), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            let detail = format!("no certificate can be valid for the name {server_name:?}");
            failure(FailureReason::TlsCertificate, &detail)
        })?;
        let connecting = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream);
        match tokio::time::timeout_at(deadline, connecting).await {
            Ok(Ok(stream)) => {
                let info = info(&stream);
                Ok((stream, info))
            }
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => {
                Err(failure(FailureReason::TlsHandshake, "the peer did not finish the handshake in time"))
            }
        }
    }
}

/// Whether a server closed the connection because it got no client certificate. Under TLS 1.3 it says so after the
/// handshake, to the first read (RFC 8446, 4.4.2.4). Under TLS 1.2 the same alert has no description of its own.
pub(in crate::connection) fn asks_for_certificate(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

fn failure(reason: FailureReason, detail: &str) -> Failure {
    Failure::new(reason, Stage::Phase(Phase::Tls), excerpt(detail, 300))
}

fn classify(error: &io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls @ rustls::Error::InvalidCertificate(_)) => {
            failure(FailureReason::TlsCertificate, &tls.to_string())
        }
        Some(tls @ rustls::Error::InvalidMessage(_)) => {
            failure(FailureReason::TlsHandshake, &format!("the peer does not speak TLS: {tls}"))
        }
        Some(tls) => failure(FailureReason::TlsHandshake, &tls.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            failure(FailureReason::TlsHandshake, "the peer closed the connection during the handshake")
        }
        None => failure(FailureReason::TlsHandshake, &error.to_string()),
    }
}

fn info<S>(stream: &TlsStream<S>) -> TlsInfo {
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    let own_certificate = connection.peer_certificates().and_then(<[_]>::first);
    TlsInfo { version, certificate_expiry: own_certificate.and_then(expiry) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::connection::testing::Authority;
    use crate::connection::tls::Roots;

    type Shaken = Result<(TlsStream<DuplexStream>, TlsInfo), Failure>;

    /// Long enough for a busy machine.
    fn patient() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Shakes hands with a server that uses `acceptor`, as `cache.test`.
    async fn shake(acceptor: TlsAcceptor, roots: &Roots) -> Shaken {
        let (ours, theirs) = duplex(16 * 1024);
        let client = TlsClient::new(roots);
        // The server's view of a refused certificate is not what is tested here.
        tokio::join!(client.handshake("cache.test", ours, patient()), acceptor.accept(theirs)).0
    }

    fn reason_and_detail(shaken: Shaken) -> (FailureReason, String) {
        let failure = shaken.unwrap_err();
        (failure.reason, failure.detail.into())
    }

    #[test]
    fn a_server_that_asks_for_a_client_certificate_is_recognised() {
        let alert = |description| {
            io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(description))
        };
        assert!(asks_for_certificate(&alert(AlertDescription::CertificateRequired)));
        assert!(!asks_for_certificate(&alert(AlertDescription::UnknownCA)));
        assert!(!asks_for_certificate(&io::Error::from(io::ErrorKind::InvalidData)));
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_told_with_both_names() {
        let authority = Authority::new();
        let (reason, detail) =
            reason_and_detail(shake(authority.server("other.test"), &authority.roots()).await);
        assert_eq!(reason, FailureReason::TlsCertificate);
        assert!(detail.contains("cache.test") && detail.contains("other.test"), "{detail}");
    }

    #[tokio::test]
    async fn an_expired_certificate_is_told() {
        let authority = Authority::new();
        let server = authority.server_until("cache.test", 2001);
        let (reason, detail) = reason_and_detail(shake(server, &authority.roots()).await);
        assert_eq!(reason, FailureReason::TlsCertificate);
        assert!(detail.contains("expired"), "{detail}");
    }

    #[tokio::test]
    async fn a_certificate_of_an_unknown_authority_is_told() {
        let server = Authority::new().server("cache.test");
        let (reason, detail) = reason_and_detail(shake(server, &Authority::new().roots()).await);
        assert_eq!(reason, FailureReason::TlsCertificate);
        assert!(detail.contains("UnknownIssuer") || detail.contains("BadSignature"), "{detail}");
    }

    #[tokio::test]
    async fn a_peer_that_speaks_no_tls_or_hangs_up_is_a_failed_handshake() {
        let client = TlsClient::new(&Authority::new().roots());
        let cases: [(&[u8], &str); 2] = [
            (b"-ERR unknown command\r\n", "the peer does not speak TLS"),
            (b"", "the peer closed the connection during the handshake"),
        ];
        for (answer, detail) in cases {
            let (ours, mut theirs) = duplex(16 * 1024);
            let server = async move {
                theirs.read_u8().await.unwrap();
                theirs.write_all(answer).await.unwrap();
            };
            let (shaken, ()) = tokio::join!(client.handshake("cache.test", ours, patient()), server);
            let (reason, text) = reason_and_detail(shaken);
            assert_eq!(reason, FailureReason::TlsHandshake);
            assert!(text.starts_with(detail), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_stalls_ends_at_the_deadline() {
        let client = TlsClient::new(&Authority::new().roots());
        let (ours, _theirs) = duplex(16 * 1024);
        let (reason, detail) = reason_and_detail(client.handshake("cache.test", ours, patient()).await);
        assert_eq!(reason, FailureReason::TlsHandshake);
        assert_eq!(detail, "the peer did not finish the handshake in time");
    }

    #[tokio::test]
    async fn a_name_that_no_certificate_can_have_is_told_without_a_handshake() {
        let client = TlsClient::new(&Authority::new().roots());
        let (ours, _theirs) = duplex(16 * 1024);
        let (reason, detail) = reason_and_detail(client.handshake("not a name", ours, patient()).await);
        assert_eq!(reason, FailureReason::TlsCertificate);
        assert!(detail.contains("\"not a name\""), "{detail}");
    }
}
