//! What tells one state of a file from another, without its content.

use std::fs::Metadata;
use std::io;
use std::time::{Duration, SystemTime};

use crate::clock::Clock;
use crate::os;

/// The coarsest resolution of a file's times: two seconds, on FAT. A file that changed more recently may change again
/// without a trace in its times.
const RESOLUTION: Duration = Duration::from_secs(2);

/// A state of a file. Another state has another fingerprint.
///
/// A file that has just changed has another fingerprint again once its times are certain, so each change may be noticed
/// twice, but none is missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fingerprint {
    /// Nothing is known: the file was not looked at, or there was no answer.
    #[default]
    Unknown,
    /// The metadata cannot be read, mostly because there is no such file.
    Failed(io::ErrorKind),
    /// A regular file.
    Regular {
        /// The device and the number on it.
        inode: (u64, u64),
        /// The size in bytes.
        size: u64,
        /// When the content changed, in seconds and nanoseconds.
        modified: (i64, i64),
        /// When the content or the metadata changed, in seconds and nanoseconds.
        changed: (i64, i64),
        /// Whether that is so recent that the times may stay the same if it changes again.
        is_recent: bool,
    },
    /// A directory. Its times change with the names in it.
    Folder {
        /// The device and the number on it.
        inode: (u64, u64),
        /// When a name came, changed or went, in seconds and nanoseconds.
        modified: (i64, i64),
        /// Whether that is so recent that the time may stay the same if another one does.
        is_recent: bool,
    },
    /// A pipe or device. Its times change when it is used.
    Special {
        /// The device and the number on it.
        inode: (u64, u64),
    },
}

impl Fingerprint {
    /// Returns the fingerprint of the file with this `metadata`.
    #[must_use]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let inode = os::files::id(metadata);
        let (modified, changed) = (os::files::modified(metadata), os::files::changed(metadata));
        let now = Clock::system().now();
        let is_recent = metadata
            .modified()
            .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age < RESOLUTION));
        if metadata.is_dir() {
            return Self::Folder { inode, modified, is_recent };
        } else if !metadata.is_file() {
            return Self::Special { inode };
        }
        Self::Regular { inode, size: metadata.len(), modified, changed, is_recent }
    }

    /// Returns when the content of a regular file changed; `None` for anything else, and for a time before 1970.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        let Self::Regular { modified: (seconds, nanoseconds), .. } = self else { return None };
        let since = Duration::new(u64::try_from(*seconds).ok()?, u32::try_from(*nanoseconds).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}
