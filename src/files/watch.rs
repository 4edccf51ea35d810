//! Watching: all watched files are looked at every few seconds, each once for all who watch it. Which thread does that is
//! decided in `turns.rs`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;

use super::turns::Turns;
use super::{Content, Files, Fingerprint, LOOK, ReadError, Shared};
use crate::lock::lock;

/// The files that are watched.
#[derive(Default)]
pub(super) struct Watched {
    files: HashMap<PathBuf, State>,
    /// What is left to look at in this round.
    due: Vec<PathBuf>,
    round: u64,
}

struct State {
    /// What was found last.
    found: watch::Sender<Fingerprint>,
    /// The round in which a thread began to look at it, until it returns.
    looking: Option<u64>,
}

/// A file that is read again and again, and watched in between.
#[derive(Clone, Debug)]
pub struct WatchedFile {
    files: Files,
    path: PathBuf,
    found: watch::Receiver<Fingerprint>,
    /// What was read last, or reported as a change.
    seen: Fingerprint,
}

impl WatchedFile {
    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; see [`Files::read`]. From now on, a change is one against what was read.
    ///
    /// # Errors
    /// [`ReadError`] if it cannot be read.
    pub async fn read(&mut self) -> Result<Content, ReadError> {
        let snapshot = self.files.read(&self.path).await;
        self.seen = snapshot.fingerprint;
        snapshot.content
    }

    /// Returns when the content that was read or reported last was written, if the file says so.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        self.seen.modified()
    }

    /// Waits until the file differs from what was read or reported last: it changed, appeared, disappeared, or was never
    /// read. The content may still be the same. Cancel safe.
    pub async fn changed(&mut self) {
        let differs = |found: &Fingerprint| *found != Fingerprint::Unknown && *found != self.seen;
        match self.found.wait_for(differs).await.map(|found| *found) {
            Ok(found) => self.seen = found,
            // Unreachable: the sender lives as long as it has receivers, or `self.files`.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Files {
    /// Watches the file at `path`, which was not read yet. Does not touch it: [`Self::run`] does.
    #[must_use]
    pub fn watch(&self, path: &Path) -> WatchedFile {
        self.watch_since(path, Fingerprint::Unknown)
    }

    /// Watches the file at `path` since it was read with this fingerprint.
    #[must_use]
    pub fn watch_since(&self, path: &Path, seen: Fingerprint) -> WatchedFile {
        let mut watched = lock(&self.0.watched);
        let state = watched
            .files
            .entry(path.to_owned())
            .or_insert_with(|| State { found: watch::Sender::new(Fingerprint::Unknown), looking: None });
        let found = state.found.subscribe();
        self.0.is_watching.notify_one();
        WatchedFile { files: self.clone(), path: path.to_owned(), found, seen }
    }

    /// Looks at the watched files for as long as it runs.
    pub async fn run(self) -> Infallible {
        self.run_every(LOOK).await
    }

    /// Looks at them once per `period`.
    pub(crate) async fn run_every(self, period: Duration) -> Infallible {
        while lock(&self.0.watched).files.is_empty() {
            self.0.is_watching.notified().await;
        }
        loop {
            let shared = Arc::clone(&self.0);
            match Turns::start(period, move || look_at_all(&shared)) {
                Ok(_turns) => return pending().await,
                Err(_) => sleep(period).await,
            }
        }
    }
}

/// Looks at every watched file, once in a round. Where files hung in the last round, several threads share the work, so
/// that a whole mount that hangs does not delay the others for long.
fn look_at_all(shared: &Arc<Shared>) {
    for _ in 1..next_round(shared) {
        let shared = Arc::clone(shared);
        let looker = thread::Builder::new().name("files".into());
        // Without a thread, there are fewer.
        let _ = looker.spawn(move || look_at_due(&shared));
    }
    look_at_due(shared);
}

/// Plans the next round. Returns how many threads it needs.
fn next_round(shared: &Shared) -> usize {
    let mut watched = lock(&shared.watched);
    watched.files.retain(|_, state| state.found.receiver_count() > 0 || state.looking.is_some());
    let is_due = |(path, state): &(&PathBuf, &State)| state.looking.is_none() && !shared.is_left_behind(path);
    let due: Vec<PathBuf> = watched.files.iter().filter(is_due).map(|(path, _)| path.clone()).collect();
    let last = Some(watched.round);
    let hanging = watched.files.values().filter(|state| state.looking == last).count();
    let threads = due.len().min(hanging + 1);
    watched.due = due;
    watched.round += 1;
    threads
}

/// Tells those who watch the file at `path` that it was found like this.
pub(super) fn note(shared: &Shared, path: &Path, fingerprint: Fingerprint) {
    if let Some(state) = lock(&shared.watched).files.get(path) {
        state.found.send_if_modified(|last| std::mem::replace(last, fingerprint) != fingerprint);
    }
}

/// Looks at files until none is due.
fn look_at_due(shared: &Shared) {
    while let Some(path) = next(shared) {
        let found = shared.disk.look(&path);
        if let Some(state) = lock(&shared.watched).files.get_mut(&path) {
            state.looking = None;
            state.found.send_if_modified(|last| std::mem::replace(last, found) != found);
        }
    }
}

fn next(shared: &Shared) -> Option<PathBuf> {
    let mut watched = lock(&shared.watched);
    let path = watched.due.pop()?;
    let round = watched.round;
    if let Some(state) = watched.files.get_mut(&path) {
        state.looking = Some(round);
    }
    Some(path)
}
