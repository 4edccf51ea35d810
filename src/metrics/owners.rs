//! Whose series there are: the targets, or the identities. Series live as long as a handle that writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::definition::Definition;
use super::text::{Family, Label, escape};

/// Writes the series of one owner in one family.
pub(super) type Write<S> = fn(&S, Label<'_>, &mut Family<'_>);

/// All that is counted of one owner.
pub(super) trait Series: Default + Send + Sync + 'static {
    /// The label that tells the owner.
    const OWNER: &'static str;
    /// The families, and how the owner's part of each is written.
    const FAMILIES: &'static [(Definition, Write<Self>)];
}

/// The owners of one kind, by name.
pub(super) struct Owners<S>(Arc<Mutex<BTreeMap<Arc<str>, Owner<S>>>>);

struct Owner<S> {
    series: Arc<S>,
    /// Handles of the same name may overlap for a moment, when a target is replaced; only the last one takes the
    /// series with it.
    handles: usize,
}

impl<S: Series> Owners<S> {
    /// The series of the owner called `name`, everything at its beginning if it is new.
    pub(super) fn handle(&self, name: &str) -> Handle<S> {
        let name: Arc<str> = name.into();
        let mut owners = self.lock();
        let owner =
            owners.entry(Arc::clone(&name)).or_insert_with(|| Owner { series: Arc::default(), handles: 0 });
        owner.handles += 1;
        Handle { series: Arc::clone(&owner.series), name, owners: Self(Arc::clone(&self.0)) }
    }

    /// The owners of this moment, for writing one family after the other without holding them up.
    pub(super) fn snapshot(&self) -> Snapshot<S> {
        Snapshot(self.lock().iter().map(|(name, owner)| (escape(name), Arc::clone(&owner.series))).collect())
    }

    fn release(&self, name: &str) {
        let mut owners = self.lock();
        if let Some(owner) = owners.get_mut(name) {
            owner.handles -= 1;
            if owner.handles == 0 {
                owners.remove(name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Owner<S>>> {
        // The map is whole at every moment, also where a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Default for Owners<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> fmt::Debug for Owners<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}

/// Owners with their names as labels have them.
pub(super) struct Snapshot<S>(Vec<(String, Arc<S>)>);

impl<S: Series> Snapshot<S> {
    /// Writes the part that the owner at `index` has of a family; false if there is no such owner.
    pub(super) fn write(&self, index: usize, write: Write<S>, family: &mut Family<'_>) -> bool {
        let owner = self.0.get(index);
        if let Some((name, series)) = owner {
            write(series, (S::OWNER, name), family);
        }
        owner.is_some()
    }
}

impl<S> fmt::Debug for Snapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// Writes the series of one owner; they go with the last handle.
#[derive(Debug)]
pub(super) struct Handle<S: Series> {
    name: Arc<str>,
    series: Arc<S>,
    owners: Owners<S>,
}

impl<S: Series> Handle<S> {
    pub(super) fn series(&self) -> &S {
        &self.series
    }
}

impl<S: Series> Drop for Handle<S> {
    fn drop(&mut self) {
        self.owners.release(&self.name);
    }
}
