//! Reading: one thread for each file that is being read, for all who ask for it meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::watch::note;
use super::{Files, Fingerprint, LIMIT, ReadError, Shared, Snapshot};
use crate::lock::lock;

/// The reads that are under way, and what cannot be read again.
#[derive(Default)]
pub(super) struct Reads {
    running: HashMap<PathBuf, Running>,
    /// The content of pipes, which is gone once it was read.
    kept: HashMap<PathBuf, Snapshot>,
}

/// A read that is under way.
struct Running {
    until: Instant,
    waiting: Vec<Waiting>,
}

/// A read for which a thread can wait.
struct Started {
    until: Instant,
    snapshot: mpsc::Receiver<Snapshot>,
}

/// Hands a snapshot to one who waits for it.
type Waiting = Box<dyn FnOnce(Snapshot) + Send>;

impl Files {
    /// Reads the file at `path`. The content of a pipe is kept, for it can be read only once.
    pub async fn read(&self, path: &Path) -> Snapshot {
        let (send, receive) = oneshot::channel();
        // Who does not wait any more needs no snapshot.
        let until = self.start(path, Box::new(move |snapshot| drop(send.send(snapshot))));
        let snapshot = timeout_at(until, receive).await;
        self.known(path, snapshot.ok().and_then(Result::ok))
    }

    /// Reads the file at `path` as [`Self::read`] does, and blocks the caller's thread meanwhile.
    #[must_use]
    pub fn read_blocking(&self, path: &Path) -> Snapshot {
        self.wait(path, self.start_blocking(path))
    }

    /// Reads files at the same time, as [`Self::read_blocking`] reads one, but waits no longer than `limit`. Returns their
    /// snapshots in the same order.
    #[must_use]
    pub fn read_all_blocking(&self, paths: &[PathBuf], limit: Duration) -> Vec<Snapshot> {
        let latest = Instant::now() + limit;
        let start = |path: &PathBuf| {
            let Started { until, snapshot } = self.start_blocking(path);
            Started { until: until.min(latest), snapshot }
        };
        let started: Vec<Started> = paths.iter().map(start).collect();
        paths.iter().zip(started).map(|(path, started)| self.wait(path, started)).collect()
    }

    fn start_blocking(&self, path: &Path) -> Started {
        let (send, snapshot) = mpsc::channel();
        // Who does not wait any more needs no snapshot.
        let until = self.start(path, Box::new(move |snapshot| drop(send.send(snapshot))));
        Started { until, snapshot }
    }

    fn wait(&self, path: &Path, Started { until, snapshot }: Started) -> Snapshot {
        let left = until.saturating_duration_since(Instant::now());
        self.known(path, snapshot.recv_timeout(left).ok())
    }

    /// Starts to read, or joins a read that is under way. Returns until when to wait.
    fn start(&self, path: &Path, waiting: Waiting) -> Instant {
        let mut reads = lock(&self.0.reads);
        let now = Instant::now();
        let running = match reads.running.entry(path.to_owned()) {
            Entry::Occupied(running) => running.into_mut(),
            Entry::Vacant(free) => {
                if let Err(error) = spawn(&self.0, path) {
                    let content = Err(ReadError::NoThread(Arc::new(error)));
                    waiting(Snapshot { content, fingerprint: Fingerprint::Unknown });
                    return now + LIMIT;
                }
                free.insert(Running { until: now + LIMIT, waiting: Vec::new() })
            }
        };
        if running.until > now {
            running.waiting.push(waiting);
        }
        running.until
    }

    /// Returns what was read, if anything. If nothing is known, whatever is found next is a change.
    fn known(&self, path: &Path, read: Option<Snapshot>) -> Snapshot {
        let nothing = Snapshot { content: Err(ReadError::NoAnswer), fingerprint: Fingerprint::Unknown };
        let snapshot = read.unwrap_or(nothing);
        if snapshot.fingerprint == Fingerprint::Unknown {
            note(&self.0, path, Fingerprint::Unknown);
        }
        snapshot
    }
}

impl Shared {
    /// Whether a reader of the file hangs.
    pub(super) fn is_left_behind(&self, path: &Path) -> bool {
        lock(&self.reads).running.get(path).is_some_and(|running| running.until <= Instant::now())
    }
}

/// Runs `work`, which accesses files in a way of its own, on another thread and blocks the caller meanwhile. Returns `None`
/// if there is no result within `limit`; then the thread is left behind. For the start only.
#[must_use]
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, result) = mpsc::channel();
    // Who does not wait any more needs no result.
    thread::Builder::new().name("files".into()).spawn(move || drop(send.send(work()))).ok()?;
    result.recv_timeout(limit).ok()
}

/// Starts the thread that reads the file at `path`, which waits for the lock of [`Reads`] at its end.
fn spawn(shared: &Arc<Shared>, path: &Path) -> io::Result<()> {
    let (shared, path) = (Arc::clone(shared), path.to_owned());
    let read = move || {
        let snapshot = read(&shared, &path);
        // Otherwise an older look would count as a change of what was read, again and again until the next look.
        note(&shared, &path, snapshot.fingerprint);
        let ended = lock(&shared.reads).running.remove(&path);
        for waiting in ended.into_iter().flat_map(|running| running.waiting) {
            waiting(snapshot.clone());
        }
    };
    thread::Builder::new().name("file".into()).spawn(read).map(drop)
}

fn read(shared: &Shared, path: &Path) -> Snapshot {
    let found = shared.disk.look(path);
    let is_gone = found == Fingerprint::Failed(io::ErrorKind::NotFound);
    let kept = lock(&shared.reads).kept.get(path).cloned();
    if let Some(kept) = kept.filter(|kept| is_gone || kept.fingerprint == found) {
        return Snapshot { fingerprint: found, ..kept };
    }
    let snapshot = shared.disk.read(path, found);
    let is_pipe = matches!(snapshot.fingerprint, Fingerprint::Special { .. });
    let mut reads = lock(&shared.reads);
    if is_pipe && snapshot.content.as_ref().is_ok_and(|content| !content.is_empty()) {
        reads.kept.insert(path.to_owned(), snapshot.clone());
    } else {
        reads.kept.remove(path);
    }
    snapshot
}
