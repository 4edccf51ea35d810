//! A TCP proxy whose destination can change, and which can delay what it forwards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::port::Port;

/// The port to forward connections to. With `None` they are accepted and never answered.
type Destination = Option<u16>;

/// A port that forwards connections to another port of 127.0.0.1. Dropping it closes everything.
pub(crate) struct Gate {
    pub(crate) port: u16,
    address: IpAddr,
    round_trip: Duration,
    destination: watch::Sender<Destination>,
    tasks: JoinSet<()>,
    /// Keeps the port reserved while the gate is shut.
    _reservation: Option<Port>,
}

impl Gate {
    /// Opens a gate on a free port of 127.0.0.1.
    pub(crate) fn open(to: u16) -> Self {
        Self::slow(to, Duration::ZERO)
    }

    /// The same with a path on which each round trip takes `round_trip` longer. Connecting is as fast as without.
    pub(crate) fn slow(to: u16, round_trip: Duration) -> Self {
        let port = Port::reserve();
        let gate = Self::new(Ipv4Addr::LOCALHOST.into(), port.number, to, round_trip);
        Self { _reservation: Some(port), ..gate }
    }

    pub(crate) fn at(address: IpAddr, port: u16, to: u16) -> Self {
        Self::new(address, port, to, Duration::ZERO)
    }

    fn new(address: IpAddr, port: u16, to: u16, round_trip: Duration) -> Self {
        let destination = watch::Sender::new(Some(to));
        let mut gate =
            Self { port, address, round_trip, destination, tasks: JoinSet::new(), _reservation: None };
        gate.reopen();
        gate
    }

    /// Changes the destination of new connections and closes the others.
    pub(crate) fn lead(&self, destination: Destination) {
        self.destination.send_replace(destination);
    }

    /// Changes the destination of new connections and leaves the others, as a proxy does whose backend was replaced.
    pub(crate) fn lead_new(&self, destination: Destination) {
        // Nobody is notified.
        self.destination.send_if_modified(|current| {
            *current = destination;
            false
        });
    }

    /// Closes all connections and refuses new ones.
    pub(crate) async fn shut(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Accepts connections again.
    pub(crate) fn reopen(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::new(self.address, self.port).into()).unwrap();
        socket.listen(128).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        self.tasks.spawn(serve(listener, self.destination.subscribe(), self.round_trip / 2));
    }
}

async fn serve(listener: TcpListener, destination: watch::Receiver<Destination>, delay: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(lead(stream, destination.clone(), delay));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn lead(stream: TcpStream, mut destination: watch::Receiver<Destination>, delay: Duration) {
    let to = *destination.borrow_and_update();
    let through = async {
        let Some(port) = to else { return std::future::pending().await };
        let Ok(other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
        let (here, there) = (stream.into_split(), other.into_split());
        tokio::join!(forward(here.0, there.1, delay), forward(there.0, here.1, delay));
    };
    tokio::select! {
        () = through => {}
        _ = destination.changed() => {}
    }
}

/// Forwards everything, and at last the end, `delay` after it was received.
async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sent, mut pending) = mpsc::channel(64);
    let receive = async move {
        let mut bytes = vec![0; 16 * 1024];
        // A reset counts as the end.
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if sent.send((Instant::now() + delay, bytes[..count].to_vec())).await.is_err() {
                return;
            }
        }
        let _ = sent.send((Instant::now() + delay, Vec::new())).await;
    };
    let deliver = async move {
        while let Some((due, bytes)) = pending.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(receive, deliver);
}
