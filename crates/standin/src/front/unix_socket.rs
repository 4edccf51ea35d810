//! Connections to a real redis-server through a Unix socket. The only file that depends on the operating system.

use std::io;
use std::path::Path;

use super::upstream::Stream;

/// Connects to the server that listens at `path`.
#[cfg(unix)]
pub(super) async fn connect(path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

/// Fails: there are no Unix sockets.
#[cfg(not(unix))]
pub(super) async fn connect(_path: &Path) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
}
