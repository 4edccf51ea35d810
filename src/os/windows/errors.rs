//! Errors of system calls that `std` does not tell apart.

use std::io;

/// `ERROR_TOO_MANY_OPEN_FILES`, `ERROR_NOT_ENOUGH_MEMORY`, `ERROR_OUTOFMEMORY`, `WSAEMFILE` and `WSAENOBUFS`.
const EXHAUSTED: [i32; 5] = [4, 8, 14, 10024, 10055];

/// `WSAEAFNOSUPPORT`.
const WITHOUT_FAMILY: i32 = 10047;

/// Whether `error` says that this process or machine has used up its handles or memory.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

/// Whether `error` says that a version of IP is not installed.
pub(crate) fn is_without_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WITHOUT_FAMILY)
}
