//! Handles of the process. Only memory limits their number.

use std::io;
pub(crate) use std::os::windows::io::AsRawSocket as AsDescriptor;

/// Returns how many the process may have.
pub(crate) fn limit() -> u64 {
    u64::MAX
}

/// Does nothing: there is no limit.
pub fn raise_limit() {}

/// Does nothing: there is no limit.
///
/// # Errors
/// Never.
pub(crate) fn try_pairs(_pairs: u64) -> io::Result<()> {
    Ok(())
}

/// Returns 0, which is far from the limit.
pub(crate) fn number(_socket: &impl AsDescriptor) -> u64 {
    0
}

/// Returns the error of a process that has as many as it may.
pub(crate) fn too_many() -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}
