//! Searching: which commands are in the folders of PATH.
//!
//! One thread searches at a time. While it hangs at a folder, no other is started.

use std::ffi::OsString;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Files, Fingerprint, LIMIT, ReadError};

impl Files {
    /// Returns which of `commands` are files in one of the folders of `path`, a list as in PATH.
    ///
    /// # Errors
    /// [`ReadError::NoAnswer`] if that takes longer than [`LIMIT`], [`ReadError::NoThread`] if it cannot be begun.
    pub async fn search(
        &self,
        path: OsString,
        commands: &'static [&'static str],
    ) -> Result<Vec<&'static str>, ReadError> {
        let until = Instant::now() + LIMIT;
        let searching = Arc::clone(&self.0.searching).lock_owned();
        let searching = timeout_at(until, searching).await.map_err(|_| ReadError::NoAnswer)?;
        let (send, found) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        let search = move || {
            let exists = |command: &&str| {
                let mut places = std::env::split_paths(&path).map(|folder| folder.join(command));
                places.any(|place| matches!(shared.disk.look(&place), Fingerprint::Regular { .. }))
            };
            let found = commands.iter().copied().filter(exists).collect();
            drop(searching);
            // Who does not wait any more needs no result.
            drop(send.send(found));
        };
        let thread = thread::Builder::new().name("files".into()).spawn(search);
        thread.map_err(|error| ReadError::NoThread(Arc::new(error)))?;
        timeout_at(until, found).await.ok().and_then(Result::ok).ok_or(ReadError::NoAnswer)
    }
}
