//! The files with targets: what they said last, and what happens when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;

use tracing::{error, info};

use crate::config::watch::{Rejection, Watch};
use crate::config::{Config, Found, Good, Merged};
use crate::counted::counted;
use crate::files::{Files, escaped};
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::status::Status;

/// How many problems of each file the status shows.
const SHOWN: usize = 5;

/// Watches the files with targets, and keeps the targets of those that become invalid.
pub(super) struct Discovery {
    files: Files,
    metrics: Metrics,
    status: Status,
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
    pub(super) fn new(files: Files, metrics: Metrics, status: Status) -> Self {
        Self {
            files,
            metrics,
            status,
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
            self.status.target_file(&file, validity.as_ref().err().map(|problem| brief(problem)).as_deref());
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
        for file in self.used.difference(&used).map(|path| escaped(path)) {
            self.metrics.target_file(&file, None);
            self.status.target_file(&file, None);
        }
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

/// Returns the first of the problems, each of which is a line.
fn brief(problems: &str) -> String {
    let mut lines = problems.lines();
    let shown = lines.by_ref().take(SHOWN).collect::<Vec<_>>().join("\n");
    match lines.count() {
        0 => shown,
        more => format!("{shown}\nand {}", counted(more as u64, "more problem")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_problems_the_first_are_shown_and_the_others_counted() {
        assert_eq!(brief("a\nb"), "a\nb");
        assert_eq!(brief("1\n2\n3\n4\n5"), "1\n2\n3\n4\n5");
        assert_eq!(brief("1\n2\n3\n4\n5\n6"), "1\n2\n3\n4\n5\nand 1 more problem");
    }
}
