//! The files with targets: what they said last, and what happens when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;

use tracing::{error, info};

use crate::config::watch::{Rejection, Watch};
use crate::config::{Config, Found, Good, Merged};
use crate::files::{Files, escaped};
use crate::metrics::Metrics;
use crate::partition::Partition;

/// Watches the files with targets, and keeps the targets of those that become invalid.
pub(super) struct Discovery {
    files: Files,
    metrics: Metrics,
    /// `None` without such files.
    watch: Option<Watch<Found>>,
    /// Those that were valid for the configuration in use.
    good: Good,
    /// The files that are used.
    used: BTreeSet<PathBuf>,
    /// Those that are invalid, and why.
    invalid: BTreeMap<PathBuf, Box<str>>,
}

impl Discovery {
    /// There are no files yet.
    pub(super) fn new(files: Files, metrics: Metrics) -> Self {
        Self {
            files,
            metrics,
            watch: None,
            good: Good::new(),
            used: BTreeSet::new(),
            invalid: BTreeMap::new(),
        }
    }

    /// Returns all targets of `config`, whose files say `found`, in place of the `current` one.
    pub(super) fn merge(
        &self,
        current: Option<&Config>,
        config: &Config,
        found: &Found,
        partition: Option<Partition>,
    ) -> Merged {
        let before = current.and_then(|config| config.target_files.as_ref());
        let is_granted =
            before.zip(config.target_files.as_ref()).is_some_and(|(before, now)| before.grants_as(now));
        let nothing = Good::new();
        found.merge(&config.targets, if is_granted { &self.good } else { &nothing }, partition)
    }

    /// Watches the files of `config`, which is in use from now on.
    pub(super) fn watch(&mut self, config: &Config) {
        self.watch = config.target_files.as_ref().map(|files| files.watch(&self.files));
    }

    /// Records that the targets which are `merged` are in use. Logs which files became invalid or valid.
    pub(super) fn accept(&mut self, merged: Merged) {
        for (path, validity) in &merged.files {
            let file = escaped(path);
            self.metrics.target_file(&file, Some(validity.is_ok()));
            match validity {
                Ok(()) if self.invalid.remove(path).is_some() => info!(%file, "target file accepted"),
                Ok(()) => {}
                Err(problem) => {
                    let last = self.invalid.insert(path.clone(), problem.clone());
                    if last.as_ref() != Some(problem) {
                        let kept = merged.good.get(path).map_or(0, |targets| targets.len());
                        error!(%file, error = %problem, kept_targets = kept, "target file rejected");
                    }
                }
            }
        }
        let used: BTreeSet<PathBuf> = merged.files.keys().cloned().collect();
        self.used.difference(&used).for_each(|path| self.metrics.target_file(&escaped(path), None));
        self.invalid.retain(|path, _| used.contains(path));
        self.used = used;
        self.good = merged.good;
    }

    /// Waits until the files say something else. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Found, Rejection> {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => pending().await,
        }
    }
}
