//! What guards the HTTP endpoint: TLS and client certificates, users with passwords, a limit to the rate of requests, and the
//! headers of every response. `config/web.rs` reads these rules from a web configuration file; this module applies them to
//! connections and requests.

mod basic;
mod client;
mod memory;
mod passwords;
mod rate;
mod tls;
mod users;

use std::future::pending;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::watch;

use self::basic::Credentials;
use self::passwords::Passwords;
pub use self::rate::RateLimit;
pub use self::tls::{CipherSuite, ClientAuth, Curve, Tls, TlsOptions, TlsVersion};
pub use self::users::{PasswordHash, Users};

/// The rules of a web configuration file.
#[derive(Debug, Default)]
pub struct Rules {
    /// TLS. Without it, the endpoint serves plain HTTP.
    pub tls: Option<Tls>,
    /// The users. Without it, requests need no password.
    pub users: Option<Users>,
    /// The limit to the rate of requests.
    pub rate: Option<RateLimit>,
    /// The headers of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Rules {
    /// Whether they change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tls.is_none() && self.users.is_none() && self.rate.is_none() && self.headers.is_empty()
    }

    /// Whether TLS is the one of `others`: what a client has shown under those rules counts under these.
    pub(crate) fn has_tls_of(&self, others: &Self) -> bool {
        match (&self.tls, &others.tls) {
            (Some(tls), Some(other)) => tls.is_same(other),
            (None, None) => true,
            _ => false,
        }
    }
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There are too many requests.
    RateLimited,
    /// The password is missing or wrong.
    Unauthorized,
    /// Too many passwords wait to be checked.
    Busy,
}

/// Applies the newest rules. Clones share the thread that checks passwords, and what is known of them.
#[derive(Clone, Debug)]
pub struct Guard {
    newest: watch::Receiver<Arc<Rules>>,
    passwords: Passwords,
}

impl Guard {
    /// Creates a guard that applies the rules that `newest` receives.
    #[must_use]
    pub fn new(newest: watch::Receiver<Arc<Rules>>) -> Self {
        Self { newest, passwords: Passwords::new() }
    }

    /// Creates a guard without rules.
    #[must_use]
    pub fn none() -> Self {
        Self::new(watch::channel(Arc::default()).1)
    }

    /// Returns the newest rules.
    pub(crate) fn newest(&self) -> Arc<Rules> {
        Arc::clone(&self.newest.borrow())
    }

    /// Returns the newest rules. [`Self::changed`] waits for newer ones.
    pub(crate) fn rules(&mut self) -> Arc<Rules> {
        Arc::clone(&self.newest.borrow_and_update())
    }

    /// Waits until the rules differ from those that were returned last. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // Nobody is left who could change them.
            pending::<()>().await;
        }
    }

    /// Decides on a request with this `Authorization` header.
    ///
    /// # Errors
    /// Why it is denied.
    pub(crate) async fn admit(&self, rules: &Arc<Rules>, authorization: Option<&[u8]>) -> Result<(), Denied> {
        if rules.rate.as_ref().is_some_and(|rate| !rate.allows()) {
            return Err(Denied::RateLimited);
        }
        let Some(users) = &rules.users else { return Ok(()) };
        let credentials = authorization.and_then(Credentials::parse).ok_or(Denied::Unauthorized)?;
        let is_right = match self.passwords.recall(users, &credentials) {
            Some(is_right) => is_right,
            None => self.passwords.check(Arc::clone(rules), credentials).await.ok_or(Denied::Busy)?,
        };
        if is_right { Ok(()) } else { Err(Denied::Unauthorized) }
    }
}

#[cfg(test)]
mod tests {
    use super::users::testing::{OTHER, SECRET, credentials, users};
    use super::*;

    #[tokio::test]
    async fn a_password_that_was_right_needs_no_check_after_the_rules_have_changed() {
        let rules = |users| Arc::new(Rules { users: Some(users), ..Rules::default() });
        let before = rules(users([("alice", SECRET)]));
        let (newest, receiver) = watch::channel(Arc::clone(&before));
        let guard = Guard::new(receiver);
        let known = |rules: &Arc<Rules>| {
            guard.passwords.recall(rules.users.as_ref().unwrap(), &credentials("alice", "secret"))
        };
        // alice:secret
        let header = b"Basic YWxpY2U6c2VjcmV0";
        assert_eq!(guard.admit(&guard.newest(), Some(header)).await, Ok(()));
        newest.send_replace(rules(users([("alice", SECRET), ("bob", OTHER)])));
        assert_eq!(known(&guard.newest()), Some(true));
        newest.send_replace(rules(users([("alice", OTHER)])));
        assert_eq!(known(&guard.newest()), None);
        assert_eq!(guard.admit(&guard.newest(), Some(header)).await, Err(Denied::Unauthorized));
    }
}
