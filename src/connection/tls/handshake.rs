//! The TLS handshake and what it reveals about the peer. Why it failed is explained in `diagnosis.rs`.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::certificate::expiry;
use super::diagnosis::{diagnose, impossible_name};
use super::witness::Seen;
use super::{TlsClient, TlsStream};
use crate::connection::deadline::within;
use crate::connection::trace::Trace;
use crate::probe::Failure;

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
    /// which SNI sends as well. Moves `deadline` by the time for which the agent did not run. Notes in `trace` which
    /// certificate the peer showed, trusted or not. Remembers that the peer at the address `peer` speaks TLS.
    ///
    /// # Errors
    /// The reason `tls_certificate` if the server's certificate is at fault, `tls_client_certificate` if it is the one of
    /// this agent or if that is missing, `command_timeout` if `deadline` passed and the peer is known to speak TLS,
    /// `tls_handshake` for everything else.
    pub async fn handshake<S>(
        &self,
        server_name: &str,
        stream: S,
        peer: Option<SocketAddr>,
        deadline: &mut Instant,
        trace: &Trace,
    ) -> Result<(TlsStream<S>, TlsInfo), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| impossible_name(server_name))?;
        let mut seen = Seen::default();
        let connecting = TlsStream::connect(Arc::clone(&self.config), name, stream, &mut seen);
        let result = within(deadline, pin!(connecting)).await;
        let shaken = match result {
            Ok(Ok(stream)) => {
                let info = info(&stream);
                self.peers.spoke(peer);
                Ok((stream, info))
            }
            Ok(Err(error)) => {
                Err(diagnose(Some(&error), &seen, server_name, self.remedy, self.peers.knows(peer)))
            }
            Err(_) => Err(diagnose(None, &seen, server_name, self.remedy, self.peers.knows(peer))),
        };
        let certificate = seen.certificate.take();
        trace.note(|findings| findings.certificate = certificate);
        shaken
    }
}

fn info<S>(stream: &TlsStream<S>) -> TlsInfo {
    let connection = stream.connection();
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

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, SanType};
    use rustls::version::{TLS12, TLS13};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::connection::testing::{Authority, self_signed};
    use crate::connection::tls::roots::Roots;
    use crate::probe::FailureReason::{self, TlsCertificate, TlsHandshake};

    type Shaken = Result<(TlsStream<DuplexStream>, TlsInfo), Failure>;

    /// Long enough for a busy machine.
    fn patient() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Shakes hands over `stream` as `name`.
    async fn shake_over(stream: DuplexStream, roots: &Roots, name: &str) -> Shaken {
        TlsClient::new(roots, None).handshake(name, stream, None, &mut patient(), &Trace::default()).await
    }

    /// Shakes hands as `cache.test` with a server that uses `acceptor`.
    async fn shake(acceptor: &TlsAcceptor, roots: &Roots) -> Shaken {
        let (ours, theirs) = duplex(16 * 1024);
        // The server's view of a refused certificate is not what is tested here.
        tokio::join!(shake_over(ours, roots, "cache.test"), acceptor.accept(theirs)).0
    }

    fn reason_and_detail(shaken: Shaken) -> (FailureReason, String) {
        let failure = shaken.unwrap_err();
        (failure.reason, failure.detail.into())
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_told_with_both_names() {
        let authority = Authority::new();
        let shaken = shake(&authority.server("other.test"), &authority.roots()).await;
        let detail = "the certificate is not valid for cache.test; it is valid for other.test";
        assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
    }

    #[tokio::test]
    async fn an_expired_certificate_is_told_with_its_end() {
        let authority = Authority::new();
        let shaken = shake(&authority.server_until("cache.test", 2001), &authority.roots()).await;
        let detail = "the certificate expired at 2001-01-01T00:00:00.000Z";
        assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
    }

    #[tokio::test]
    async fn a_certificate_of_an_unknown_authority_is_told() {
        let acceptor = Authority::new().server("cache.test");
        let detail =
            "no trusted authority has issued the certificate; its issuer is CN=rcgen self signed cert";
        let shaken = shake(&acceptor, &Roots::none()).await;
        assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
        // An authority of the same name.
        let detail = "the certificate is not signed by the trusted authority of its issuer's name";
        let shaken = shake(&acceptor, &Authority::new().roots()).await;
        assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
    }

    /// What `openssl req -x509 -subj /CN=cache.test` makes.
    fn ca_certificate() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "cache.test");
        params
    }

    #[tokio::test]
    async fn a_ca_certificate_as_the_servers_own_is_accepted_only_if_it_is_pinned() {
        for versions in [&[&TLS12], &[&TLS13]] {
            let mut named = ca_certificate();
            named.subject_alt_names = vec![SanType::DnsName("cache.test".try_into().unwrap())];
            for params in [ca_certificate(), named] {
                let (acceptor, pem) = self_signed(&params, versions);
                let pinned = Roots::none().with_pem(pem.as_bytes()).unwrap();
                shake(&acceptor, &pinned).await.unwrap();
                let detail = "the server shows a CA certificate as its own; to trust exactly this certificate, add it \
                              to tls.ca_file";
                let shaken = shake(&acceptor, &Authority::new().roots()).await;
                assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
            }
        }
    }

    #[tokio::test]
    async fn a_pinned_certificate_is_checked_for_its_dates_and_names() {
        let mut expired = ca_certificate();
        expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let mut future = ca_certificate();
        future.not_before = rcgen::date_time_ymd(2100, 1, 1);
        let mut other = ca_certificate();
        other.distinguished_name.push(DnType::CommonName, "other.test");
        // The common name counts only where there are no alternative names.
        let mut also_other = CertificateParams::new(["other.test".to_owned()]).unwrap();
        also_other.distinguished_name.push(DnType::CommonName, "cache.test");
        let cases = [
            (expired, "the certificate expired at 2001-01-01T00:00:00.000Z"),
            (future, "the certificate is not valid before 2100-01-01T00:00:00.000Z"),
            (
                other,
                "the certificate is not valid for cache.test; it names no host, only the subject CN=other.test",
            ),
            (also_other, "the certificate is not valid for cache.test; it is valid for other.test"),
        ];
        for (params, detail) in cases {
            let (acceptor, pem) = self_signed(&params, rustls::ALL_VERSIONS);
            let pinned = Roots::none().with_pem(pem.as_bytes()).unwrap();
            let shaken = shake(&acceptor, &pinned).await;
            assert_eq!(reason_and_detail(shaken), (TlsCertificate, detail.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_peer_that_answers_in_plain_text_is_quoted_with_the_advice_to_turn_tls_off() {
        for text in ["-ERR unknown command\r\n", "+", "HTTP/1.1 400 Bad Request\r\nServer: x\r\n"] {
            let (roots, (ours, mut theirs)) = (Roots::none(), duplex(16 * 1024));
            let server = async move {
                theirs.read_u8().await.unwrap();
                theirs.write_all(text.as_bytes()).await.unwrap();
            };
            let (shaken, ()) = tokio::join!(shake_over(ours, &roots, "cache.test"), server);
            let failure = shaken.unwrap_err();
            let line = text.lines().next().unwrap();
            assert_eq!(*failure.detail, *format!("the peer answered in plain text: {line:?}"));
            assert!(
                failure.reason == TlsHandshake && failure.advice().contains("`tls: false`"),
                "{failure:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_or_speaks_another_protocol_is_a_failed_handshake() {
        let cases: [(&[u8], &str); 2] = [
            (b"", "the peer closed the connection during the handshake"),
            (b"\0\0\0\0\0\0", "the peer does not speak TLS (invalid content type)"),
        ];
        for (answer, detail) in cases {
            let (roots, (ours, mut theirs)) = (Roots::none(), duplex(16 * 1024));
            let server = async move {
                theirs.read_u8().await.unwrap();
                theirs.write_all(answer).await.unwrap();
            };
            let (shaken, ()) = tokio::join!(shake_over(ours, &roots, "cache.test"), server);
            assert_eq!(reason_and_detail(shaken), (TlsHandshake, detail.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_no_byte_until_the_deadline_may_speak_plain_text() {
        let (ours, theirs) = duplex(16 * 1024);
        let failure = shake_over(ours, &Roots::none(), "cache.test").await.unwrap_err();
        let detail = "the peer accepted the connection and sent no byte in answer to the TLS greeting, as a Redis that \
                      speaks plain text does";
        assert_eq!((failure.reason, &*failure.detail), (TlsHandshake, detail));
        assert!(failure.advice().contains("`tls: false`"), "{failure:?}");
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_stalls_ends_at_the_deadline() {
        let (ours, mut theirs) = duplex(16 * 1024);
        // The header of a record that never comes.
        theirs.write_all(&[22, 3, 3, 0, 80]).await.unwrap();
        let shaken = shake_over(ours, &Roots::none(), "cache.test").await;
        let detail = "the peer did not finish the handshake in time";
        assert_eq!(reason_and_detail(shaken), (TlsHandshake, detail.to_owned()));
    }

    #[tokio::test]
    async fn a_peer_that_has_spoken_tls_is_never_taken_for_one_that_speaks_plain_text() {
        let authority = Authority::new();
        let client = TlsClient::new(&authority.roots(), None);
        let peer = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        let (ours, theirs) = duplex(16 * 1024);
        let (mut deadline, trace) = (patient(), Trace::default());
        let shaking = client.handshake("cache.test", ours, peer(1), &mut deadline, &trace);
        tokio::join!(shaking, authority.server("cache.test").accept(theirs)).0.unwrap();
        // Also after its files have changed.
        let client = TlsClient::new(&Roots::none(), None).after(&client);
        let silence = async |port| {
            let (ours, _theirs) = duplex(16 * 1024);
            let mut deadline = Instant::now();
            client.handshake("cache.test", ours, peer(port), &mut deadline, &trace).await.unwrap_err()
        };
        let text = async |port| {
            let (ours, mut theirs) = duplex(16 * 1024);
            theirs.write_all(b"-ERR\r\n").await.unwrap();
            client.handshake("cache.test", ours, peer(port), &mut patient(), &trace).await.unwrap_err()
        };
        let (silent, plain) = (silence(1).await, text(1).await);
        assert_eq!((silent.reason, plain.reason), (FailureReason::CommandTimeout, TlsHandshake));
        for failure in [&silent, &plain] {
            assert!(!failure.advice().contains("tls: false"), "{failure:?}");
        }
        assert!(!silent.detail.contains("plain"), "{silent:?}");
        for failure in [silence(2).await, text(2).await] {
            assert!(failure.reason == TlsHandshake && failure.advice().contains("tls: false"), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_no_certificate_can_have_is_told_without_a_handshake() {
        let (ours, _theirs) = duplex(16 * 1024);
        let (reason, detail) = reason_and_detail(shake_over(ours, &Roots::none(), "not a name").await);
        assert_eq!(reason, TlsCertificate);
        assert!(detail.contains("\"not a name\""), "{detail}");
    }
}
