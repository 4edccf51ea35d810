//! Reads the text of configuration files.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Problems;
use crate::files::{MAX_SIZE, ReadError};
use crate::secret::may_hold_password;

/// Reads `reader` to its end. More than [`MAX_SIZE`] is an error, and is not kept in memory.
pub(super) fn read(reader: impl io::Read) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    reader.take(MAX_SIZE as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_SIZE { Err(ReadError::TooLarge) } else { Ok(content) }
}

/// Parses the `content` of the configuration file at `path` with `parse`, which gets the file's name and its text.
pub(super) fn from_file<T>(
    path: &Path,
    content: Result<impl AsRef<[u8]>, ReadError>,
    parse: impl FnOnce(&str, &str) -> Result<T, Problems>,
) -> Result<T, LoadError> {
    let content = content.map_err(|error| LoadError::new(path, LoadFault::Unreadable(error)))?;
    let yaml = str::from_utf8(content.as_ref()).map_err(|_| LoadError::new(path, LoadFault::NotText))?;
    parse(&path.to_string_lossy(), yaml)
        .map_err(|problems| LoadError::new(path, LoadFault::Invalid(problems)))
}

/// Why a file did not result in a configuration.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: LoadFault,
}

/// What is wrong with a configuration file.
#[derive(Debug)]
pub enum LoadFault {
    /// It cannot be read, or is too large.
    Unreadable(ReadError),
    /// It is not UTF-8.
    NotText,
    /// It has problems.
    Invalid(Problems),
}

impl LoadError {
    pub(super) fn new(path: &Path, fault: LoadFault) -> Self {
        Self { path: path.to_owned(), fault }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = shown(&self.path);
        match &self.fault {
            LoadFault::Unreadable(_) => write!(f, "the configuration file {path} cannot be read"),
            LoadFault::NotText => write!(f, "the configuration file {path} is not UTF-8 text"),
            // Each problem names the file.
            LoadFault::Invalid(problems) => write!(f, "{problems}"),
        }
    }
}

/// Returns `path` for a message, without anything that may be a password.
fn shown(path: &Path) -> std::borrow::Cow<'_, str> {
    let path = path.to_string_lossy();
    let is_path = !path.contains("://") && !path.contains('=');
    if !is_path && may_hold_password(&path) { "<redacted>".into() } else { path }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            LoadFault::Unreadable(error) => Some(error),
            LoadFault::NotText | LoadFault::Invalid(_) => None,
        }
    }
}
