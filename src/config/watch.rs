//! Loads a configuration again when its file changes, or, while it is rejected, when any file changes that it names.
//!
//! A configuration is loaded on a thread of its own, because its files may hang and its parsing takes a while.

use std::fmt;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::debug;

use super::sources::Read;
use super::{Config, Sources};
use crate::files::{Files, WatchedFile};

/// The pause before a thread is tried again that could not be started.
const RETRY: Duration = Duration::from_secs(2);

/// Loads a configuration, and all files that it names.
pub type Load<T = Config> = Arc<dyn Fn(&Sources) -> Result<T, Rejection> + Send + Sync>;

/// Why a configuration cannot be used.
pub type Rejection = Box<dyn std::error::Error + Send + Sync>;

/// The files that may change what the configuration is: its own, unless it comes from flags, and those that it names.
pub struct Watch<T = Config> {
    /// The configuration file.
    path: Option<PathBuf>,
    load: Load<T>,
    files: Files,
    watched: Vec<WatchedFile>,
    /// The web configuration that guards the agent, once a configuration is in use.
    guarded_by: Option<PathBuf>,
    in_use: InUse,
    /// Whether to load, and whether to return the result in any case.
    is_due: bool,
    is_requested: bool,
    loading: Option<oneshot::Receiver<Loaded<T>>>,
    /// The digests of what was loaded last, so that the same contents and errors are reported once: of the configuration, and of
    /// its web configuration.
    last: (u64, u64),
}

/// Which of the configurations that were returned is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InUse {
    None,
    Last,
    Earlier,
}

/// The result of a load.
#[derive(Debug)]
struct Loaded<T> {
    config: Result<T, Rejection>,
    read: Read,
}

impl<T> Loaded<T> {
    fn new(load: &Load<T>, sources: &Sources) -> Self {
        let config = load(sources);
        Self { config, read: sources.summary() }
    }
}

impl<T: Send + 'static> Watch<T> {
    /// Watches a configuration that `load` loads, and has loaded from `sources`: that of the file at `path`, or of flags. It
    /// counts as rejected until it is [`Self::accepted`].
    #[must_use]
    pub fn new(path: Option<PathBuf>, load: Load<T>, sources: &Sources) -> Self {
        Self::since(path, load, sources.files(), &sources.summary())
    }

    /// Watches a configuration that was loaded from `files` when they were `read`; see [`Self::new`].
    pub(super) fn since(path: Option<PathBuf>, load: Load<T>, files: &Files, read: &Read) -> Self {
        let mut watch = Self {
            path,
            load,
            files: files.clone(),
            watched: Vec::new(),
            guarded_by: None,
            in_use: InUse::None,
            is_due: false,
            is_requested: false,
            loading: None,
            last: (read.digest, read.web_digest),
        };
        watch.watch(read);
        watch
    }

    /// Whether there is a configuration file. Flags do not change while the process runs.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// Returns the configuration file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Requests a reload, whether or not a file has changed. [`Self::next`] returns its result.
    pub fn reload(&mut self) {
        self.is_due = true;
        self.is_requested = true;
    }

    /// Whether the result of a [`Self::reload`] is still to come.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.is_requested
    }

    /// Reports that the last configuration is in use, and which web configuration guards the agent. Then only the configuration
    /// file is watched: who uses the files that it names watches those.
    pub fn accepted(&mut self, guarded_by: Option<&Path>) {
        self.in_use = InUse::Last;
        self.guarded_by = guarded_by.map(Path::to_owned);
        self.watch_only_own();
    }

    /// Waits for the next configuration. Cancel safe.
    ///
    /// # Errors
    /// If it cannot be read or is not a valid configuration.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, unless the loader does")]
    pub async fn next(&mut self) -> Result<T, Rejection> {
        loop {
            let Some(loading) = &mut self.loading else {
                if !self.is_due {
                    any_changed(&mut self.watched).await;
                    self.is_due = true;
                }
                match self.start() {
                    Ok(loading) => {
                        self.loading = Some(loading);
                        self.is_due = false;
                    }
                    Err(error) => {
                        debug!(%error, "no thread to load the configuration; retrying");
                        sleep(RETRY).await;
                    }
                }
                continue;
            };
            let loaded = loading.await.expect("a loader that panics is a defect");
            self.loading = None;
            self.watch(&loaded.read);
            let digests = (loaded.read.digest, loaded.read.web_digest);
            let last = std::mem::replace(&mut self.last, digests);
            // While the last one is in use, its web configuration is watched by the guard, or awaits a restart.
            let is_new = last.0 != digests.0 || (self.in_use != InUse::Last && last.1 != digests.1);
            // A request that came meanwhile has its own load.
            let is_requested = !self.is_due && std::mem::take(&mut self.is_requested);
            if is_requested || is_new {
                if self.in_use == InUse::Last {
                    self.in_use = InUse::Earlier;
                }
                return loaded.config;
            }
            if self.in_use == InUse::Last {
                self.watch_only_own();
            }
        }
    }

    /// Watches the configuration file alone.
    fn watch_only_own(&mut self) {
        self.watched.retain(|file| Some(file.path()) == self.path.as_deref());
    }

    fn watch(&mut self, read: &Read) {
        self.watched = read.files.iter().map(|(path, seen)| self.files.watch_since(path, *seen)).collect();
    }

    fn start(&self) -> io::Result<oneshot::Receiver<Loaded<T>>> {
        let (send, loaded) = oneshot::channel();
        let (load, files, guarded_by) = (Arc::clone(&self.load), self.files.clone(), self.guarded_by.clone());
        let load =
            move || drop(send.send(Loaded::new(&load, &Sources::of_running(&files, guarded_by.as_deref()))));
        thread::Builder::new().name("config".into()).spawn(load)?;
        Ok(loaded)
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("path", &self.path).finish_non_exhaustive()
    }
}

async fn any_changed(watched: &mut [WatchedFile]) {
    if watched.is_empty() {
        return pending().await;
    }
    select_all(watched.iter_mut().map(|file| Box::pin(file.changed()))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::time::timeout;

    use crate::config::flags::{Flags, Origin};
    use crate::config::keys;
    use crate::error::Chain;

    const VALID: &str = "targets: [{name: a, host: cache.example.com, identity: none}]\n";

    const LOOK: Duration = Duration::from_millis(20);
    /// Far longer than anything here takes.
    const LONG: Duration = Duration::from_secs(20);

    fn load(path: PathBuf) -> Load {
        Arc::new(move |sources| Ok(Config::load(&path, sources)?))
    }

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
            let (sources, path) = (Sources::new(&self.files), self.path("config.yaml"));
            let load = load(path.clone());
            load(&sources).unwrap();
            let mut watch = Watch::new(Some(path), load, &sources);
            watch.accepted(None);
            watch
        }
    }

    async fn next(watch: &mut Watch) -> Result<Config, Rejection> {
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
        watch.accepted(None);
        it.write("pw", "rotated");
        assert_quiet(&mut watch).await;
    }

    #[tokio::test]
    async fn a_rejected_configuration_is_loaded_when_its_file_or_one_that_flags_name_appears() {
        let it = Folder::new();
        tokio::spawn(it.files.clone().run_every(LOOK));
        let (path, sources) = (it.path("late.yaml"), Sources::new(&it.files));
        let late = load(path.clone());
        assert!(late(&sources).is_err());
        let mut watch = Watch::new(Some(path), late, &sources);
        assert_quiet(&mut watch).await;
        it.write("late.yaml", VALID);
        assert_eq!(name(&next(&mut watch).await.unwrap()), "a");

        let file = it.path("pw").display().to_string();
        let flags = [
            (&keys::connection::HOST as &'static dyn keys::Descriptor, "cache.example.com"),
            (&keys::identity::TYPE, "password"),
            (&keys::identity::PASSWORD.file, &file),
        ];
        let flags = flags
            .into_iter()
            .fold(Flags::default(), |flags, (key, value)| flags.with(key, Origin::CommandLine, value));
        let by_flags: Load = Arc::new(move |sources| Ok(Config::from_flags(&flags, sources)?));
        let sources = Sources::new(&it.files);
        assert!(by_flags(&sources).is_err());
        let mut watch = Watch::new(None, by_flags, &sources);
        it.write("pw", "s3cret");
        assert_eq!(name(&next(&mut watch).await.unwrap()), "cache");
        watch.accepted(None);
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
        assert!(Chain(&*error).to_string().ends_with("cannot be read: no answer within 2 s"), "{error}");
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
