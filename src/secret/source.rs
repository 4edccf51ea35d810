//! The sources of secrets, and how a secret is read from them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tracing::warn;
use zeroize::Zeroizing;

use super::{MAX_LENGTH, Secret, Surplus};
use crate::files::{self, Content, Files, WatchedFile};
use crate::lock::lock;

/// The source of a secret. It is read at each sign-in, so a rotated secret needs no restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A file. One trailing line break is removed.
    File(PathBuf),
    /// An environment variable. One trailing line break is removed.
    Env(String),
}

impl SecretSource {
    /// Reads the secret from `files` or the environment.
    ///
    /// # Errors
    /// [`ReadError`] if it is missing, empty, not text or longer than [`MAX_LENGTH`].
    pub async fn read(&self, files: &Files) -> Result<Secret, ReadError> {
        match self {
            Self::File(path) => self.secret_in_file(files.read(path).await.content),
            Self::Env(name) => self.secret_in_variable(name),
        }
    }

    /// Reads the secret with `read_file` or from the environment.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(
        &self,
        read_file: impl FnOnce(&Path) -> Result<Content, files::ReadError>,
    ) -> Result<Secret, ReadError> {
        match self {
            Self::File(path) => self.secret_in_file(read_file(path)),
            Self::Env(name) => self.secret_in_variable(name),
        }
    }

    fn secret_in_file(&self, content: Result<Content, files::ReadError>) -> Result<Secret, ReadError> {
        let content = match content {
            Ok(content) => content,
            Err(files::ReadError::TooLarge) => return Err(self.error(Fault::TooLong)),
            Err(error) => return Err(self.error(Fault::Unreadable(error))),
        };
        let text = std::str::from_utf8(&content).map_err(|_| self.error(Fault::NotText))?;
        self.secret(text)
    }

    fn secret_in_variable(&self, name: &str) -> Result<Secret, ReadError> {
        match std::env::var(name) {
            Ok(text) => self.secret(&Zeroizing::new(text)),
            Err(std::env::VarError::NotPresent) => Err(self.error(Fault::Unset)),
            Err(std::env::VarError::NotUnicode(_)) => Err(self.error(Fault::NotText)),
        }
    }

    fn secret(&self, text: &str) -> Result<Secret, ReadError> {
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        match text.len() {
            0 => Err(self.error(Fault::Empty)),
            length if length > MAX_LENGTH => Err(self.error(Fault::TooLong)),
            _ => Ok(Secret::new(text.to_owned())),
        }
    }

    fn error(&self, fault: Fault) -> ReadError {
        ReadError { source: self.clone(), fault }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A secret that is read at each sign-in and watched in between.
#[derive(Clone, Debug)]
pub struct WatchedSecret {
    source: Arc<SecretSource>,
    files: Files,
    /// `None` for a variable: those of a running process do not change. Boxed, as each target has several clones.
    file: Option<Box<WatchedFile>>,
    /// What the secret had last that it probably has by mistake; `None` before it was read. Clones share it.
    surplus: Arc<Mutex<Option<Vec<Surplus>>>>,
}

impl WatchedSecret {
    /// Watches `source` among `files`.
    #[must_use]
    pub fn new(source: SecretSource, files: &Files) -> Self {
        let file = match &source {
            SecretSource::File(path) => Some(files.watch(path).into()),
            SecretSource::Env(_) => None,
        };
        Self { source: source.into(), files: files.clone(), file, surplus: Arc::default() }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// As [`SecretSource::read`].
    pub async fn read(&mut self) -> Result<Secret, ReadError> {
        let secret = match &mut self.file {
            Some(file) => self.source.secret_in_file(file.read().await),
            None => self.source.read(&self.files).await,
        }?;
        self.note_surplus(&secret);
        Ok(secret)
    }

    /// Warns if the secret has changed, and now begins or ends with what it probably has by mistake. Who read the
    /// configuration was warned of the first secret.
    fn note_surplus(&self, secret: &Secret) {
        let now: Vec<Surplus> = secret.surplus().collect();
        let mut last = lock(&self.surplus);
        if last.as_ref().is_some_and(|last| *last != now) {
            for surplus in &now {
                warn!(source = %self.source, detail = %surplus, "changed secret used as it is");
            }
        }
        *last = Some(now);
    }

    /// Waits until the secret may have changed since it was read. Cancel safe.
    pub async fn changed(&mut self) {
        match &mut self.file {
            Some(file) => file.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// A secret could not be read.
#[derive(Debug)]
pub struct ReadError {
    source: SecretSource,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(files::ReadError),
    Unset,
    NotText,
    Empty,
    TooLong,
}

impl ReadError {
    /// Whether the agent's own limits are the cause.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(&self.fault, Fault::Unreadable(error) if error.is_local())
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.fault {
            Fault::Unreadable(_) => write!(f, "the secret in {source} cannot be read"),
            Fault::Unset => write!(f, "the secret's {source} is not set"),
            Fault::NotText => write!(f, "the secret in {source} is not UTF-8 text"),
            Fault::Empty => write!(f, "the secret in {source} is empty"),
            Fault::TooLong => write!(f, "the secret in {source} is longer than {MAX_LENGTH} bytes"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(error) => Some(error),
            Fault::Unset | Fault::NotText | Fault::Empty | Fault::TooLong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: impl Into<PathBuf>) -> Result<Secret, ReadError> {
        let files = Files::system();
        SecretSource::File(path.into()).read_with(|path| files.read_blocking(path).content)
    }

    #[test]
    fn a_file_is_read_without_its_trailing_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "key=\r\n").unwrap();
        assert_eq!(read(file.path()).unwrap().expose(), "key=");
        std::fs::write(file.path(), "rotated").unwrap();
        assert_eq!(read(file.path()).unwrap().expose(), "rotated");
    }

    #[test]
    fn a_surplus_is_part_of_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, secret) in
            [("key\n\n", "key\n"), (" key ", " key "), ("\u{feff}key\r\n", "\u{feff}key"), ("'key'", "'key'")]
        {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(read(file.path()).unwrap().expose(), secret);
        }
    }

    #[test]
    fn a_missing_empty_endless_or_binary_secret_is_an_error_that_names_its_source() {
        let missing = read("/nonexistent/key").unwrap_err();
        assert_eq!(missing.to_string(), "the secret in file /nonexistent/key cannot be read");
        let unset = SecretSource::Env("CACHEPULSE_TEST_UNSET".into());
        let unset = unset.secret_in_variable("CACHEPULSE_TEST_UNSET").unwrap_err();
        assert_eq!(unset.to_string(), "the secret's environment variable CACHEPULSE_TEST_UNSET is not set");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().ends_with("is empty"));
        std::fs::write(file.path(), b"\xff\xfek\0").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().ends_with("is not UTF-8 text"));
        let endless = read("/dev/zero").unwrap_err();
        assert!(endless.to_string().ends_with("is longer than 16384 bytes"), "{endless}");
    }
}
