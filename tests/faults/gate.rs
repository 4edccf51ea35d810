//! A TCP port that leads wherever it is told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::port::Port;

/// Where connections lead to; `None` is nowhere: they are accepted and never answered.
type Way = Option<u16>;

/// A port whose connections lead to another port of 127.0.0.1. It closes when dropped, with all of them.
pub(crate) struct Gate {
    pub(crate) port: u16,
    address: IpAddr,
    way: watch::Sender<Way>,
    tasks: JoinSet<()>,
    /// Nobody else is given its port while it is shut.
    _reservation: Option<Port>,
}

impl Gate {
    /// One at a free port of 127.0.0.1.
    pub(crate) fn open(to: u16) -> Self {
        let port = Port::reserve();
        let gate = Self::at(Ipv4Addr::LOCALHOST.into(), port.number, to);
        Self { _reservation: Some(port), ..gate }
    }

    pub(crate) fn at(address: IpAddr, port: u16, to: u16) -> Self {
        let way = watch::Sender::new(Some(to));
        let mut gate = Self { port, address, way, tasks: JoinSet::new(), _reservation: None };
        gate.reopen();
        gate
    }

    /// Leads new connections elsewhere, and ends the others.
    pub(crate) fn lead(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Ends all connections, and refuses new ones.
    pub(crate) async fn shut(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Takes connections again.
    pub(crate) fn reopen(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::new(self.address, self.port).into()).unwrap();
        socket.listen(128).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        self.tasks.spawn(serve(listener, self.way.subscribe()));
    }
}

async fn serve(listener: TcpListener, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(lead(stream, way.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn lead(mut stream: TcpStream, mut way: watch::Receiver<Way>) {
    let to = *way.borrow_and_update();
    let through = async {
        let Some(port) = to else { return std::future::pending().await };
        let Ok(mut other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
        // That one side is gone is the end, whichever it is.
        let _ = copy_bidirectional(&mut stream, &mut other).await;
    };
    tokio::select! {
        () = through => {}
        _ = way.changed() => {}
    }
}
