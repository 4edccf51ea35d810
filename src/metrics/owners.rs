//! The owners of series: targets, identities, clusters and their shards. Series live as long as a registration that writes
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::definition::Definition;
use super::encoder::{Encoder, LabelPair};
use super::family::Family;
use crate::lock::lock;

/// Writes the series of one owner in one family.
pub(super) type Write<S> = fn(&S, LabelPair<'_>, &mut Family<'_>);

/// Identifies an owner.
pub(super) trait Name: Ord + Clone + fmt::Debug + Send + 'static {
    /// Returns the value of the label [`Series::OWNER`].
    fn label(&self) -> &str;
}

impl Name for Arc<str> {
    fn label(&self) -> &str {
        self
    }
}

/// The series of one owner.
pub(super) trait Series: Send + Sync + 'static {
    /// What identifies the owner.
    type Name: Name;
    /// The label that names the owner.
    const OWNER: &'static str;
    /// The families, each with the function that writes the owner's part of it.
    const FAMILIES: &'static [(Definition, Write<Self>)];

    /// Creates the series of an owner, at 0 or absent.
    fn new(name: &Self::Name) -> Self;
}

/// The owners of one kind, by name.
pub(super) struct Owners<S: Series>(Arc<Mutex<BTreeMap<S::Name, Owner<S>>>>);

struct Owner<S> {
    series: Arc<S>,
    created: SystemTime,
    /// Registrations of the same name overlap for a moment when a target is replaced. The last one to be dropped
    /// removes the series.
    registrations: usize,
}

impl<S: Series> Owners<S> {
    /// Registers the owner called `name`. The series of a new owner start at 0 or absent, and are created `now`.
    pub(super) fn register(&self, name: S::Name, now: SystemTime) -> Registration<S> {
        let mut owners = self.lock();
        let owner = owners.entry(name.clone()).or_insert_with(|| Owner {
            series: Arc::new(S::new(&name)),
            created: now,
            registrations: 0,
        });
        owner.registrations += 1;
        Registration { series: Arc::clone(&owner.series), name, owners: Self(Arc::clone(&self.0)) }
    }

    /// Returns the present owners, so that a scrape is written without holding the lock.
    pub(super) fn snapshot(&self, encoder: &dyn Encoder) -> Snapshot<S> {
        let owners = self.lock();
        let owner = |(name, owner): (&S::Name, &Owner<S>)| {
            (encoder.label(name.label()).into(), owner.created, Arc::clone(&owner.series))
        };
        Snapshot(owners.iter().map(owner).collect())
    }

    fn release(&self, name: &S::Name) {
        let mut owners = self.lock();
        if let Some(owner) = owners.get_mut(name) {
            owner.registrations -= 1;
            if owner.registrations == 0 {
                owners.remove(name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<S::Name, Owner<S>>> {
        lock(&self.0)
    }
}

impl<S: Series> Default for Owners<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S: Series> fmt::Debug for Owners<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}

/// Owners with their names as the format writes them, and with the time of their creation.
pub(super) struct Snapshot<S>(Vec<(Box<str>, SystemTime, Arc<S>)>);

impl<S: Series> Snapshot<S> {
    /// Writes the part of a family that belongs to the owner at `index`. Returns false if there is no such owner.
    pub(super) fn write(&self, index: usize, write: Write<S>, family: &mut Family<'_>) -> bool {
        let owner = self.0.get(index);
        if let Some((name, created, series)) = owner {
            write(series, (S::OWNER, name), family.created(*created));
        }
        owner.is_some()
    }
}

impl<S> fmt::Debug for Snapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// Writes the series of one owner, which are removed with the last registration of its name.
#[derive(Debug)]
pub(super) struct Registration<S: Series> {
    name: S::Name,
    series: Arc<S>,
    owners: Owners<S>,
}

impl<S: Series> Registration<S> {
    pub(super) fn series(&self) -> &S {
        &self.series
    }

    pub(super) fn name(&self) -> &S::Name {
        &self.name
    }
}

impl<S: Series> Drop for Registration<S> {
    fn drop(&mut self) {
        self.owners.release(&self.name);
    }
}
