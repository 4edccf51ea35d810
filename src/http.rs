//! The HTTP endpoint: bound first, served later, on a thread and a runtime of its own, so that encoding a large
//! scrape never delays a probe. A [`Guard`] decides who is served.
//!
//! `route.rs` describes each path, `query.rs` reads its parameters, and `pages.rs` makes its page, metrics in the format of
//! `accept.rs`, pages for people in `html.rs`; or `refusal.rs` says why there is none. `body.rs` and `encoding.rs` send it,
//! and `slots.rs` limits how many are sent at a time. `connections.rs` accepts, limits and closes connections, which
//! `client.rs` encrypts. `denial.rs` answers those who are not admitted.

mod accept;
mod body;
mod client;
mod connections;
mod denial;
mod discovery;
mod encoding;
mod html;
mod liveness;
mod pages;
mod probe;
mod query;
mod refusal;
mod reload;
mod route;
mod slots;
mod stream;
mod weighted;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::descriptors;
use crate::guard::Guard;
use crate::metrics::Part;
use crate::os;

pub use self::connections::MAX_REQUEST_HEADER;
pub use self::liveness::{Heartbeats, Liveness};
pub use self::pages::Pages;
pub use self::reload::{Lifecycle, Reloaded, Reloads};
pub use self::route::Route;

/// How many clients may wait to be accepted. std's 128 overflow when many connect at once, and a client that is dropped,
/// such as Prometheus, retries only after a second.
const BACKLOG: i32 = 1024;

/// The limits that protect the endpoint from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. One more closes the connection that has been idle longest.
    pub connections: usize,
    /// Responses being sent, over all connections. One more waits, and closes the connection whose client has read
    /// nothing for longest.
    pub responses: usize,
    /// Time from the end of one request to the end of the header of the next.
    pub header: Duration,
    /// Time without progress while a response is sent.
    pub write: Duration,
}

impl Limits {
    /// The limits of the agent.
    pub const DEFAULT: Self = Self {
        connections: 256,
        responses: 64,
        header: Duration::from_secs(20),
        write: Duration::from_secs(30),
    };

    /// The limits of the health endpoint, which has fewer clients.
    pub const HEALTH: Self = Self { connections: 64, ..Self::DEFAULT };
}

/// A bound address that is not served yet: clients wait in the queue.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Returns the address; its port is the one that the system chose if 0 was requested.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Binds `addr`. `[::]` means every address: of IPv4, too, and of IPv4 only where the machine has no IPv6. 127.0.0.1 means
/// `[::1]` where it has no IPv4.
///
/// # Errors
/// [`BindError`] if the address is in use, not local or not permitted.
pub fn bind(addr: SocketAddr) -> Result<Listener, BindError> {
    bind_by(addr, listen)
}

/// Binds `addr` by `listen`, whose answers depend on the machine.
fn bind_by<T>(addr: SocketAddr, listen: impl Fn(SocketAddr) -> io::Result<T>) -> Result<T, BindError> {
    let other: Option<IpAddr> = match addr.ip() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(Ipv6Addr::LOCALHOST.into()),
        _ => None,
    };
    let listener = match (listen(addr), other) {
        (Err(error), Some(other)) if is_without_family(&error) => listen((other, addr.port()).into()),
        (listener, _) => listener,
    };
    listener.map_err(|source| BindError { addr, source })
}

fn listen(addr: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the previous process.
    os::reuse_address(&socket)?;
    socket.set_nonblocking(true)?;
    if addr.ip() == Ipv6Addr::UNSPECIFIED {
        // The default is a setting of the machine.
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from(socket);
    let addr = socket.local_addr()?;
    Ok(Listener { socket, addr })
}

/// Whether `error` says that a version of IP is not compiled in or disabled.
fn is_without_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || os::errors::is_without_family(error)
}

/// The address could not be bound.
#[derive(Debug)]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// Whether another socket listens there.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.source.kind() {
            io::ErrorKind::AddrInUse => "another process listens there: choose another port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address",
            io::ErrorKind::PermissionDenied => "ports under 1024 need privileges: choose a higher one",
            _ => "check the address",
        };
        write!(f, "cannot listen on {}: {advice}", self.addr)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Serves `pages` on `listener` to clients that their guard admits.
///
/// # Errors
/// If the system refuses a thread or file descriptors.
pub fn spawn(listener: Listener, pages: Pages) -> io::Result<Server> {
    let connections = Limits::DEFAULT.connections.min(descriptors::for_clients());
    spawn_with(listener, pages, Part::Http, Limits { connections, ..Limits::DEFAULT })
}

/// Serves those of `pages` that are about the agent's health on `listener` to everybody, on a thread of its own: it responds
/// whatever the clients of the other endpoint do.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_health(listener: Listener, pages: Pages) -> io::Result<Server> {
    let connections = Limits::HEALTH.connections.min(descriptors::for_health_checks());
    let pages = Pages { routes: Route::HEALTH, guard: Guard::none(), ..pages };
    spawn_with(listener, pages, Part::Health, Limits { connections, ..Limits::HEALTH })
}

fn spawn_with(listener: Listener, pages: Pages, part: Part, limits: Limits) -> io::Result<Server> {
    let addr = listener.addr;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    pages.metrics.count_tasks(part, runtime.handle());
    let (stop, stopped) = mpsc::channel(1);
    std::thread::Builder::new().name(part.as_str().into()).spawn(move || {
        runtime.block_on(connections::serve(listener.socket, pages, limits, stopped));
    })?;
    Ok(Server { addr, stop })
}

/// The running endpoint. Dropping it closes the endpoint at once.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    /// Sends the grace period. The other end is dropped when the thread ends, for whatever cause.
    stop: mpsc::Sender<Duration>,
}

impl Server {
    /// Returns the address on which it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts no more connections, lets pending requests finish within `grace`, and closes the rest.
    pub async fn shutdown(self, grace: Duration) {
        // If the thread has ended there is nothing to stop.
        let _ = self.stop.send(grace).await;
        // The thread obeys `grace` itself; the timeout is for a thread that is stuck.
        let _ = timeout(grace + Duration::from_secs(1), self.stop.closed()).await;
    }

    /// Resolves when the thread has ended without a shutdown: after a panic, or because its socket failed.
    pub async fn failed(&mut self) {
        self.stop.closed().await;
    }
}

#[cfg(test)]
mod tests;
