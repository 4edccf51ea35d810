//! Resolving: where a path leads.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Files, LIMIT, ReadError};

impl Files {
    /// Returns the path of the file at `path` without symbolic links.
    ///
    /// # Errors
    /// [`ReadError`] if there is no such file, or no answer within [`LIMIT`].
    pub async fn resolve(&self, path: &Path) -> Result<PathBuf, ReadError> {
        let (send, found) = oneshot::channel();
        let path = path.to_owned();
        // Who does not wait any more needs no result.
        let resolve = move || drop(send.send(canonicalize(path)));
        let thread = thread::Builder::new().name("files".into()).spawn(resolve);
        thread.map_err(|error| ReadError::NoThread(Arc::new(error)))?;
        let found = timeout(LIMIT, found).await.ok().and_then(Result::ok).ok_or(ReadError::NoAnswer)?;
        Ok(found?)
    }
}
