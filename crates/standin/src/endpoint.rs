//! The lab's identity endpoint: issues tokens as the hosts of managed identities and Entra's token service do. The hosts
//! speak http and share a port, the token service speaks https. So does the proxy of AKS identity bindings, behind another
//! name at the same port.
//!
//! `protocol.rs` validates requests and shapes the responses; `fault.rs` lists what can go wrong.

mod expiry;
mod fault;
mod protocol;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub use expiry::ExpiryForm;
pub use fault::{Challenge, ErrorBody, TokenFault};
pub use protocol::ManagedHost;

use super::authority::{Authority, Grant, Token};
use super::ca::ServerCertificate;
use super::event::{Event, EventSink};
use super::ports::{BindError, Service};
use crate::secret::Secret;
use protocol::{Approval, Scheme, TokenRequest, TokenResponse};

/// The longest request body, in bytes. The real service's limit is not known; a federated token has some 2 kB.
const MAX_BODY: usize = 64 * 1024;
/// How many requests are remembered.
const MAX_LOG: usize = 10_000;

/// An identity of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its object id: the Redis user name.
    pub object_id: String,
    /// Its client id.
    pub client_id: String,
    /// Its Azure resource id, if it is a user-assigned managed identity.
    pub resource_id: Option<String>,
    /// Whether it is the identity of a request that names none.
    pub system_assigned: bool,
}

/// How an identity endpoint is set up.
pub struct EndpointOptions {
    /// The port of App Service's and IMDS' paths, over http; zero for any free one.
    pub http_port: u16,
    /// The port of Entra's token service, over https; zero for any free one.
    pub https_port: u16,
    /// The certificate of the https part.
    pub certificate: ServerCertificate,
    /// The name and certificate of the proxy of AKS identity bindings, which shares the https port.
    pub token_proxy: (&'static str, ServerCertificate),
    /// The identities that get tokens.
    pub principals: Vec<Principal>,
    /// The value of `IDENTITY_HEADER` on App Service.
    pub header: Secret,
    /// The secret of each principal, for the client credentials grant.
    pub client_secret: Secret,
    /// How long tokens are valid.
    pub lifetime: Duration,
    /// Receives an event for each new token.
    pub events: EventSink,
}

/// The behaviour and the faults of the endpoint. [`EndpointHandle::set`] changes them at run time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long new tokens are valid.
    pub lifetime: Duration,
    /// Managed identities get the same token until it is valid for less than this. Azure's rule is not documented; the
    /// default is the 300 s that its client libraries assume.
    pub rotate_before: Duration,
    /// Seconds by which the endpoint's clock is ahead (or, negative, behind) when it dates tokens.
    pub skew: i64,
    /// How long each response is delayed.
    pub delay: Duration,
    /// The faults of the next requests, one each, before [`Self::fault`] applies.
    pub script: VecDeque<TokenFault>,
    /// The fault of every request.
    pub fault: Option<TokenFault>,
    /// The certificates (DER) that are registered at every application.
    pub certificates: Vec<Vec<u8>>,
    /// The issuer (DER) that every application trusts: certificates that it issued need not be registered.
    pub certificate_issuer: Option<Vec<u8>>,
    /// The folder in which Azure Arc's agent writes its keys. Without one it gives no tokens.
    pub arc_keys: Option<PathBuf>,
}

/// A received request, without secrets: of the query and the form, only the requested identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When, by tokio's clock.
    pub at: Instant,
    /// The method, such as `GET`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The requested client id, object id or resource id, if any.
    pub identity: Option<String>,
    /// The header `Host`.
    pub host: Option<String>,
    /// The name in SNI, over https.
    pub server_name: Option<String>,
}

struct Shared {
    authority: Arc<Authority>,
    principals: Vec<Principal>,
    header: Secret,
    client_secret: Secret,
    events: EventSink,
    settings: Mutex<Settings>,
    requests: Mutex<VecDeque<RequestRecord>>,
    /// The key of the last challenge of Azure Arc.
    arc_key: Mutex<Option<String>>,
    /// The last token of each object id and audience.
    tokens: Mutex<HashMap<(String, String), Token>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; the values would be valid anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the endpoint while it runs. Clones are the same endpoint.
#[derive(Clone)]
pub struct EndpointHandle(Arc<Shared>);

impl EndpointHandle {
    /// Changes the settings from the next request on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.0.settings));
    }

    /// Returns the requests so far in order; of very many, the newest.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        lock(&self.0.requests).iter().cloned().collect()
    }
}

/// An identity endpoint at two ports of 127.0.0.1. It stops when dropped.
pub struct IdentityEndpoint {
    handle: EndpointHandle,
    http_port: u16,
    https_port: u16,
    _tasks: JoinSet<Infallible>,
}

impl IdentityEndpoint {
    /// Starts one. Its tokens are signed by `authority`.
    pub async fn start(options: EndpointOptions, authority: Arc<Authority>) -> Result<Self, BindError> {
        let http = bind(Service::Identity, options.http_port).await?;
        let https = bind(Service::Authority, options.https_port).await?;
        let settings = Settings {
            lifetime: options.lifetime,
            rotate_before: Duration::from_secs(300),
            skew: 0,
            delay: Duration::ZERO,
            script: VecDeque::new(),
            fault: None,
            certificates: Vec::new(),
            certificate_issuer: None,
            arc_keys: None,
        };
        let shared = Arc::new(Shared {
            authority,
            principals: options.principals,
            header: options.header,
            client_secret: options.client_secret,
            events: options.events,
            settings: Mutex::new(settings),
            arc_key: Mutex::default(),
            requests: Mutex::default(),
            tokens: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let tls = Tls { certificate: options.certificate, token_proxy: options.token_proxy };
        tasks.spawn(accept(http.0, None, Arc::clone(&shared)));
        tasks.spawn(accept(https.0, Some(Arc::new(tls)), Arc::clone(&shared)));
        Ok(Self { handle: EndpointHandle(shared), http_port: http.1, https_port: https.1, _tasks: tasks })
    }

    /// Returns the port of App Service's and IMDS' paths, over http.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Returns the port of Entra's token service, over https.
    #[must_use]
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Returns the handle that changes the endpoint while it runs.
    #[must_use]
    pub fn handle(&self) -> &EndpointHandle {
        &self.handle
    }
}

/// Listens on a port of 127.0.0.1, and returns which one it is.
async fn bind(service: Service, port: u16) -> Result<(TcpListener, u16), BindError> {
    let bind_error = |source| BindError { service, port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(bind_error)?;
    let port = listener.local_addr().map_err(bind_error)?.port();
    Ok((listener, port))
}

async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, shared: Arc<Shared>) -> Infallible {
    /// Keeps this loop from spinning when file descriptors run out.
    const PAUSE: Duration = Duration::from_millis(50);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

/// The services of the https port, by the name in SNI.
struct Tls {
    certificate: ServerCertificate,
    token_proxy: (&'static str, ServerCertificate),
}

impl Tls {
    async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Scheme)> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let server_name = hello.client_hello().server_name().map(str::to_owned);
        let (name, certificate) = &self.token_proxy;
        if server_name.as_deref() == Some(name) {
            Ok((hello.into_stream(certificate.config()).await?, Scheme::TokenProxy))
        } else {
            Ok((hello.into_stream(self.certificate.config()).await?, Scheme::Https { server_name }))
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<Arc<Tls>>, shared: Arc<Shared>) {
    // A second handle, to reset the connection that hyper owns.
    let Ok(socket) = SockRef::from(&stream).try_clone() else { return };
    match tls {
        None => converse(stream, &Scheme::Http, &socket, &shared).await,
        Some(tls) => {
            if let Ok((stream, scheme)) = tls.accept(stream).await {
                converse(stream, &scheme, &socket, &shared).await;
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &Scheme,
    socket: &Socket,
    shared: &Shared,
) {
    let service = service_fn(|request| async move {
        let response = shared.respond(scheme, request).await;
        if response.is_err() {
            // Without lingering, closing sends RST. If the option cannot be set it sends FIN, which closes as well.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        response
    });
    // A client may close the connection at any time, and some faults do.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    /// Responds to one request; an error resets the connection.
    async fn respond(
        &self,
        scheme: &Scheme,
        request: Request<Incoming>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
        let request = TokenRequest::new(scheme, &head, &body);
        if let Some(document) = request.discovery(self) {
            return Ok(document.into_http(None));
        }
        self.record(&request);
        let is_challenge = request.is_to_be_challenged();
        let (delay, fault) = {
            let mut settings = lock(&self.settings);
            // Of the two requests of Azure Arc, a fault of tokens is that of the second.
            let applies = |fault: &TokenFault| !is_challenge || fault.is_of_challenges();
            let next = settings.script.front().is_none_or(applies);
            let fault = if next { settings.script.pop_front() } else { None };
            (settings.delay, fault.or_else(|| settings.fault.clone().filter(applies)))
        };
        tokio::time::sleep(delay).await;
        match fault.as_ref() {
            Some(TokenFault::Hang) => std::future::pending().await,
            Some(TokenFault::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(TokenFault::Status { code, retry_after, body }) => Ok(body.response(*code, *retry_after)),
            fault if is_challenge => Ok(self.challenge(fault)?.into_http(None)),
            fault => {
                let response = match request.check(self) {
                    Ok(approval) => {
                        let token = self.token(&approval, fault)?;
                        TokenResponse::granted(&approval, &token, self.authority.now())
                    }
                    Err(refused) => refused,
                };
                Ok(response.into_http(fault))
            }
        }
    }

    /// Writes a key for the next request of Azure Arc, and returns the challenge that names it.
    fn challenge(&self, fault: Option<&TokenFault>) -> io::Result<TokenResponse> {
        let manner = if let Some(TokenFault::Challenge(manner)) = fault { Some(*manner) } else { None };
        let Some(folder) = lock(&self.settings).arc_keys.clone() else {
            return Err(io::Error::other("no folder for the keys of Azure Arc"));
        };
        let folder = if manner == Some(Challenge::OtherFolder) { folder.join("other") } else { folder };
        std::fs::create_dir_all(&folder)?;
        let key = self.authority.new_secret()?.expose().to_owned();
        let path = folder.join(format!("{}.key", &key[..8]));
        let written = match manner {
            Some(Challenge::LongKey) => "x".repeat(4097),
            Some(Challenge::LineBreak) => format!("{key}\n"),
            _ => key.clone(),
        };
        if manner != Some(Challenge::NoFile) {
            std::fs::write(&path, written)?;
        }
        *lock(&self.arc_key) = Some(key);
        Ok(match manner {
            Some(Challenge::None) => TokenResponse::unchallenged(),
            Some(Challenge::WithoutHeader) => TokenResponse::challenge(None),
            _ => TokenResponse::challenge(Some(format!("Basic realm={}", path.display()))),
        })
    }

    fn record(&self, request: &TokenRequest) {
        let mut requests = lock(&self.requests);
        if requests.len() == MAX_LOG {
            requests.pop_front();
        }
        requests.push_back(request.record());
    }

    /// Returns the token for a valid request: a new one, or with managed identities perhaps the last one.
    fn token(&self, approval: &Approval<'_>, fault: Option<&TokenFault>) -> io::Result<Token> {
        let (lifetime, rotate_before, skew) = {
            let settings = lock(&self.settings);
            (settings.lifetime, settings.rotate_before, settings.skew)
        };
        let principal = approval.principal;
        let place = (principal.object_id.clone(), approval.audience.clone());
        let mut tokens = lock(&self.tokens);
        if let Some(last) = tokens.get(&place) {
            let again = match fault {
                Some(TokenFault::SameToken) => true,
                None => {
                    approval.is_managed_identity() && self.authority.until(last.expires_at) > rotate_before
                }
                Some(_) => false,
            };
            if again {
                return Ok(last.clone());
            }
        }
        let offset = Duration::from_secs(skew.unsigned_abs());
        let now = self.authority.now();
        let now = if skew < 0 { now - offset } else { now + offset };
        let grant = Grant {
            object_id: Some(&principal.object_id),
            client_id: &principal.client_id,
            audience: &approval.audience,
            issued_at: now,
            lifetime,
        };
        let grant = match fault {
            Some(TokenFault::WithoutObjectId) => Grant { object_id: None, ..grant },
            Some(TokenFault::ObjectId(other)) => Grant { object_id: Some(other), ..grant },
            Some(TokenFault::Lifetime(lifetime)) => Grant { lifetime: *lifetime, ..grant },
            Some(TokenFault::Expired) => {
                Grant { issued_at: now - lifetime - Duration::from_secs(1), ..grant }
            }
            _ => grant,
        };
        let token = self.authority.mint(&grant)?;
        (self.events)(Event::TokenIssued {
            object_id: token.object_id.clone(),
            lifetime: self.authority.until(token.expires_at),
        });
        tokens.insert(place, token.clone());
        Ok(token)
    }
}
