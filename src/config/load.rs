//! Reads the text of configuration files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Problems, file};
use crate::secret::may_hold_password;

/// Returns the text of the configuration file at `path`, at most 1 MiB, for
/// [`Config::from_yaml`](super::Config::from_yaml) and for the detection of changes.
///
/// # Errors
/// If it cannot be read, is too large or is not UTF-8.
pub fn read_file(path: &Path) -> Result<String, LoadError> {
    text(path, file::read(path))
}

/// Rereads the configuration file at `path`, only if it is a regular file. A pipe was read to its end the first time, and a
/// second read would wait forever.
pub(super) fn read_again(path: &Path) -> Result<String, LoadError> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
            Err(LoadError::new(path, LoadFault::NotRegular))
        }
        _ => read_file(path),
    }
}

/// Converts the `content` of the file at `path` to text.
pub(super) fn text(path: &Path, content: io::Result<Vec<u8>>) -> Result<String, LoadError> {
    let content = content.map_err(|error| LoadError::new(path, LoadFault::Unreadable(error)))?;
    String::from_utf8(content).map_err(|_| LoadError::new(path, LoadFault::NotText))
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
    Unreadable(io::Error),
    /// It is not a regular file, so it can be read only once, at the start.
    NotRegular,
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
            LoadFault::NotRegular => {
                write!(
                    f,
                    "the configuration file {path} is not a regular file, and is read at the start only"
                )
            }
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
            LoadFault::NotRegular | LoadFault::NotText | LoadFault::Invalid(_) => None,
        }
    }
}
