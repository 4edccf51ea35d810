//! A socket on which a service manager listens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdUnixDatagram};

use tokio::net::UnixDatagram;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct NotifySocket(UnixDatagram);

impl NotifySocket {
    /// Connects to the socket at `address`: a path, or `@` and an abstract name. Must be called within a runtime.
    pub(crate) fn connect(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        let socket = StdUnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(UnixDatagram::from_std(socket)?))
    }

    /// Sends `message`. Waits while the service manager does not read.
    pub(crate) async fn send(&self, message: &str) -> io::Result<()> {
        self.0.send(message.as_bytes()).await.map(drop)
    }
}
