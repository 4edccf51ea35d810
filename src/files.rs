//! The files that a user names: reads them and notices their changes, away from the main loop.
//!
//! Every access may hang: a network file system whose server is gone, a pipe without a writer. So each access happens on
//! a thread of its own, a read that takes longer than [`LIMIT`] fails, and a thread that hangs is left behind. Until it
//! returns, its file is neither read nor looked at again. What the content means is left to the callers.

mod disk;
mod fingerprint;
mod listing;
mod reads;
mod resolve;
mod search;
mod turns;
mod watch;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use zeroize::Zeroizing;

use self::disk::Disk;
pub use self::fingerprint::Fingerprint;
use self::reads::Reads;
pub use self::reads::within;
use self::watch::Watched;
pub use self::watch::WatchedFile;
use crate::error::is_local;
use crate::escaped::bytes_as_text;

/// The longest time that a read may take.
pub const LIMIT: Duration = Duration::from_secs(2);

/// The largest file that is read, in bytes: 1 MiB, a configuration of some 10,000 targets.
pub const MAX_SIZE: usize = 1024 * 1024;

/// How often watched files are looked at. Asking for a file's metadata is simpler than following the symbolic links of a
/// Kubernetes volume with inotify, and works on every file system. Each look wakes an idle agent; who signs in or opens a
/// connection reads the files anew anyway.
const LOOK: Duration = Duration::from_secs(3);

/// Reads files and watches them. Clones share their work: a file is read by one thread at a time, and looked at once for
/// all who watch it.
#[derive(Clone)]
pub struct Files(Arc<Shared>);

struct Shared {
    disk: Box<dyn Disk>,
    reads: Mutex<Reads>,
    watched: Mutex<Watched>,
    /// Notified when a file begins to be watched.
    is_watching: Notify,
    /// Held by the thread that searches.
    searching: Arc<tokio::sync::Mutex<()>>,
}

impl Files {
    /// Returns the files of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::on(disk::System)
    }

    fn on(disk: impl Disk + 'static) -> Self {
        Self(Arc::new(Shared {
            disk: Box::new(disk),
            reads: Mutex::default(),
            watched: Mutex::default(),
            is_watching: Notify::new(),
            searching: Arc::default(),
        }))
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The content, or why there is none.
    pub content: Result<Content, ReadError>,
    /// Which state of the file was read.
    pub fingerprint: Fingerprint,
}

/// The content of a file. Zeroed when dropped and not shown, because it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Arc<Zeroizing<Vec<u8>>>);

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.len())
    }
}

/// A file could not be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The system's error.
    System(Arc<io::Error>),
    /// It is larger than [`MAX_SIZE`].
    TooLarge,
    /// It was not read within [`LIMIT`].
    NoAnswer,
    /// The thread that was to read it could not be started.
    NoThread(Arc<io::Error>),
}

impl ReadError {
    /// Whether the agent's own limits are the cause: no thread, descriptor or memory was left.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::System(error) => is_local(error),
            Self::NoThread(_) => true,
            Self::TooLarge | Self::NoAnswer => false,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::TooLarge => write!(f, "it is larger than {} MiB", MAX_SIZE >> 20),
            Self::NoAnswer => write!(f, "no answer within {} s", LIMIT.as_secs()),
            Self::NoThread(error) => write!(f, "no thread can be started: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Returns `path` as text, a different one for each path: bytes that are no UTF-8 are escaped, and so are backslashes.
#[must_use]
pub fn escaped(path: &Path) -> String {
    let parts: Vec<&[u8]> = path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'\\').collect();
    bytes_as_text(&parts.join(&br"\\"[..]))
}

/// The byte order mark that editors on Windows write at the start of UTF-8 files.
const MARK: &str = "\u{feff}";

/// Returns `content` without a byte order mark.
#[must_use]
pub fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(MARK.as_bytes()).unwrap_or(content)
}

/// Returns `text` without a byte order mark.
#[must_use]
pub fn text_without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests;
