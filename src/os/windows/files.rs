//! Files and folders.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Opens a file to read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns that `file`, a pipe or device, can be read: reading waits.
pub(crate) fn wait_until_readable(_file: &File, _limit: Duration) -> io::Result<bool> {
    Ok(true)
}

/// Returns what distinguishes a file from others at its path: when it was created. `std` does not tell its number.
pub(crate) fn id(metadata: &Metadata) -> (u64, u64) {
    (0, metadata.creation_time())
}

/// Returns when the content changed, in seconds and nanoseconds since 1970.
pub(crate) fn modified(metadata: &Metadata) -> (i64, i64) {
    split(metadata.last_write_time())
}

/// Returns when the content changed, in seconds and nanoseconds. `std` does not tell when the metadata did.
pub(crate) fn changed(metadata: &Metadata) -> (i64, i64) {
    modified(metadata)
}

/// Splits a time in units of 100 ns since 1601.
fn split(time: u64) -> (i64, i64) {
    /// The seconds from 1601 to 1970.
    const OFFSET: i64 = 11_644_473_600;
    let time = time.cast_signed();
    (time / 10_000_000 - OFFSET, time % 10_000_000 * 100)
}

/// Creates a folder. Its permissions are those of the folder that it is in; a user's folder for temporary files is private.
#[cfg_attr(not(feature = "demo"), expect(dead_code, reason = "only the demo has files of its own"))]
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Returns the name of a file whose encoded bytes are `bytes`.
pub(crate) fn name_of(bytes: &[u8]) -> Cow<'_, OsStr> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(name) => OsStr::new(name).into(),
        Cow::Owned(name) => Cow::Owned(name.into()),
    }
}
