//! The accesses that may block: metadata and content of one file.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Content, Fingerprint, LIMIT, MAX_SIZE, ReadError, Snapshot};
use crate::os;

/// How long a pipe is read. A little less than the limit, so that the reader is back when it ends.
const PIPE_LIMIT: Duration = LIMIT.saturating_sub(Duration::from_millis(50));

/// How many bytes a pipe holds.
const PIPE_SIZE: usize = 64 * 1024;

/// Accesses files. Every method may block for any time.
pub(super) trait Disk: Send + Sync {
    /// Looks at a file without opening it: that would disturb the writer of a pipe.
    fn look(&self, path: &Path) -> Fingerprint;

    /// Reads a file, which was `found` like this.
    fn read(&self, path: &Path, found: Fingerprint) -> Snapshot;
}

/// The disks of this machine.
pub(super) struct System;

impl Disk for System {
    fn look(&self, path: &Path) -> Fingerprint {
        match path.metadata() {
            Ok(metadata) => Fingerprint::of(&metadata),
            Err(error) => Fingerprint::Failed(error.kind()),
        }
    }

    fn read(&self, path: &Path, found: Fingerprint) -> Snapshot {
        let opened = os::files::open(path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Err(error) => Snapshot { content: Err(error.into()), fingerprint: found },
            Ok((metadata, file)) => {
                Snapshot { content: content(&file, &metadata), fingerprint: Fingerprint::of(&metadata) }
            }
        }
    }
}

fn content(file: &File, metadata: &Metadata) -> Result<Content, ReadError> {
    let is_plain = metadata.is_file() || metadata.is_dir();
    let size = if is_plain { usize::try_from(metadata.len()).unwrap_or(MAX_SIZE) } else { PIPE_SIZE };
    // Allocated at once: a vector that grows would leave copies of a secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(MAX_SIZE) + 1));
    if is_plain {
        file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    } else {
        read_pipe(file, &mut bytes)?;
    }
    if bytes.len() > MAX_SIZE { Err(ReadError::TooLarge) } else { Ok(Content(Arc::new(bytes))) }
}

/// Reads to the end, which is the end of the last writer, or a little beyond the largest size.
fn read_pipe(mut file: &File, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
    let until = Instant::now() + PIPE_LIMIT;
    let mut piece = Zeroizing::new([0; 4096]);
    while bytes.len() <= MAX_SIZE {
        let left = until.saturating_duration_since(Instant::now());
        if !os::files::wait_until_readable(file, left)? {
            return Err(ReadError::NoAnswer);
        }
        match file.read(&mut *piece) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
