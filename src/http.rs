//! The HTTP endpoint: bound first, served later, on a thread and a runtime of its own, so that encoding a large
//! scrape never delays a probe.
//!
//! What is answered is in `pages.rs`, how it is sent in `body.rs` and `encoding.rs`, and how many answers are on their
//! way in `answers.rs`; how connections are held, limited and ended in `connections.rs`.

mod answers;
mod body;
mod connections;
mod encoding;
mod liveness;
mod pages;
mod stream;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::metrics::Part;

pub use self::liveness::{Heartbeats, Liveness};
pub use self::pages::Pages;

/// Clients that wait to be accepted. std's 128 overflow when many come at once, and who is dropped there, be it
/// Prometheus, tries again only after a second.
const BACKLOG: i32 = 1024;

/// What clients may take from the endpoint.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Open connections. One more closes the one that has been quiet longest.
    connections: usize,
    /// Answers on their way, over all connections. One more closes the connection that has been quiet longest of those
    /// that are sent one.
    answers: usize,
    /// From the end of one request to the end of the next one's header.
    header: Duration,
    /// Without progress while a response is sent.
    write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, answers: 8, header: Duration::from_secs(20), write: Duration::from_secs(20) }
    }
}

/// An address that is bound and not served yet: clients wait in the queue.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// The address, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Binds `addr`.
///
/// # Errors
/// [`BindError`] where the address is taken, not of this machine or not allowed.
pub fn bind(addr: SocketAddr) -> Result<Listener, BindError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the process before.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let addr = socket.local_addr()?;
        Ok(Listener { socket, addr })
    };
    listen().map_err(|source| BindError { addr, source })
}

/// The address could not be bound.
#[derive(Debug)]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
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

/// Serves `pages` on `listener`.
///
/// # Errors
/// Where the system refuses a thread or file descriptors.
pub fn spawn(listener: Listener, pages: Pages) -> io::Result<Server> {
    spawn_with(listener, pages, Limits::default())
}

fn spawn_with(listener: Listener, pages: Pages, limits: Limits) -> io::Result<Server> {
    let addr = listener.addr;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    pages.metrics.count_tasks(Part::Http, runtime.handle());
    let (stop, stopped) = mpsc::channel(1);
    std::thread::Builder::new().name("http".into()).spawn(move || {
        runtime.block_on(connections::serve(listener.socket, pages, limits, stopped));
    })?;
    Ok(Server { addr, stop })
}

/// The running endpoint. Dropping it closes the endpoint at once.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    /// Takes the grace period. The other end lives as long as the thread does, however that ends.
    stop: mpsc::Sender<Duration>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections, lets the requests that run end within `grace`, and closes what is left.
    pub async fn shutdown(self, grace: Duration) {
        // Where the thread is gone there is nothing to stop.
        let _ = self.stop.send(grace).await;
        // The thread keeps the time itself; this is for one that is stuck.
        let _ = timeout(grace + Duration::from_secs(1), self.stop.closed()).await;
    }

    /// Resolves when the thread has ended though nobody asked it to: by a panic, or without its socket.
    pub async fn failed(&mut self) {
        self.stop.closed().await;
    }
}

#[cfg(test)]
mod tests;
