//! Configuration files, from their path to their text.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Problems, file};

/// The text of the configuration file at `path`, at most 1 MiB. For [`Config::from_yaml`](super::Config::from_yaml),
/// and for noticing that the file has changed.
///
/// # Errors
/// When it cannot be read, is too large or is not UTF-8.
pub fn read_file(path: &Path) -> Result<String, LoadError> {
    text(path, file::read(path))
}

/// The text that is the `content` of the file at `path`.
pub(super) fn text(path: &Path, content: io::Result<Vec<u8>>) -> Result<String, LoadError> {
    let content = content.map_err(|error| LoadError::new(path, LoadFault::Unreadable(error)))?;
    String::from_utf8(content).map_err(|_| LoadError::new(path, LoadFault::NotText))
}

/// No configuration came out of a file.
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
        let path = self.path.display();
        match &self.fault {
            LoadFault::Unreadable(_) => write!(f, "the configuration file {path} cannot be read"),
            LoadFault::NotText => write!(f, "the configuration file {path} is not UTF-8 text"),
            LoadFault::Invalid(_) => write!(f, "the configuration file {path} is not valid"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            LoadFault::Unreadable(error) => Some(error),
            LoadFault::NotText => None,
            LoadFault::Invalid(problems) => Some(problems),
        }
    }
}
