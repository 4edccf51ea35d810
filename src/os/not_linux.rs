//! What systems other than Linux do instead.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use socket2::SockRef;

use crate::os::Usage;

/// A socket on which a service manager listens: there is none.
#[derive(Debug)]
pub(crate) struct NotifySocket(Infallible);

impl NotifySocket {
    /// Fails: only Linux has systemd.
    pub(crate) fn connect(_address: &OsStr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called.
    pub(crate) async fn send(&self, _message: &str) -> io::Result<()> {
        match self.0 {}
    }
}

/// A timer that wakes a runtime once: there is none.
#[derive(Debug)]
pub(crate) struct SystemTimer(Infallible);

impl SystemTimer {
    /// Fails: the timers of tokio are enough for developers.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called.
    pub(crate) fn set(&self, _after: Duration) {
        match self.0 {}
    }

    /// Never called.
    pub(crate) async fn rung(&self) -> io::Result<()> {
        match self.0 {}
    }
}

/// Does nothing: by default, these systems write no core dumps.
pub(crate) fn disable_core_dumps() {}

/// Does nothing: it would apply to the whole process.
pub(crate) fn lower_thread_priority() {}

/// Does nothing: the limits of keepalive apply.
pub(crate) fn limit_unacknowledged(_socket: &SockRef<'_>, _limit: Duration) -> io::Result<()> {
    Ok(())
}

/// Returns nothing: only `/proc` says it.
pub(crate) fn usage() -> Option<Usage> {
    None
}

/// Returns nothing that a service manager would read.
pub(crate) fn monotonic_microseconds() -> i64 {
    0
}
