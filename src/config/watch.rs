//! Reloads the configuration file when it changes, or, while it is rejected, when any file changes that it names.
//!
//! A configuration is loaded on a thread of its own, because its files may hang and its parsing takes a while.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use futures_util::future::select_all;
use tokio::sync::oneshot;

use super::{Config, LoadError, LoadFault, Sources};
use crate::error::Chain;
use crate::files::{Files, Fingerprint, ReadError, WatchedFile};

/// A configuration file, and the files that may change what it means.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    files: Files,
    watched: Vec<WatchedFile>,
    is_requested: bool,
    loading: Option<Loading>,
    /// What was loaded last, so that each content and each error is reported once.
    last: u64,
}

/// A load that is under way.
#[derive(Debug)]
struct Loading {
    loaded: oneshot::Receiver<Loaded>,
    is_requested: bool,
}

/// The result of a load.
#[derive(Debug)]
struct Loaded {
    config: Result<Config, LoadError>,
    fingerprints: HashMap<PathBuf, Fingerprint>,
    digest: u64,
}

impl Watch {
    /// Watches the configuration file at `path` since it was loaded from `sources`.
    #[must_use]
    pub fn new(path: PathBuf, sources: &Sources) -> Self {
        let mut watch = Self {
            files: sources.files().clone(),
            watched: Vec::new(),
            is_requested: false,
            loading: None,
            last: digest(&path, sources, None),
            path,
        };
        watch.watch(&sources.fingerprints(), false);
        watch
    }

    /// Requests a reload, whether or not a file has changed. [`Self::next`] returns its result.
    pub fn reload(&mut self) {
        self.is_requested = true;
    }

    /// Waits for the next configuration. Cancel safe.
    ///
    /// # Errors
    /// If it cannot be read or is not a valid configuration.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, unless the loader does")]
    pub async fn next(&mut self) -> Result<Config, LoadError> {
        loop {
            let Some(loading) = &mut self.loading else {
                if !self.is_requested {
                    any_changed(&mut self.watched).await;
                }
                match self.start() {
                    Ok(loading) => self.loading = Some(loading),
                    Err(error) => return Err(error),
                }
                continue;
            };
            let loaded = (&mut loading.loaded).await.expect("a loader that panics is a defect");
            let is_requested = loading.is_requested;
            self.loading = None;
            self.watch(&loaded.fingerprints, loaded.config.is_err());
            let is_new = std::mem::replace(&mut self.last, loaded.digest) != loaded.digest;
            if is_requested || is_new {
                return loaded.config;
            }
        }
    }

    /// Watches the configuration file, and all other files as well if it was rejected.
    fn watch(&mut self, fingerprints: &HashMap<PathBuf, Fingerprint>, is_rejected: bool) {
        let watched = fingerprints.iter().filter(|(path, _)| is_rejected || **path == self.path);
        self.watched = watched.map(|(path, seen)| self.files.watch_since(path, *seen)).collect();
    }

    fn start(&mut self) -> Result<Loading, LoadError> {
        let is_requested = std::mem::take(&mut self.is_requested);
        let (send, loaded) = oneshot::channel();
        let (path, files) = (self.path.clone(), self.files.clone());
        let thread = thread::Builder::new().name("config".into());
        match thread.spawn(move || drop(send.send(load(&path, &files)))) {
            Ok(_) => Ok(Loading { loaded, is_requested }),
            Err(error) => {
                let fault = LoadFault::Unreadable(ReadError::NoThread(Arc::new(error)));
                Err(LoadError::new(&self.path, fault))
            }
        }
    }
}

async fn any_changed(watched: &mut [WatchedFile]) {
    if watched.is_empty() {
        return pending().await;
    }
    select_all(watched.iter_mut().map(|file| Box::pin(file.changed()))).await;
}

fn load(path: &Path, files: &Files) -> Loaded {
    let sources = Sources::new(files);
    let config = Config::load(path, &sources);
    let digest = digest(path, &sources, config.as_ref().err());
    Loaded { config, fingerprints: sources.fingerprints(), digest }
}

/// Returns what tells one result of a load from another.
fn digest(path: &Path, sources: &Sources, error: Option<&LoadError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let content = sources.read(path).ok();
    content.as_deref().hash(&mut hasher);
    error.map(|error| Chain(error).to_string()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::time::timeout;

    const VALID: &str = "targets: [{name: a, host: cache.example.com, identity: none}]\n";

    const LOOK: Duration = Duration::from_millis(20);
    /// Far longer than anything here takes.
    const LONG: Duration = Duration::from_secs(20);

    /// A folder with a configuration file.
    struct Folder {
        folder: tempfile::TempDir,
        files: Files,
    }

    impl Folder {
        fn new() -> Self {
            let it = Self { folder: tempfile::tempdir().unwrap(), files: Files::system() };
            it.write("config.yaml", VALID);
            it
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let new = self.path("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.path(name)).unwrap();
        }

        /// Loads the file and watches it.
        fn watch(&self) -> Watch {
            tokio::spawn(self.files.clone().run_every(LOOK));
            let sources = Sources::new(&self.files);
            Config::load(&self.path("config.yaml"), &sources).unwrap();
            Watch::new(self.path("config.yaml"), &sources)
        }
    }

    async fn next(watch: &mut Watch) -> Result<Config, LoadError> {
        timeout(LONG, watch.next()).await.expect("nothing is loaded")
    }

    async fn assert_quiet(watch: &mut Watch) {
        assert!(timeout(LOOK * 20, watch.next()).await.is_err());
    }

    fn name(config: &Config) -> &str {
        config.targets[0].name.as_str()
    }

    #[tokio::test]
    async fn a_change_between_loading_and_watching_is_loaded_and_the_same_content_is_not() {
        let it = Folder::new();
        let mut watch = it.watch();
        it.write("config.yaml", &VALID.replace("name: a", "name: b"));
        assert_eq!(name(&next(&mut watch).await.unwrap()), "b");
        it.write("config.yaml", &VALID.replace("name: a", "name: b"));
        assert_quiet(&mut watch).await;
        watch.reload();
        assert_eq!(name(&next(&mut watch).await.unwrap()), "b", "as requested");
    }

    #[tokio::test]
    async fn a_rejected_file_is_reported_once_and_loaded_when_a_file_that_it_names_appears() {
        let it = Folder::new();
        let mut watch = it.watch();
        let secret = format!("identity: {{type: password, password: {{file: {}}}}}", it.path("pw").display());
        it.write("config.yaml", &VALID.replace("identity: none", &secret));
        assert!(next(&mut watch).await.unwrap_err().to_string().contains("cannot be read: No such file"));
        it.write("pw", "\n");
        assert!(next(&mut watch).await.unwrap_err().to_string().contains("is empty"));
        it.write("pw", "\n");
        assert_quiet(&mut watch).await;
        it.write("pw", "s3cret");
        assert!(next(&mut watch).await.is_ok());
        it.write("pw", "rotated");
        assert_quiet(&mut watch).await;
    }

    #[tokio::test]
    async fn a_pipe_in_place_of_the_file_is_rejected_until_a_file_takes_its_place() {
        let it = Folder::new();
        let mut watch = it.watch();
        let path = it.path("config.yaml");
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        let error = next(&mut watch).await.unwrap_err();
        assert!(Chain(&error).to_string().ends_with("cannot be read: no answer within 2 s"), "{error}");
        it.write("config.yaml", VALID);
        assert!(next(&mut watch).await.is_ok());
    }

    #[tokio::test]
    async fn dropping_the_wait_often_does_not_delay_a_reload() {
        let it = Folder::new();
        let mut watch = it.watch();
        it.write("config.yaml", &VALID.replace("name: a", "name: b"));
        let often = async {
            loop {
                if let Ok(loaded) = timeout(LOOK / 2, watch.next()).await {
                    return loaded;
                }
            }
        };
        let loaded = timeout(LONG, often).await.expect("nothing is loaded");
        assert_eq!(name(&loaded.unwrap()), "b");
    }

    #[tokio::test]
    async fn a_link_that_points_elsewhere_is_a_change() {
        let it = Folder::new();
        std::fs::rename(it.path("config.yaml"), it.path("1")).unwrap();
        it.write("2", &VALID.replace("name: a", "name: b"));
        std::os::unix::fs::symlink("1", it.path("config.yaml")).unwrap();
        let mut watch = it.watch();
        std::fs::remove_file(it.path("config.yaml")).unwrap();
        std::os::unix::fs::symlink("2", it.path("config.yaml")).unwrap();
        assert_eq!(name(&next(&mut watch).await.unwrap()), "b");
    }
}
