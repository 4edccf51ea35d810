//! Files and folders.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a file to read it. A pipe without a writer does not block.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Waits until `file`, a pipe, can be read, but not longer than `limit`. Returns whether it can.
pub(crate) fn wait_until_readable(file: &File, limit: Duration) -> io::Result<bool> {
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        // A signal came. Reading says whether there is something.
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns what distinguishes a file from all others: the device and the number on it.
pub(crate) fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns when the content changed, in seconds and nanoseconds since 1970.
pub(crate) fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Returns when the content or the metadata changed, in seconds and nanoseconds.
pub(crate) fn changed(metadata: &Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}

/// Creates a folder that only this user can read.
#[cfg_attr(not(feature = "demo"), expect(dead_code, reason = "only the demo has files of its own"))]
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Returns the name of a file whose encoded bytes are `bytes`.
pub(crate) fn name_of(bytes: &[u8]) -> Cow<'_, OsStr> {
    OsStr::from_bytes(bytes).into()
}
