//! HTTP for identity requests, over hyper.
//!
//! Requests are rare, so each opens its own connection, which closes when the request's future is dropped. Redirects are
//! not followed and nothing is retried. The caller limits the time of the whole request.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, InvalidHeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join, split};
use tokio::time::Instant;

use super::proxies;
use crate::connection::deadline::within;
use crate::connection::dial::{Stream, dial};
use crate::connection::resolver::Resolver;
use crate::connection::tls::roots::Roots;
use crate::connection::tls::{Remedy, TlsClient};
use crate::connection::trace::Trace;
use crate::descriptors::Purpose;
use crate::target::Endpoint;

/// The timeout for opening a connection, including the tunnel through a proxy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest response body, in bytes. A token is a few thousand bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The most bytes that are read from a connection: interim responses (1xx), heads, the framing of chunks, and, in a tunnel,
/// TLS as well.
const WIRE_LIMIT: u64 = 256 * 1024;

/// Sends requests to identity endpoints. Tests replace it.
#[async_trait::async_trait]
pub trait Carry: fmt::Debug + Send + Sync {
    /// Sends `request`, whose URI names scheme and host, along `route`. Reads the whole response, whatever its status.
    ///
    /// # Errors
    /// [`TransportError`] if there is no response.
    async fn send(&self, request: Request<Bytes>, route: &Route) -> Result<Response<Bytes>, TransportError>;
}

/// The way to a host, and whom it must prove to be.
#[derive(Clone, Debug)]
pub enum Route {
    /// HTTPS obeys the proxies of the environment and trusts the platform's roots. Plain HTTP goes straight to the host:
    /// it is for hosts on this machine.
    Usual,
    /// Straight to the host.
    Direct {
        /// TLS with other roots than the platform's.
        tls: Option<TlsClient>,
        /// The name for SNI and the certificate check. `None` is the host.
        server_name: Option<String>,
    },
}

/// Sends requests over the network.
#[derive(Debug)]
pub struct Transport {
    tls: TlsClient,
    proxies: Matcher,
    resolver: Resolver,
}

impl Transport {
    /// Creates a transport that trusts `roots` and obeys `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower
    /// case. Warns about those that it cannot obey.
    #[must_use]
    pub fn new(roots: &Roots, resolver: Resolver) -> Self {
        Self::with_proxies(roots, proxies::of_environment(), resolver)
    }

    /// Creates a transport that trusts `roots` and obeys `proxies`.
    #[must_use]
    pub fn with_proxies(roots: &Roots, proxies: Matcher, resolver: Resolver) -> Self {
        let tls = TlsClient::new(roots, None).with_remedy(Remedy::OF_PLATFORM);
        Self { tls, proxies, resolver }
    }

    async fn dial(
        &self,
        endpoint: &Endpoint,
        tls: Option<(&TlsClient, &str)>,
        deadline: Instant,
    ) -> Result<Stream, TransportError> {
        let dialed = dial(endpoint, tls, deadline, &self.resolver, Purpose::Agent, &Trace::default())
            .await
            .map_err(|error| {
            let reason = format!("cannot reach {endpoint}: {}", error.failure);
            let is_local = error.failure.reason.is_local();
            if is_local { TransportError::LocalLimit(reason) } else { unreachable(reason) }
        })?;
        Ok(dialed.stream)
    }

    /// Opens a tunnel to `endpoint` through `proxy` (RFC 9110, section 9.3.6).
    async fn tunnel(
        &self,
        proxy: &Intercept,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<TokioIo<Upgraded>, TransportError> {
        let uri = proxy.uri();
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(unreachable(format!("the proxy {uri} is not supported; only http:// proxies are")));
        }
        if uri.authority().is_some_and(|authority| !has_valid_port(authority)) {
            return Err(unreachable(format!("the port of the proxy {uri} is not a number from 1 to 65535")));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let proxy_endpoint = Endpoint { host: host.into(), port: uri.port_u16().unwrap_or(80) };
        let stream = self.dial(&proxy_endpoint, None, deadline).await?;

        let mut request = Request::connect(endpoint.to_string()).header(HOST, endpoint.to_string());
        if let Some(authorization) = proxy.basic_auth() {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new())?;

        let (mut sender, connection) = http1::handshake(TokioIo::new(limited(stream))).await?;
        let opened = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            if !status.is_success() {
                let status = status.as_u16();
                return Err(unreachable(format!("the proxy {uri} refused {endpoint} with HTTP {status}")));
            }
            Ok(TokioIo::new(hyper::upgrade::on(response).await?))
        };
        drive(connection.with_upgrades(), opened).await
    }
}

#[async_trait::async_trait]
impl Carry for Transport {
    async fn send(&self, request: Request<Bytes>, route: &Route) -> Result<Response<Bytes>, TransportError> {
        let uri = request.uri();
        let endpoint = endpoint(uri)?;
        let mut deadline = Instant::now() + CONNECT_TIMEOUT;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            // Only the endpoints of managed identities use plain HTTP: IMDS at 169.254.169.254, App Service at
            // localhost. They identify the machine that sends the request, so a proxy would get its own identity or
            // not reach them. IMDS rejects forwarded requests.
            return exchange(self.dial(&endpoint, None, deadline).await?, request).await;
        }
        if let Route::Direct { tls, server_name } = route {
            let name = server_name.as_deref().unwrap_or(&endpoint.host);
            let tls = Some((tls.as_ref().unwrap_or(&self.tls), name));
            return exchange(self.dial(&endpoint, tls, deadline).await?, request).await;
        }
        let Some(proxy) = self.proxies.intercept(uri) else {
            let tls = Some((&self.tls, &*endpoint.host));
            return exchange(self.dial(&endpoint, tls, deadline).await?, request).await;
        };
        let opening = self.tunnel(&proxy, &endpoint, deadline);
        let tunnel = within(&mut deadline, pin!(opening))
            .await
            .map_err(|_| unreachable(format!("the proxy {} did not answer in time", proxy.uri())))??;
        let shaken = self.tls.handshake(&endpoint.host, tunnel, None, &mut deadline, &Trace::default()).await;
        let (stream, _) = shaken.map_err(|failure| {
            unreachable(format!("cannot reach {endpoint} through the proxy {}: {failure}", proxy.uri()))
        })?;
        exchange(stream, request).await
    }
}

/// Sends `request` over `stream` and reads the whole response.
async fn exchange<S>(stream: S, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    request.headers_mut().insert(HOST, host.ok_or(TransportError::Unsendable)??);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);

    let (mut sender, connection) = http1::handshake(TokioIo::new(limited(stream))).await?;
    let answered = async {
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
            error.downcast().map_or(TransportError::TooLong, |error| TransportError::Interrupted(*error))
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    drive(connection, answered).await
}

/// Ends what is read from `stream` after [`WIRE_LIMIT`] bytes: hyper itself accepts any number of interim responses.
fn limited<S: AsyncRead + AsyncWrite>(stream: S) -> impl AsyncRead + AsyncWrite + Unpin {
    let (reader, writer) = split(stream);
    join(reader.take(WIRE_LIMIT), writer)
}

/// Polls `connection` in the same task until `work` on it ends, so that neither outlives the request.
async fn drive<T, E>(connection: impl Future<Output = Result<(), E>>, work: impl Future<Output = T>) -> T {
    let connection = async {
        // `work` gets its errors, and may still have data to read.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = connection => match never {},
    }
}

/// Whether the port of `authority` is a number from 1 to 65535, or left out. [`Authority::port`] has none for a larger one,
/// too.
pub(super) fn has_valid_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let address = text.rsplit_once('@').map_or(text, |(_, address)| address);
    match authority.port_u16() {
        Some(port) => port > 0,
        None => address.trim_end_matches(':') == authority.host(),
    }
}

fn endpoint(uri: &Uri) -> Result<Endpoint, TransportError> {
    if uri.authority().is_some_and(|authority| !has_valid_port(authority)) {
        return Err(TransportError::Unsendable);
    }
    let host = uri.host().ok_or(TransportError::Unsendable)?.trim_matches(['[', ']']).into();
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    Ok(Endpoint { host, port: uri.port_u16().unwrap_or(default) })
}

/// Why there is no response.
#[derive(Debug)]
pub enum TransportError {
    /// The request's URI or a header is invalid.
    Unsendable,
    /// The endpoint cannot be reached, for this reason.
    Unreachable(String),
    /// The agent's own limits allow no connection, for this reason.
    LocalLimit(String),
    /// The connection was interrupted.
    Interrupted(hyper::Error),
    /// The response's body exceeds the limit.
    TooLong,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable => f.write_str("the request's URI or a header is invalid"),
            Self::Unreachable(reason) | Self::LocalLimit(reason) => f.write_str(reason),
            Self::Interrupted(_) => f.write_str("the connection was interrupted"),
            Self::TooLong => write!(f, "the response is longer than {BODY_LIMIT} bytes"),
        }
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Interrupted(error) => Some(error),
            Self::Unsendable | Self::Unreachable(_) | Self::LocalLimit(_) | Self::TooLong => None,
        }
    }
}

impl From<hyper::Error> for TransportError {
    fn from(error: hyper::Error) -> Self {
        Self::Interrupted(error)
    }
}

impl From<hyper::http::Error> for TransportError {
    fn from(_: hyper::http::Error) -> Self {
        Self::Unsendable
    }
}

impl From<InvalidHeaderValue> for TransportError {
    fn from(_: InvalidHeaderValue) -> Self {
        Self::Unsendable
    }
}

fn unreachable(reason: String) -> TransportError {
    TransportError::Unreachable(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::{Authority, resolver};
    use crate::identity::testing::{Server, response};

    const OK: &str = "hello";

    fn get(url: &str) -> Request<Bytes> {
        Request::get(url).body(Bytes::new()).unwrap()
    }

    fn ok() -> Vec<u8> {
        response(200, &[], OK)
    }

    /// Creates a transport whose proxy does not work.
    fn plain() -> Transport {
        let proxies = Matcher::builder().all("http://127.0.0.1:1").build();
        Transport::with_proxies(&Roots::none(), proxies, resolver())
    }

    #[tokio::test]
    async fn plain_http_never_goes_through_a_proxy() {
        let server = Server::start(None, ok()).await;
        let url = format!("http://127.0.0.1:{}/msi/token?resource=r", server.port());
        let answer = plain().send(get(&url), &Route::Usual).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, OK.as_bytes()));
        let request = server.requests().remove(0);
        assert!(request.starts_with("GET /msi/token?resource=r HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port())), "{request}");
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_with_its_password() {
        let authority = Authority::new();
        let server = Server::start(Some(authority.server("localhost")), ok()).await;
        let proxy = Server::proxy().await;
        let proxies =
            Matcher::builder().https(format!("http://user:pass@127.0.0.1:{}", proxy.port())).build();
        let transport = Transport::with_proxies(&authority.roots(), proxies, resolver());
        let url = format!("https://localhost:{}/t/token", server.port());
        let answer = transport.send(get(&url), &Route::Usual).await.unwrap();
        assert_eq!(&answer.body()[..], OK.as_bytes());
        let connect = proxy.requests().remove(0);
        assert!(
            connect.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port())),
            "{connect}"
        );
        assert!(connect.contains("proxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{connect}");
        let request = server.requests().remove(0);
        assert!(request.starts_with("GET /t/token HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("proxy-authorization"), "{request}");
    }

    #[tokio::test]
    async fn a_host_in_no_proxy_is_reached_directly() {
        let authority = Authority::new();
        let server = Server::start(Some(authority.server("localhost")), ok()).await;
        let proxies = Matcher::builder().https("http://127.0.0.1:1").no("localhost").build();
        let transport = Transport::with_proxies(&authority.roots(), proxies, resolver());
        transport.send(get(&format!("https://localhost:{}/", server.port())), &Route::Usual).await.unwrap();
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn the_error_names_a_proxy_that_refuses_without_its_password() {
        let proxy = Server::start(None, response(407, &[], "")).await;
        let address = format!("127.0.0.1:{}", proxy.port());
        let error = |scheme: &str, address: &str| {
            let proxies = Matcher::builder().https(format!("{scheme}://user:hunter2@{address}")).build();
            let transport = Transport::with_proxies(&Roots::none(), proxies, resolver());
            async move { transport.send(get("https://login.test/"), &Route::Usual).await.unwrap_err().to_string() }
        };
        assert_eq!(
            error("http", &address).await,
            format!("the proxy http://{address}/ refused login.test:443 with HTTP 407")
        );
        assert_eq!(
            error("https", &address).await,
            format!("the proxy https://{address}/ is not supported; only http:// proxies are")
        );
        assert_eq!(
            error("http", "127.0.0.1:port").await,
            "the port of the proxy http://127.0.0.1:port/ is not a number from 1 to 65535"
        );
    }

    #[tokio::test]
    async fn an_untrusted_certificate_is_rejected_with_and_without_a_proxy() {
        let server = Server::start(Some(Authority::new().server("localhost")), ok()).await;
        let proxy = Server::proxy().await;
        let through = Matcher::builder().https(format!("http://127.0.0.1:{}", proxy.port())).build();
        for proxies in [Matcher::builder().build(), through] {
            let transport = Transport::with_proxies(&Authority::new().roots(), proxies, resolver());
            let error = transport
                .send(get(&format!("https://localhost:{}/", server.port())), &Route::Usual)
                .await
                .unwrap_err();
            assert!(error.to_string().contains("tls_certificate at tls"), "{error}");
        }
        assert_eq!(server.requests(), [""; 0]);
    }

    #[tokio::test]
    async fn a_direct_route_ignores_proxies_and_trusts_its_own_roots_for_its_own_name() {
        let authority = Authority::new();
        let server = Server::start(Some(authority.server("proxy.test")), ok()).await;
        let url = format!("https://localhost:{}/", server.port());
        let route = |tls, server_name: Option<&str>| Route::Direct {
            tls,
            server_name: server_name.map(str::to_owned),
        };
        let own = Some(TlsClient::new(&authority.roots(), None));
        plain().send(get(&url), &route(own.clone(), Some("proxy.test"))).await.unwrap();
        for route in [route(own, None), route(None, Some("proxy.test"))] {
            let error = plain().send(get(&url), &route).await.unwrap_err();
            assert!(error.to_string().contains("tls_certificate at tls"), "{error}");
        }
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_trusted_brings_the_variable_that_helps() {
        let server = Server::start(Some(Authority::new().server("localhost")), ok()).await;
        let url = format!("https://localhost:{}/", server.port());
        let direct = Route::Direct { tls: None, server_name: None };
        let error = plain().send(get(&url), &direct).await.unwrap_err().to_string();
        assert!(error.ends_with("; set SSL_CERT_FILE to a file with every authority to trust"), "{error}");
        assert!(!error.contains("tls.ca_file"), "{error}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let server = Server::start(None, response(302, &[("location", "http://127.0.0.1:1/")], "")).await;
        let answer =
            plain().send(get(&format!("http://127.0.0.1:{}/", server.port())), &Route::Usual).await.unwrap();
        assert_eq!(answer.status().as_u16(), 302);
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_or_truncated_is_an_error() {
        let endless = Server::start(None, response(200, &[], &"x".repeat(BODY_LIMIT + 1))).await;
        let error = plain()
            .send(get(&format!("http://127.0.0.1:{}/", endless.port())), &Route::Usual)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the response is longer than 65536 bytes");
        let mut cut = ok();
        cut.truncate(cut.len() - 1);
        let cut = Server::start(None, cut).await;
        let error =
            plain().send(get(&format!("http://127.0.0.1:{}/", cut.port())), &Route::Usual).await.unwrap_err();
        assert!(matches!(error, TransportError::Interrupted(_)), "{error}");
    }

    #[tokio::test]
    async fn interim_responses_without_an_end_are_an_error() {
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
        let server = Server::start(None, [flood.into_bytes(), ok()].concat()).await;
        let url = format!("http://127.0.0.1:{}/", server.port());
        let error = plain().send(get(&url), &Route::Usual).await.unwrap_err();
        assert!(matches!(error, TransportError::Interrupted(_)), "{error}");
        let few = Server::start(None, [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), ok()].concat()).await;
        let url = format!("http://127.0.0.1:{}/", few.port());
        assert_eq!(plain().send(get(&url), &Route::Usual).await.unwrap().status().as_u16(), 200);
    }

    #[tokio::test]
    async fn dropping_a_request_closes_its_connection() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let transport = plain();
        let mut request = Box::pin(transport.send(get(&url), &Route::Usual));
        let (mut accepted, _) = tokio::select! {
            accepted = server.accept() => accepted.unwrap(),
            answer = &mut request => panic!("{answer:?}"),
        };
        drop(request);
        let mut received = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut accepted, &mut received).await.unwrap();
    }
}
