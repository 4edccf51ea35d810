//! Listing: the names in a folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::disk::{Disk as _, System};
use super::reads::within;
use super::{Content, Files, Fingerprint, MAX_SIZE, ReadError, Snapshot};

impl Files {
    /// Returns the names in the folder at `path` as its content, in order, each with a NUL behind it. Blocks the caller's
    /// thread meanwhile, at most for `limit`.
    #[must_use]
    pub fn list_blocking(&self, path: &Path, limit: Duration) -> Snapshot {
        let folder = path.to_owned();
        let listed = within(limit, move || list(&folder));
        listed.unwrap_or(Snapshot { content: Err(ReadError::NoAnswer), fingerprint: Fingerprint::Unknown })
    }
}

fn list(path: &Path) -> Snapshot {
    // Before the names, so that a name that comes meanwhile is a change.
    let fingerprint = System.look(path);
    Snapshot { content: names(path), fingerprint }
}

fn names(path: &Path) -> Result<Content, ReadError> {
    let mut size = 0;
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        size += name.len() + 1;
        if size > MAX_SIZE {
            return Err(ReadError::TooLarge);
        }
        names.push(name);
    }
    names.sort_unstable();
    let mut content = Vec::with_capacity(size);
    for name in names {
        content.extend_from_slice(name.as_encoded_bytes());
        content.push(0);
    }
    Ok(Content(Arc::new(Zeroizing::new(content))))
}
