//! Errors of system calls that `std` does not tell apart.

use std::io;

use rustix::io::Errno;

/// Whether `error` says that this process or machine has used up its file descriptors or memory.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

/// Whether `error` says that a version of IP is not compiled in.
pub(crate) fn is_without_family(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}
