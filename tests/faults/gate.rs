//! A TCP port that leads wherever it is told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Where connections lead to; `None` is nowhere: they are accepted and never answered.
type Way = Option<u16>;

/// A port whose connections lead to another port of 127.0.0.1. It closes when dropped, with all of them.
pub(crate) struct Gate {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Gate {
    /// One at a free port of 127.0.0.1.
    pub(crate) fn open(to: u16) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), 0, to)
    }

    pub(crate) fn at(address: IpAddr, port: u16, to: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddr::new(address, port).into()).unwrap();
        socket.listen(128).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = watch::Sender::new(Some(to));
        let task = tokio::spawn(serve(listener, way.subscribe()));
        Self { port, way, task }
    }

    /// Leads new connections elsewhere, and ends the others.
    pub(crate) fn lead(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
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
