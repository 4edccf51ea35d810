//! A timer of the kernel (timerfd), which wakes a runtime once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that is not set at first.
#[derive(Debug)]
pub(crate) struct SystemTimer(AsyncFd<OwnedFd>);

impl SystemTimer {
    /// Must be called within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(deprecated, reason = "its successor is unsafe; the descriptor is owned and never replaced")]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Lets it ring once, `after` this time. Forgets what it was set to.
    pub(crate) fn set(&self, after: Duration) {
        // Zero would mean never.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &value)
            .expect("the descriptor is a timer, and the time is valid");
    }

    /// Waits until it rings.
    ///
    /// # Errors
    /// The runtime ends.
    pub(crate) async fn rung(&self) -> io::Result<()> {
        // It is not read: setting it again makes it unreadable until it rings the next time.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
