//! Linux.

mod notify_socket;
mod timer;
mod usage;

use std::io;
use std::time::Duration;

use rustix::process::{DumpableBehavior, nice, set_dumpable_behavior};
use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;

pub(crate) use self::notify_socket::NotifySocket;
pub(crate) use self::timer::SystemTimer;
pub(crate) use self::usage::usage;

/// The lowest priority of a thread.
const LOWEST: i32 = 19;

/// Disables core dumps, which would write the tokens and keys in memory to a disk.
pub(crate) fn disable_core_dumps() {
    // Some sandboxes forbid it, which must not prevent the start.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Lets this thread run only while nothing else needs the processor.
pub(crate) fn lower_thread_priority() {
    // The process then is only less considerate.
    let _ = nice(LOWEST);
}

/// Ends a connection whose peer acknowledges nothing for `limit`.
pub(crate) fn limit_unacknowledged(socket: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(limit))
}

/// Returns the monotonic time as systemd measures it.
pub(crate) fn monotonic_microseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}
