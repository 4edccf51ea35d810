use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connection::testing::{Authority, self_signed};
use crate::connection::tls::roots::Roots;

const LONG: Duration = Duration::from_secs(10);

/// Starts a server that sends `response` to one client. The handle returns the request once the client has closed.
async fn server(response: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let (listener, addr) = listen().await;
    let request = tokio::spawn(async move { exchange(listener.accept().await.unwrap().0, response).await });
    (addr, request)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) -> String {
    // The client may close before it has read everything.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.flush().await;
    let mut request = Vec::new();
    let _ = stream.read_to_end(&mut request).await;
    String::from_utf8(request).unwrap()
}

/// Asks a server that speaks TLS by `acceptor`, and whose certificate must be valid for `name`. Returns the request.
async fn over_tls(
    acceptor: TlsAcceptor,
    roots: &Roots,
    name: Option<&str>,
) -> Result<String, HealthcheckError> {
    let (listener, addr) = listen().await;
    let request = tokio::spawn(async move {
        match acceptor.accept(listener.accept().await.unwrap().0).await {
            Ok(stream) => exchange(stream, "HTTP/1.1 200 OK\r\n\r\n").await,
            // The server's view of a refused certificate is not what is tested here.
            Err(_) => String::new(),
        }
    });
    let tls = Some((TlsClient::new(roots, None), name.map(str::to_owned)));
    Healthcheck { tls, ..Healthcheck::plain(addr) }.run(LONG).await?;
    Ok(request.await.unwrap())
}

#[tokio::test]
async fn an_agent_that_returns_200_is_alive_and_wildcards_mean_loopback() {
    let (addr, request) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    Healthcheck::plain((Ipv4Addr::UNSPECIFIED, addr.port()).into()).run(LONG).await.unwrap();
    let request = request.await.unwrap();
    assert_eq!(request, format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"));
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let both = (address("[::1]:9860"), Some(address("127.0.0.1:9860")));
    assert_eq!(reachable(address("[::]:9860")), both);
    assert_eq!(reachable(address("10.0.0.1:9860")), (address("10.0.0.1:9860"), None));
    // An agent that listens on IPv4 only.
    let (addr, request) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    Healthcheck::plain((Ipv6Addr::UNSPECIFIED, addr.port()).into()).run(LONG).await.unwrap();
    request.await.unwrap();
}

#[tokio::test]
async fn any_other_response_is_an_error_that_shows_it() {
    for (response, shown) in [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "returned: HTTP/1.1 503 Service Unavailable"),
        ("SSH-2.0-200 200 \u{1b}[31m\n", "returned: SSH-2.0-200 200 \\u{1b}[31m"),
        (
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "Bad Request; if the endpoint has TLS, set --tls, or ask the health endpoint with --health-listen",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
            "Unauthorized; set --username and --password-file, or ask the health endpoint with --health-listen",
        ),
        ("", "closed the connection without a response"),
    ] {
        let (listener, addr) = listen().await;
        let closing = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // The client may close before it has read everything.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = Healthcheck::plain(addr).run(LONG).await.unwrap_err();
        assert!(error.to_string().ends_with(shown), "{error}");
        closing.await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_response_is_not_read_to_its_end() {
    let (addr, _request) = server("x".repeat(1 << 20).leak()).await;
    let error = Healthcheck::plain(addr).run(LONG).await.unwrap_err();
    assert!(error.to_string().len() < 3000, "{}", error.to_string().len());
}

#[tokio::test]
async fn a_server_that_does_not_respond_is_a_timeout() {
    let (addr, _request) = server("").await;
    let error = Healthcheck::plain(addr).run(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::NoResponse(error) if error.kind() == io::ErrorKind::TimedOut));
}

#[tokio::test]
async fn a_refused_connection_is_an_error_with_advice() {
    let (listener, addr) = listen().await;
    drop(listener);
    let error = Healthcheck::plain(addr).run(LONG).await.unwrap_err();
    let expected =
        format!("no response from http://{addr}/livez; check that the agent runs and listens there");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_user_signs_in_with_a_password() {
    let (addr, request) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let user = Some(("Aladdin".to_owned(), Secret::new("open sesame".to_owned())));
    Healthcheck { user, ..Healthcheck::plain(addr) }.run(LONG).await.unwrap();
    let request = request.await.unwrap();
    // The example of RFC 7617, section 2.
    assert!(request.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn tls_reaches_an_agent_whose_certificate_is_trusted_and_has_the_name() {
    let authority = Authority::new();
    let request = over_tls(authority.server("agent.test"), &authority.roots(), Some("agent.test")).await;
    assert!(request.unwrap().starts_with("GET /livez HTTP/1.1\r\n"));
    let request = over_tls(authority.server("127.0.0.1"), &authority.roots(), None).await;
    assert!(request.unwrap().starts_with("GET /livez HTTP/1.1\r\n"), "the name is the address");
}

#[tokio::test]
async fn tls_checks_the_certificate_on_loopback_too() {
    let authority = Authority::new();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    for (server, name, words) in [
        (authority.server("127.0.0.1"), Some("agent.test"), "the certificate is not valid for agent.test"),
        (authority.server("agent.test"), None, "the certificate is not valid for 127.0.0.1"),
        (authority.server_until("127.0.0.1", 2001), None, "the certificate expired"),
        (self_signed(&params, rustls::ALL_VERSIONS).0, None, "is not signed by the trusted authority"),
    ] {
        let error = over_tls(server, &authority.roots(), name).await.unwrap_err().to_string();
        assert!(
            error.starts_with("no TLS connection to https://127.0.0.1:") && error.contains(words),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_demanded_is_an_error_that_says_so() {
    for versions in [&[&TLS12], &[&TLS13]] {
        let (server, pem) = demanding(versions);
        let (listener, addr) = listen().await;
        let refusing =
            tokio::spawn(async move { server.accept(listener.accept().await.unwrap().0).await.is_err() });
        let roots = Roots::none().with_pem(pem.as_bytes()).unwrap();
        let tls = Some((TlsClient::new(&roots, None), Some("agent.test".to_owned())));
        let error = Healthcheck { tls, ..Healthcheck::plain(addr) }.run(LONG).await.unwrap_err().to_string();
        assert!(
            error.starts_with("no TLS connection to https://127.0.0.1:")
                && error.contains(": the server requires a client certificate, and none is configured (alert ")
                && error.ends_with(
                    "; set --cert-file and --key-file to a certificate that the endpoint accepts, or ask the health endpoint \
                     with --health-listen"
                ),
            "{error}"
        );
        assert!(refusing.await.unwrap());
    }
}

/// Returns a server called `agent.test` that demands the certificate of an authority nobody has, and its own certificate.
fn demanding(versions: &[&'static SupportedProtocolVersion]) -> (TlsAcceptor, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["agent.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(authorities.into(), Arc::clone(&provider));
    let key_der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key_der.into())
        .unwrap();
    (Arc::new(config).into(), certificate.pem())
}

#[tokio::test]
async fn a_password_that_is_refused_is_an_error_that_does_not_ask_for_one() {
    let (addr, _request) = server("HTTP/1.1 401 Unauthorized\r\n\r\n").await;
    let user = Some(("alice".to_owned(), Secret::new("hunter2".to_owned())));
    let error = Healthcheck { user, ..Healthcheck::plain(addr) }.run(LONG).await.unwrap_err().to_string();
    let expected = "Unauthorized; check the user and the password in --password-file, or ask the health endpoint with \
                    --health-listen";
    assert!(error.ends_with(expected), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_an_error_that_says_so() {
    let (addr, _request) = server("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let tls = Some((TlsClient::new(&Roots::none(), None), None));
    let error = Healthcheck { tls, ..Healthcheck::plain(addr) }.run(LONG).await.unwrap_err();
    assert!(error.to_string().contains("no TLS"), "{error}");
}
