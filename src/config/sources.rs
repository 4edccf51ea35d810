//! The files that a configuration is read from: its own, and those that it names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::document::{Node, Value};
use super::keys::agent::WEB_CONFIG_FILE;
use super::keys::{self, About, Descriptor};
use crate::files::{Content, Files, Fingerprint, LIMIT, ReadError, Snapshot};

/// How many files are read at the same time.
const AT_ONCE: usize = 64;

/// How long files are waited for after others that gave no answer, so that those of a mount that hangs do not add up.
const SHORT_LIMIT: Duration = Duration::from_millis(250);

/// Reads the files of one configuration, each once, and remembers what was read. Clones share it.
#[derive(Clone, Debug)]
pub struct Sources {
    files: Files,
    read: Rc<RefCell<BTreeMap<PathBuf, Snapshot>>>,
    /// What was read and not kept.
    passed: Rc<RefCell<BTreeMap<PathBuf, Passed>>>,
    /// The sources of web configurations, by their paths.
    web_configs: Rc<RefCell<BTreeMap<PathBuf, Self>>>,
    /// Whether some gave no answer.
    do_hang: Rc<Cell<bool>>,
    web_config: WebFile,
}

/// What a file was like whose content is not kept.
#[derive(Clone, Copy, Debug)]
struct Passed {
    fingerprint: Fingerprint,
    digest: u64,
}

impl Passed {
    fn new(snapshot: &Snapshot) -> Self {
        Self { fingerprint: snapshot.fingerprint, digest: digest_of(snapshot) }
    }
}

/// Whether the web configuration is read.
#[derive(Clone, Debug)]
enum WebFile {
    Read,
    Unread,
    /// Only if it is another file than this one.
    Other(PathBuf),
}

impl Sources {
    /// Creates sources among `files`, of which none was read.
    #[must_use]
    pub fn new(files: &Files) -> Self {
        Self {
            files: files.clone(),
            read: Rc::default(),
            passed: Rc::default(),
            web_configs: Rc::default(),
            do_hang: Rc::default(),
            web_config: WebFile::Read,
        }
    }

    /// Creates sources for a command without an endpoint. The web configuration is not read: who runs the command may be
    /// unable to read the key of the endpoint.
    #[must_use]
    pub fn without_web_config(files: &Files) -> Self {
        Self { web_config: WebFile::Unread, ..Self::new(files) }
    }

    /// Creates sources of a configuration that replaces the one of a running agent, which the web configuration at `guarded_by`
    /// guards. The guard watches that, so it is not read: a broken one does not keep the rest from being replaced.
    pub(super) fn of_running(files: &Files, guarded_by: Option<&Path>) -> Self {
        let web_config = guarded_by.map_or(WebFile::Read, |path| WebFile::Other(path.to_owned()));
        Self { web_config, ..Self::new(files) }
    }

    /// Whether the web configuration at `path` is read.
    pub(super) fn reads_web_config(&self, path: &Path) -> bool {
        match &self.web_config {
            WebFile::Read => true,
            WebFile::Unread => false,
            WebFile::Other(guarded_by) => path != guarded_by,
        }
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

    /// Reads the files that `document` seems to name, many at a time: where a mount hangs, they do not wait for each other. The
    /// web configuration has sources of its own.
    pub(super) fn read_all_in(&self, document: &Node) {
        let keys = keys::all().map(Descriptor::about);
        let is_read = |key: &&About| {
            key.flag.is_some_and(|flag| flag.takes_file()) && key.path != WEB_CONFIG_FILE.about.path
        };
        let names: Vec<&str> = keys.filter(is_read).map(About::name).collect();
        let mut found = BTreeSet::new();
        collect(document, &names, &mut found);
        self.read_all(found);
    }

    /// Reads files, many at a time.
    pub(super) fn read_all(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut read = self.read.borrow_mut();
        let paths: Vec<PathBuf> = paths.into_iter().filter(|path| !read.contains_key(path)).collect();
        for paths in paths.chunks(AT_ONCE) {
            read.extend(paths.iter().cloned().zip(self.read_at_once(paths)));
        }
    }

    /// Reads the files at `paths` in this order, up to [`AT_ONCE`] ahead of those that are asked for. Their contents are not
    /// kept: all together they may be large.
    pub(super) fn read_in_order<'a>(
        &'a self,
        paths: &'a [PathBuf],
    ) -> impl Iterator<Item = Result<Content, ReadError>> + 'a {
        paths.chunks(AT_ONCE).flat_map(|paths| {
            let snapshots = self.read_at_once(paths);
            let passed = paths.iter().zip(&snapshots).map(|(path, it)| (path.clone(), Passed::new(it)));
            self.passed.borrow_mut().extend(passed);
            snapshots.into_iter().map(|snapshot| snapshot.content)
        })
    }

    fn read_at_once(&self, paths: &[PathBuf]) -> Vec<Snapshot> {
        let snapshots = self.files.read_all_blocking(paths, self.limit());
        for snapshot in &snapshots {
            self.note(snapshot);
        }
        snapshots
    }

    /// Returns how long to wait for files.
    fn limit(&self) -> Duration {
        if self.do_hang.get() { SHORT_LIMIT } else { LIMIT }
    }

    /// Notes whether there was an answer.
    fn note(&self, Snapshot { content, .. }: &Snapshot) {
        if matches!(content, Err(ReadError::NoAnswer)) {
            self.do_hang.set(true);
        }
    }

    /// Returns the names in the folder at `path`, each with a NUL behind it.
    pub(super) fn list(&self, path: &Path) -> Result<Content, ReadError> {
        let mut read = self.read.borrow_mut();
        let listed = read.entry(path.to_owned()).or_insert_with(|| {
            let listed = self.files.list_blocking(path, self.limit());
            self.note(&listed);
            listed
        });
        listed.content.clone()
    }

    /// Returns where the files are read.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Returns the sources of the web configuration at `path`. They belong to these.
    pub(super) fn of_web_config(&self, path: &Path) -> Self {
        let mut web_configs = self.web_configs.borrow_mut();
        web_configs.entry(path.to_owned()).or_insert_with(|| Self::new(&self.files)).clone()
    }

    /// Returns what was read.
    pub(super) fn summary(&self) -> Read {
        let all = |read: &BTreeMap<PathBuf, Snapshot>| {
            read.iter().map(|(path, it)| (path.clone(), Passed::new(it))).collect::<Vec<_>>()
        };
        let mut own = all(&self.read.borrow());
        own.extend(self.passed.borrow().iter().map(|(path, it)| (path.clone(), *it)));
        let web_configs = self.web_configs.borrow();
        let of_web: Vec<_> = web_configs.values().flat_map(|sources| all(&sources.read.borrow())).collect();
        let files = own.iter().chain(&of_web).map(|(path, it)| (path.clone(), it.fingerprint)).collect();
        Read { files, digest: digest(&own), web_digest: digest(&of_web) }
    }
}

fn digest(read: &[(PathBuf, Passed)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, Passed { digest, .. }) in read {
        (path, digest).hash(&mut hasher);
    }
    hasher.finish()
}

fn digest_of(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    snapshot.content.as_deref().map_err(ToString::to_string).hash(&mut hasher);
    hasher.finish()
}

/// What was read, without its content.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// The files, and which state of each.
    pub(super) files: Vec<(PathBuf, Fingerprint)>,
    /// What identifies the contents and errors of the configuration.
    pub(super) digest: u64,
    /// Likewise of the web configuration.
    pub(super) web_digest: u64,
}

/// Collects the texts under keys with one of these `names`.
fn collect(node: &Node, names: &[&str], found: &mut BTreeSet<PathBuf>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| collect(item, names, found)),
        Value::Map(entries) => {
            for (key, node) in entries {
                match &node.value {
                    Value::Text(path) if names.contains(&key.as_str()) => {
                        found.insert(path.into());
                    }
                    _ => collect(node, names, found),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tempfile::TempDir;
    use tokio::time::Instant;

    use super::*;
    use crate::config::{Config, Good};

    fn fifo(folder: &TempDir, number: usize) -> PathBuf {
        let pipe = folder.path().join(format!("{number:03}.yaml"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        pipe
    }

    #[test]
    fn many_files_that_hang_are_waited_for_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut yaml = "targets:\n".to_owned();
        for number in 0..10 {
            let pipe = fifo(&folder, number);
            let key = format!("{{type: access_key, key: {{file: '{}'}}}}", pipe.display());
            writeln!(yaml, "- {{name: cache-{number}, host: cache.example.com, identity: {key}}}").unwrap();
        }
        let began = Instant::now();
        let problems = Config::from_yaml("config.yaml", &yaml).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(
            problems.to_string().matches("cannot be read: no answer within 2 s").count(),
            10,
            "{problems}"
        );
    }

    #[test]
    fn files_with_targets_that_hang_do_not_add_up_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        (0..400).for_each(|number| drop(fifo(&folder, number)));
        std::fs::write(folder.path().join("400.yaml"), "[{name: a, host: a, identity: none}]").unwrap();
        let yaml = format!(
            "{{target_files: ['{}/*.yaml'], targets: [{{name: b, host: b}}]}}",
            folder.path().display()
        );
        let began = Instant::now();
        let merged = Config::from_yaml("config.yaml", &yaml).unwrap().found().merge(&[], &Good::new(), None);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let broken = merged.files.values().filter(|validity| validity.is_err()).count();
        assert_eq!((merged.known, broken), (1, 400));
    }

    #[test]
    fn a_web_configuration_that_is_named_twice_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        std::fs::write(&path, "basic_auth_users: {}").unwrap();
        let sources = Sources::new(&Files::system());
        let read = || sources.of_web_config(&path).read(&path).unwrap();
        assert_eq!(read(), {
            std::fs::write(&path, "changed").unwrap();
            read()
        });
        let Read { files, digest, web_digest } = sources.summary();
        assert_eq!((files.len(), digest), (1, Sources::new(&Files::system()).summary().digest));
        assert_ne!(web_digest, digest);
    }
}
