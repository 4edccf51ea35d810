//! The simulated cache: a front that speaks RESP over TLS and checks sign-ins with tokens as Azure does, and a backend
//! that executes the commands.
//!
//! A session ends when its token expires, without an error reply; a newer token extends it. Tests set the faults at run
//! time; see [`Faults`].

mod connection;
mod fault;
mod notices;
mod session;
mod unix_socket;
mod upstream;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use fault::{Admission, CommandFault, Ending, FaultReply, Faults, Pieces};
pub use notices::Announcing;

use super::authority::Authority;
use super::ca::ServerCertificate;
use super::event::{Event, EventSink};
use super::frame::Command;
use super::ports::{BindError, Service};
use crate::secret::Secret;
use connection::Connection;
use fault::Effect;
pub use upstream::Backend;
pub(crate) use upstream::Connector;

/// How a cache is set up.
#[derive(Clone)]
pub struct CacheOptions {
    /// The port; zero for any free one.
    pub port: u16,
    /// What the port is called in errors.
    pub service: Service,
    /// The certificate; `None` for plaintext, over which tokens are refused.
    pub certificate: Option<ServerCertificate>,
    /// The object ids with an access policy.
    pub policies: Vec<String>,
    /// The access keys.
    pub access_keys: Vec<Secret>,
    /// Receives what happens.
    pub events: EventSink,
}

/// How a cache treats tokens, and announces maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Whose error text a rejected sign-in gets.
    pub dialect: Dialect,
    /// How long after its token's expiry a session is closed. Azure's delay is not documented.
    pub kill_delay: Duration,
    /// How long before its token's expiry a session is closed.
    pub kill_ahead: Duration,
    /// How it is closed.
    pub kill_by: Ending,
    /// How it announces maintenance.
    pub announcing: Announcing,
}

/// Whose error text a rejected sign-in gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Azure Cache for Redis with Entra: the error code is `ERR`.
    #[default]
    CacheForRedis,
    /// Redis 7, the closest known to Azure Managed Redis.
    ManagedRedis,
}

impl Dialect {
    fn rejected(self) -> &'static str {
        match self {
            Self::CacheForRedis => "ERR WRONGPASS invalid username-password pair",
            Self::ManagedRedis => "WRONGPASS invalid username-password pair or user is disabled.",
        }
    }
}

/// The number of events since the cache started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted by the system, served or not.
    pub connections: u64,
    /// Sign-ins accepted, re-authentications included.
    pub accepted: u64,
    /// Sign-ins rejected.
    pub rejected: u64,
    /// Connections closed because their token expired.
    pub expired: u64,
}

struct State {
    faults: Faults,
    profile: Profile,
    policies: HashSet<Arc<str>>,
    access_keys: Vec<Secret>,
    certificate: Option<ServerCertificate>,
    /// How often all connections were closed on request, and how the last time.
    closings: u64,
    /// Connections that were opened later stay.
    closed_before: Instant,
    ending: Ending,
}

struct Shared {
    authority: Arc<Authority>,
    backend: Connector,
    events: EventSink,
    state: watch::Sender<State>,
    counters: Mutex<Counters>,
    /// What is sent out of band.
    notices: broadcast::Sender<notices::Frame>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn emit(&self, event: Event) {
        (self.events)(event);
    }

    fn effect_on(&self, command: &Command) -> Effect {
        let mut effect = Effect::default();
        // No task waits for the end of a limited fault, so none is woken.
        self.state.send_if_modified(|state| {
            effect = state.faults.effect_on(command);
            false
        });
        effect
    }
}

/// Changes the cache while it runs. Clones are the same cache.
#[derive(Clone)]
pub struct CacheHandle(Arc<Shared>);

impl CacheHandle {
    pub(super) fn new(backend: Connector, options: CacheOptions, authority: Arc<Authority>) -> Self {
        let state = State {
            faults: Faults::default(),
            profile: Profile::default(),
            policies: options.policies.iter().map(|oid| oid.as_str().into()).collect(),
            access_keys: options.access_keys,
            certificate: options.certificate,
            closings: 0,
            closed_before: Instant::now(),
            ending: Ending::default(),
        };
        Self(Arc::new(Shared {
            authority,
            backend,
            events: options.events,
            state: watch::Sender::new(state),
            counters: Mutex::default(),
            notices: broadcast::Sender::new(notices::MAX_WAITING),
        }))
    }

    /// Changes the faults. They apply to new connections and commands at once; the port closes or opens when the
    /// cache's own task has run.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.0.state.send_modify(|state| change(&mut state.faults));
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }

    /// Changes how the cache treats tokens, and announces maintenance.
    pub fn set_profile(&self, profile: Profile) {
        self.0.state.send_modify(|state| state.profile = profile);
    }

    /// Ends all connections. New ones are served.
    pub fn close_all(&self, ending: Ending) {
        self.close_older_than(Duration::ZERO, ending);
    }

    /// Ends the connections that have been open for `age`.
    pub fn close_older_than(&self, age: Duration, ending: Ending) {
        self.0.state.send_modify(|state| {
            state.closings += 1;
            state.closed_before = Instant::now().checked_sub(age).unwrap_or(state.closed_before);
            state.ending = ending;
        });
    }

    /// Publishes the notice of maintenance `kind` on the channel `AzureRedisEvents`.
    pub fn announce(&self, kind: &str, start: &str) {
        self.announce_at(kind, start, 15_001);
    }

    pub(super) fn announce_at(&self, kind: &str, start: &str, port: u16) {
        // Azure's ports without TLS are lower by this number.
        let plaintext = port.saturating_sub(2000);
        self.publish(&format!(
            "NotificationType|{kind}|StartTimeInUTC|{start}|IsReplica|False|IPAddress||SSLPort|{port}|\
             NonSSLPort|{plaintext}"
        ));
    }

    /// Publishes any text on the channel `AzureRedisEvents`.
    pub fn publish(&self, payload: &str) {
        self.send(notices::message(payload));
    }

    /// Sends bytes out of band to every connection that has asked for notices.
    pub fn push(&self, bytes: &[u8]) {
        self.send(bytes.into());
    }

    fn send(&self, frame: notices::Frame) {
        // Nobody may be connected.
        let _ = self.0.notices.send(frame);
    }

    /// Gives `object_id` an access policy.
    pub fn grant(&self, object_id: &str) {
        self.0.state.send_modify(|state| {
            state.policies.insert(object_id.into());
        });
    }

    /// Removes the access policy of `object_id`, and closes its connections.
    pub fn revoke(&self, object_id: &str) {
        self.0.state.send_modify(|state| {
            state.policies.remove(object_id);
        });
    }

    /// Changes the access keys. Like Azure, it closes no connection.
    pub fn set_access_keys(&self, keys: Vec<Secret>) {
        self.0.state.send_modify(|state| state.access_keys = keys);
    }

    /// Presents another certificate from the next connection on. Nothing changes where there is no TLS.
    pub fn set_certificate(&self, certificate: ServerCertificate) {
        self.0.state.send_modify(|state| {
            if state.certificate.is_some() {
                state.certificate = Some(certificate);
            }
        });
    }

    /// Returns the number of events since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.0.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, event: Event) {
        self.0.emit(event);
    }

    /// Returns the time by the wall clock.
    pub(super) fn now(&self) -> SystemTime {
        self.0.authority.now()
    }

    #[cfg(test)]
    pub(super) fn frames(&self) -> broadcast::Receiver<notices::Frame> {
        self.0.notices.subscribe()
    }

    #[cfg(test)]
    pub(super) fn current_faults(&self) -> Faults {
        self.0.state.borrow().faults.clone()
    }
}

/// A cache on 127.0.0.1. It stops when dropped.
pub struct CacheFront {
    handle: CacheHandle,
    port: u16,
    _tasks: JoinSet<()>,
}

impl CacheFront {
    /// Starts one before `backend`, which executes the commands. `authority` verifies tokens.
    pub fn start(
        backend: Backend,
        options: CacheOptions,
        authority: Arc<Authority>,
    ) -> Result<Self, BindError> {
        Self::start_before(backend.into(), options, authority)
    }

    pub(super) fn start_before(
        backend: Connector,
        options: CacheOptions,
        authority: Arc<Authority>,
    ) -> Result<Self, BindError> {
        let bind_error = |source| BindError { service: options.service, port: options.port, source };
        let port = Port::reserve(options.port).map_err(bind_error)?;
        let listener = port.listen().map_err(bind_error)?;
        let handle = CacheHandle::new(backend, options, authority);
        let number = port.number;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port, listener, Arc::clone(&handle.0)));
        Ok(Self { handle, port: number, _tasks: tasks })
    }

    /// Returns the port. It stays the same while the cache refuses connections.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the handle that changes the cache while it runs.
    #[must_use]
    pub fn handle(&self) -> &CacheHandle {
        &self.handle
    }
}

/// A port that stays reserved while nothing listens on it.
struct Port {
    /// Bound and never listening: the system gives the port to nobody else, and refuses connections to it.
    _reservation: Socket,
    number: u16,
}

impl Port {
    fn reserve(number: u16) -> io::Result<Self> {
        let reservation = Self::bind(number)?;
        let number = reservation.local_addr()?.as_socket().map_or(0, |address| address.port());
        Ok(Self { _reservation: reservation, number })
    }

    fn bind(port: u16) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Ok(socket)
    }

    fn listen(&self) -> io::Result<TcpListener> {
        let socket = Self::bind(self.number)?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    }
}

async fn accept(port: Port, listener: TcpListener, shared: Arc<Shared>) {
    /// Keeps this loop from spinning when file descriptors run out.
    const PAUSE: Duration = Duration::from_millis(50);
    let mut listener = Some(listener);
    let mut state = shared.state.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let refuse = state.borrow_and_update().faults.admission == Admission::Refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = port.listen().ok();
        }
        tokio::select! {
            _ = state.changed() => {}
            Some(_) = connections.join_next() => {}
            accepted = async { listener.as_ref()?.accept().await.ok() }, if !refuse => {
                let Some((stream, peer)) = accepted else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                // Replies are small. With Nagle's algorithm they would wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                shared.count(|counters| counters.connections += 1);
                let connection = Connection { stream, peer, id: shared.backend.next_client() };
                let shared = Arc::clone(&shared);
                connections.spawn(async move { connection.serve(&shared).await });
            }
        }
    }
}
