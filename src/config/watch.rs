//! Detects changes of the content of the configuration file.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::{Config, LoadError, load};

/// How often the file is read. Reading a few kilobytes is simpler than following the symbolic links of a Kubernetes
/// `ConfigMap` with inotify, and misses no change.
const LOOK: Duration = Duration::from_secs(5);

/// A configuration file and a fingerprint of its last content.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    seen: u64,
}

impl Watch {
    /// Watches `path` for changes of its current content.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let seen = fingerprint(&load::read_again(&path));
        Self { path, seen }
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// If it cannot be read or is not a valid configuration.
    pub fn load(&mut self) -> Result<Config, LoadError> {
        let content = load::read_again(&self.path);
        self.seen = fingerprint(&content);
        self.parse(content)
    }

    /// Waits until the content of the file changes, and reads it. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::load`]. Each content and each read error is reported once.
    pub async fn changed(&mut self) -> Result<Config, LoadError> {
        loop {
            sleep(LOOK).await;
            let content = load::read_again(&self.path);
            let found = fingerprint(&content);
            if found != self.seen {
                self.seen = found;
                return self.parse(content);
            }
        }
    }

    /// Parses the content that was read, because the file may have changed again.
    fn parse(&self, content: Result<String, LoadError>) -> Result<Config, LoadError> {
        Config::from_file(&self.path, &content?)
    }
}

fn fingerprint(content: &Result<String, LoadError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match content {
        Ok(text) => text.hash(&mut hasher),
        Err(error) => crate::error::Chain(error).to_string().hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "targets: [{name: a, host: cache.example.com, identity: none}]\n";

    #[tokio::test(start_paused = true)]
    async fn only_changed_content_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, VALID).unwrap();
        let mut watch = Watch::new(path.clone());
        std::fs::write(&path, VALID).unwrap();
        assert!(tokio::time::timeout(LOOK * 3, watch.changed()).await.is_err(), "written, not changed");
        std::fs::write(&path, VALID.replace("name: a", "name: b")).unwrap();
        let config = tokio::time::timeout(LOOK * 2, watch.changed()).await.unwrap().unwrap();
        assert_eq!(config.targets[0].name.as_str(), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_points_elsewhere_is_a_change_and_a_fault_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second, link) =
            (folder.path().join("1"), folder.path().join("2"), folder.path().join("config.yaml"));
        std::fs::write(&first, VALID).unwrap();
        std::fs::write(&second, VALID.replace("name: a", "name: b")).unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let mut watch = Watch::new(link.clone());
        std::fs::remove_file(&link).unwrap();
        assert!(tokio::time::timeout(LOOK * 2, watch.changed()).await.unwrap().is_err());
        assert!(tokio::time::timeout(LOOK * 3, watch.changed()).await.is_err(), "reported already");
        std::os::unix::fs::symlink(&second, &link).unwrap();
        let config = tokio::time::timeout(LOOK * 2, watch.changed()).await.unwrap().unwrap();
        assert_eq!(config.targets[0].name.as_str(), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_is_read_at_the_start_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        let mut watch = Watch::new(path.clone());
        assert!(tokio::time::timeout(LOOK * 3, watch.changed()).await.is_err(), "nothing changes");
        assert!(watch.load().unwrap_err().to_string().ends_with("is read at the start only"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, VALID).unwrap();
        assert!(
            tokio::time::timeout(LOOK * 2, watch.changed()).await.unwrap().is_ok(),
            "a file took its place"
        );
    }
}
