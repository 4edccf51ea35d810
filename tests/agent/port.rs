//! A TCP port of 127.0.0.1 at which nobody listens until it is wanted.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that the system gives to nobody else. Connections to it are refused until somebody who is told its number
/// listens there.
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Bound and never listening. With `SO_REUSEADDR` on both sides, another socket may listen at it.
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
