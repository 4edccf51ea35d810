//! The operating system: what Linux, macOS and Windows do differently, and what only some of them have.
//!
//! No other module asks for which system it is compiled. `unix` and `windows` have the same modules and functions. `linux` has
//! what other systems lack, and `not_linux` says what happens there instead. The agent runs on Linux, and developers use
//! `check`, `validate` and `demo` on all three.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod not_linux;
#[cfg(any(windows, test))]
mod path_search;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use self::linux as kernel;
#[cfg(not(target_os = "linux"))]
use self::not_linux as kernel;
#[cfg(unix)]
use self::unix as family;
#[cfg(windows)]
use self::windows as family;

pub(crate) use self::family::{
    HiddenInput, children, descriptors, errors, files, host_name, reuse_address, signals,
};
pub(crate) use self::kernel::{
    NotifySocket, SystemTimer, disable_core_dumps, limit_unacknowledged, lower_thread_priority,
    monotonic_microseconds, usage,
};

/// What the process uses of the machine.
#[derive(Debug)]
pub(crate) struct Usage {
    /// The time that it has used the processors, in seconds.
    pub(crate) cpu_seconds: f64,
    pub(crate) threads: u64,
    pub(crate) open_descriptors: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    /// When it was started, in seconds since 1970.
    pub(crate) started: f64,
}
