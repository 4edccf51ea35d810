//! File descriptors of the process.

use std::io;
pub(crate) use std::os::fd::AsRawFd as AsDescriptor;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns how many the process may have.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit as far as the process may.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Some sandboxes forbid it; the present limit is enough for most.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Opens `pairs` pairs of sockets at once, and closes them.
///
/// # Errors
/// If the process may not have as many.
pub(crate) fn try_pairs(pairs: u64) -> io::Result<()> {
    (0..pairs).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>().map(drop)
}

/// Returns the number of the descriptor of `socket`: the lowest one that was free.
pub(crate) fn number(socket: &impl AsDescriptor) -> u64 {
    u64::try_from(socket.as_raw_fd()).unwrap_or_default()
}

/// Returns the error of a process that has as many as it may.
pub(crate) fn too_many() -> io::Error {
    Errno::MFILE.into()
}
