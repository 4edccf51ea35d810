//! The token of an identity, and the handle through which its refresh loop writes it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::Status;
use crate::identity::Token;
use crate::lock::lock;

#[derive(Debug)]
pub(super) struct IdentityEntry {
    pub(super) label: Arc<str>,
    pub(super) state: Mutex<IdentityState>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct IdentityState {
    pub(super) token: Option<CurrentToken>,
    /// How long the last request took.
    pub(super) took: Option<Duration>,
    pub(super) last_error: Option<(SystemTime, Box<str>)>,
}

#[derive(Clone, Debug)]
pub(super) struct CurrentToken {
    pub(super) obtained_at: SystemTime,
    pub(super) expires_at: SystemTime,
    pub(super) object_id: Option<Arc<str>>,
    pub(super) client_id: Option<Arc<str>>,
    pub(super) resource_id: Option<Arc<str>>,
}

impl IdentityEntry {
    /// Returns when its token ends.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        lock(&self.state).token.as_ref().map(|token| token.expires_at)
    }
}

/// Writes the entry of one identity, and removes it when dropped.
#[derive(Debug)]
pub struct IdentityStatus {
    pub(super) status: Status,
    pub(super) entry: Arc<IdentityEntry>,
}

impl IdentityStatus {
    /// Records a new token. The request took `took`.
    pub fn token(&self, took: Duration, token: &Token) {
        let obtained_at = self.status.0.clock.now();
        let (object_id, (client_id, resource_id)) = (token.object_id.clone(), token.identity());
        let expires_at = token.expires_at;
        let mut state = lock(&self.entry.state);
        state.token = Some(CurrentToken { obtained_at, expires_at, object_id, client_id, resource_id });
        state.took = Some(took);
    }

    /// Records a request that failed after `took`. `detail` must be free of secrets. It remains visible after later
    /// successes, with its time.
    pub fn failed(&self, took: Duration, detail: &str) {
        let at = self.status.0.clock.now();
        let mut state = lock(&self.entry.state);
        state.last_error = Some((at, detail.into()));
        state.took = Some(took);
    }
}

impl Drop for IdentityStatus {
    fn drop(&mut self) {
        let mut state = self.status.lock();
        if state.identities.get(&self.entry.label).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            state.identities.remove(&self.entry.label);
        }
    }
}
