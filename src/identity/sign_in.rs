//! The credentials of one target: a secret that is read at each sign-in and when it changes, or the newest published
//! token.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::error::Chain;
use crate::identity::refresh::TokenState;
use crate::identity::{Credentials, FetchError};
use crate::lock::lock;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::secret::WatchedSecret;

/// What to do if there is no secret to present.
const NO_SECRET: &str = "Check that the file or the environment variable of the secret exists, and that this process may \
                         read it.";

/// The source of one target's credentials. Clones have the same credentials.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// No sign-in.
    None,
    /// An access key or password, read at each sign-in and when it changes.
    Secret {
        /// The user; `None` is the default user.
        username: Option<Arc<str>>,
        /// The secret.
        secret: WatchedSecret,
    },
    /// Tokens that are refreshed.
    Tokens(Tokens),
}

/// The published tokens of an identity, and the user to sign in as.
#[derive(Clone, Debug)]
pub struct Tokens {
    configured: Option<Arc<str>>,
    states: watch::Receiver<TokenState>,
    refused: Arc<Notify>,
    /// The object id of the last warning that it differs from the configured user. Clones warn once together.
    warned: Arc<Mutex<Option<Arc<str>>>>,
}

impl Tokens {
    /// Creates a source of tokens for the user `configured`; if `None`, the user is the object id in each token.
    /// `refused` wakes the refresh loop.
    #[must_use]
    pub fn new(
        configured: Option<Arc<str>>,
        states: watch::Receiver<TokenState>,
        refused: Arc<Notify>,
    ) -> Self {
        Self { configured, states, refused, warned: Arc::default() }
    }

    /// Reports that a cache rejected the newest token, so that the refresh loop requests another one early. The token is
    /// kept, because the cache may be at fault.
    pub fn refused(&self) {
        self.refused.notify_one();
    }
}

impl SignIn {
    /// Whether there is anything to sign in with: false without an identity.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether [`Self::credentials`] returns at once: an identity has answered, or none is asked.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        match self {
            Self::None | Self::Secret { .. } => true,
            Self::Tokens(tokens) => has_answer(&tokens.states.borrow()),
        }
    }

    /// Returns the credentials to present now. Waits for the first response of an identity, which its refresh
    /// loop bounds.
    ///
    /// # Errors
    /// [`FailureReason::NoToken`] if there are no credentials.
    pub async fn credentials(&mut self) -> Result<Credentials, Failure> {
        let nothing =
            |detail: String| Failure::new(FailureReason::NoToken, Stage::Phase(Phase::Token), detail);
        match self {
            Self::None => Ok(Credentials::None),
            Self::Secret { username, secret } => match secret.read().await {
                Ok(secret) => Ok(Credentials::Password { username: username.clone(), secret }),
                Err(error) => {
                    let failure = Failure { advice: Some(NO_SECRET), ..nothing(Chain(&error).to_string()) };
                    Err(if error.is_local() {
                        Failure { reason: FailureReason::LocalResource, advice: None, ..failure }
                    } else {
                        failure
                    })
                }
            },
            Self::Tokens(tokens) => tokens.newest().await.map_err(|error| {
                let failure = Failure { advice: error.advice, ..nothing(error.text.into()) };
                if error.is_local {
                    Failure { reason: FailureReason::LocalResource, ..failure }
                } else {
                    failure
                }
            }),
        }
    }

    /// Reports that the cache rejected the credentials.
    pub fn refused(&self) {
        if let Self::Tokens(tokens) = self {
            tokens.refused();
        }
    }

    /// Waits for credentials that may differ from those that [`Self::credentials`] returned last: a newer token, or a
    /// changed file. Cancel safe.
    pub async fn renewed(&mut self) {
        match self {
            Self::None => std::future::pending().await,
            Self::Secret { secret, .. } => secret.changed().await,
            Self::Tokens(tokens) => {
                if tokens.states.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

fn has_answer(state: &TokenState) -> bool {
    state.token.is_some() || state.error.is_some()
}

impl Tokens {
    async fn newest(&mut self) -> Result<Credentials, FetchError> {
        let state = match self.states.wait_for(has_answer).await {
            Ok(state) => state.clone(),
            Err(_) => return Err(FetchError::new("the refresh loop has ended")),
        };
        let Some(token) = state.token else {
            return Err(state.error.unwrap_or_else(|| FetchError::new("")));
        };
        let username = match (&self.configured, token.username.as_ref().or(token.object_id.as_ref())) {
            (Some(configured), Some(object_id)) => {
                let mut warned = lock(&self.warned);
                if token.username.is_none() && configured != object_id && warned.as_ref() != Some(object_id) {
                    warn!(username = %configured, %object_id, "username differs from the token's object id");
                    *warned = Some(Arc::clone(object_id));
                }
                configured
            }
            (Some(configured), None) => configured,
            (None, Some(object_id)) => object_id,
            (None, None) => {
                self.refused();
                return Err(FetchError::new("the token has no claim `oid`; set `username`"));
            }
        };
        Ok(Credentials::Token { username: Arc::clone(username), token })
    }
}
