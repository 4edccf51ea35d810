//! The files that a configuration is read from: its own, and those that it names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::files::{Content, Files, Fingerprint, ReadError, Snapshot};

/// Reads the files of one configuration, each once, and keeps in mind what was read. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sources {
    files: Files,
    read: Rc<RefCell<BTreeMap<PathBuf, Snapshot>>>,
}

impl Sources {
    /// Creates sources among `files`, of which none was read.
    #[must_use]
    pub fn new(files: &Files) -> Self {
        Self { files: files.clone(), read: Rc::default() }
    }

    /// Returns the content of the file at `path`.
    pub(super) fn read(&self, path: &Path) -> Result<Content, ReadError> {
        let mut read = self.read.borrow_mut();
        if let Some(snapshot) = read.get(path) {
            return snapshot.content.clone();
        }
        let snapshot = self.files.read_blocking(path);
        read.entry(path.to_owned()).or_insert(snapshot).content.clone()
    }

    /// Returns where the files are read.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Returns the files that were read, and which state of each.
    pub(super) fn fingerprints(&self) -> Vec<(PathBuf, Fingerprint)> {
        let read = self.read.borrow();
        read.iter().map(|(path, snapshot)| (path.clone(), snapshot.fingerprint)).collect()
    }

    /// Returns what tells the files that were read, and their contents and errors, from others.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, Snapshot { content, .. }) in &*self.read.borrow() {
            path.hash(&mut hasher);
            content.as_deref().map_err(ToString::to_string).hash(&mut hasher);
        }
        hasher.finish()
    }
}
