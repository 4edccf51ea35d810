//! How one target gets its credentials: read anew where they lie in a file, or the newest token that was published.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::error::Chain;
use crate::identity::Credentials;
use crate::identity::refresh::TokenState;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::secret::SecretSource;

/// Where one target's credentials come from.
#[derive(Debug)]
pub enum SignIn {
    /// There are none.
    None,
    /// An access key or password, read at each sign-in.
    Secret {
        /// The user; the default user without one.
        username: Option<Arc<str>>,
        /// Where the secret is kept.
        source: SecretSource,
    },
    /// Entra tokens.
    Tokens(Tokens),
}

/// The published tokens of an identity, and the user they are presented for.
#[derive(Debug)]
pub struct Tokens {
    configured: Option<Arc<str>>,
    states: watch::Receiver<TokenState>,
    refused: Arc<Notify>,
    /// The object id that was last told to differ from the configured user.
    told: Option<Arc<str>>,
}

impl Tokens {
    /// Tokens for the user `configured`, or for the object id in each token. `refused` wakes their refresh loop.
    #[must_use]
    pub const fn new(
        configured: Option<Arc<str>>,
        states: watch::Receiver<TokenState>,
        refused: Arc<Notify>,
    ) -> Self {
        Self { configured, states, refused, told: None }
    }

    /// Says that a cache refused the newest token: its refresh loop asks for another before its time. The cache may
    /// be at fault, so that is all there is to it.
    pub fn refused(&self) {
        self.refused.notify_one();
    }
}

impl SignIn {
    /// The credentials to present now. Waits until `deadline` for the very first answer of an identity.
    ///
    /// # Errors
    /// [`FailureReason::NoToken`]: there is nothing to present.
    pub async fn credentials(&mut self, deadline: Instant) -> Result<Credentials, Failure> {
        let nothing =
            |detail: String| Failure::new(FailureReason::NoToken, Stage::Phase(Phase::Auth), detail);
        match self {
            Self::None => Ok(Credentials::None),
            // A small local file: reading it takes less than handing it to another thread would.
            Self::Secret { username, source } => match source.read() {
                Ok(secret) => Ok(Credentials::Password { username: username.clone(), secret }),
                Err(error) => Err(nothing(Chain(&error).to_string())),
            },
            Self::Tokens(tokens) => tokens.newest(deadline).await.map_err(nothing),
        }
    }

    /// Says that the cache refused the credentials.
    pub fn refused(&self) {
        if let Self::Tokens(tokens) = self {
            tokens.refused();
        }
    }

    /// Waits for a newer token than [`Self::credentials`] has returned. May be dropped at any time.
    pub async fn renewed(&mut self) {
        if let Self::Tokens(tokens) = self
            && tokens.states.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Tokens {
    async fn newest(&mut self, deadline: Instant) -> Result<Credentials, String> {
        let answered = |state: &TokenState| state.token.is_some() || state.error.is_some();
        let state = match timeout_at(deadline, self.states.wait_for(answered)).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => return Err("the refresh loop has ended".into()),
            Err(_) => return Err("the identity endpoint has not answered yet".into()),
        };
        let Some(token) = state.token else {
            return Err(state.error.map_or_else(String::new, |error| error.to_string()));
        };
        let username = match (&self.configured, &token.object_id) {
            (Some(configured), Some(object_id)) => {
                if configured != object_id && self.told.as_ref() != Some(object_id) {
                    warn!(username = %configured, %object_id, "username differs from the token's object id");
                    self.told = Some(Arc::clone(object_id));
                }
                configured
            }
            (Some(configured), None) => configured,
            (None, Some(object_id)) => object_id,
            (None, None) => {
                self.refused();
                return Err("the token has no claim `oid`: set `username`".into());
            }
        };
        Ok(Credentials::Token { username: Arc::clone(username), token })
    }
}
