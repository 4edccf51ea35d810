//! A reserved TCP port of 127.0.0.1 that refuses connections until a test listens on it.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that the system assigns to no other process. It refuses connections until a process listens on its number.
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Bound but not listening. With `SO_REUSEADDR` on both sides, another socket can listen on the port.
    _reservation: Socket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _reservation: socket }
    }
}
