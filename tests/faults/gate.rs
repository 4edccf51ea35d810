//! A TCP proxy whose destination can change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::port::Port;

/// The port to forward connections to. With `None` they are accepted and never answered.
type Destination = Option<u16>;

/// A port that forwards connections to another port of 127.0.0.1. Dropping it closes everything.
pub(crate) struct Gate {
    pub(crate) port: u16,
    address: IpAddr,
    destination: watch::Sender<Destination>,
    tasks: JoinSet<()>,
    /// Keeps the port reserved while the gate is shut.
    _reservation: Option<Port>,
}

impl Gate {
    /// Opens a gate on a free port of 127.0.0.1.
    pub(crate) fn open(to: u16) -> Self {
        let port = Port::reserve();
        let gate = Self::at(Ipv4Addr::LOCALHOST.into(), port.number, to);
        Self { _reservation: Some(port), ..gate }
    }

    pub(crate) fn at(address: IpAddr, port: u16, to: u16) -> Self {
        let destination = watch::Sender::new(Some(to));
        let mut gate = Self { port, address, destination, tasks: JoinSet::new(), _reservation: None };
        gate.reopen();
        gate
    }

    /// Changes the destination of new connections and closes the others.
    pub(crate) fn lead(&self, destination: Destination) {
        self.destination.send_replace(destination);
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
        self.tasks.spawn(serve(listener, self.destination.subscribe()));
    }
}

async fn serve(listener: TcpListener, destination: watch::Receiver<Destination>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(lead(stream, destination.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn lead(mut stream: TcpStream, mut destination: watch::Receiver<Destination>) {
    let to = *destination.borrow_and_update();
    let through = async {
        let Some(port) = to else { return std::future::pending().await };
        let Ok(mut other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
        // An error of either side ends the connection.
        let _ = copy_bidirectional(&mut stream, &mut other).await;
    };
    tokio::select! {
        () = through => {}
        _ = destination.changed() => {}
    }
}
