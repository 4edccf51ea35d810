//! Signing in on a session, and what a refusal means.

use std::pin::pin;

use redis::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Session;
use super::failure::no_reply;
use crate::connection::deadline::within;
use crate::connection::reply;
use crate::excerpt::excerpt;
use crate::identity::Credentials;
use crate::probe::{Failure, FailureReason, Phase, Stage};

/// Where a sign-in fails.
pub(in crate::connection) const SIGN_IN: Stage = Stage::Phase(Phase::Auth);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Presents `credentials`, the first time or again. A refusal leaves an earlier sign-in standing.
    ///
    /// # Errors
    /// The server's refusal, or the loss of the connection.
    pub async fn authenticate(
        &mut self,
        credentials: &Credentials,
        mut deadline: Instant,
    ) -> Result<(), Failure> {
        self.begin();
        self.pack_auth(credentials);
        let reply = within(&mut deadline, pin!(self.round_trip(SIGN_IN))).await;
        self.wipe();
        let reply = reply.unwrap_or_else(|_| Err(no_reply(SIGN_IN)))?;
        self.end(SIGN_IN)?;
        match reply {
            Value::Okay => Ok(()),
            Value::ServerError(error) => Err(refusal(&error, credentials)),
            other => Err(self.unasked(SIGN_IN, &other)),
        }
    }

    /// Adds `AUTH` to what is sent, or nothing without credentials.
    pub(in crate::connection) fn pack_auth(&mut self, credentials: &Credentials) {
        match credentials {
            Credentials::None => {}
            Credentials::Password { username: None, secret } => {
                self.pack(&["AUTH", secret.expose()]);
            }
            Credentials::Password { username: Some(username), secret } => {
                self.pack(&["AUTH", username, secret.expose()]);
            }
            Credentials::Token { username, token } => {
                self.pack(&["AUTH", username, token.secret.expose()]);
            }
        }
    }
}

/// A refused sign-in, without what the server echoes of the secret.
pub(in crate::connection) fn refusal(error: &redis::ServerError, credentials: &Credentials) -> Failure {
    let (reason, detail) = reply::classify_sign_in(error);
    let advice = if reason == FailureReason::AuthRejected { advice(&detail, credentials) } else { None };
    let secret = match credentials {
        Credentials::None => None,
        Credentials::Password { secret, .. } => Some(secret),
        Credentials::Token { token, .. } => Some(&token.secret),
    };
    let detail = secret.map_or_else(|| detail.clone(), |secret| secret.redact(&detail));
    Failure { advice, ..Failure::new(reason, SIGN_IN, excerpt(&detail, reply::MAX_DETAIL)) }
}

/// What to do about a refused sign-in: what the server expects instead, if it says so.
fn advice(text: &str, credentials: &Credentials) -> Option<&'static str> {
    let says = |words: &str| text.to_ascii_lowercase().contains(words);
    if says("no password is set") || says("without any password configured") {
        return Some("The server has no password: set `identity: none`, or give the server a password.");
    }
    if says("unknown command") {
        return Some("The peer does not know AUTH: check that `host` is the cache, or set `identity: none`.");
    }
    if says("for 'auth' command") {
        return Some(
            "The server expects a password without a user name, as Redis before version 6: remove `username`.",
        );
    }
    if let Credentials::Password { secret, .. } = credentials
        && let Some(surplus) = secret.surplus().next()
    {
        return Some(surplus.advice());
    }
    refused_advice(credentials)
}

/// What to do if the server does not accept these credentials, or none. `None` is the advice of the reason, which is
/// about tokens.
#[must_use]
pub fn refused_advice(credentials: &Credentials) -> Option<&'static str> {
    match credentials {
        Credentials::None => Some("The server expects a password, an access key or a token: set `identity`."),
        Credentials::Password { username: None, .. } => {
            Some("Check that the access key or password is the server's, and that it has not been rotated.")
        }
        Credentials::Password { username: Some(_), .. } => Some(
            "Check that the user `username` exists and is enabled, and that its password has not been changed.",
        ),
        Credentials::Token { token, .. } if token.username.is_some() => Some(
            "Check that the token is meant for this server and for the user `username`, and that the user exists.",
        ),
        Credentials::Token { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sent, session, soon};
    use super::*;
    use crate::secret::Secret;

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_not_in_the_failure() {
        let secret = "a-very-secret-access-key-of-some-length";
        let reply = format!("-ERR no such user as '{secret}'\r\n");
        let (mut session, mut far) = session(reply.as_bytes()).await;
        let credentials = Credentials::Password { username: None, secret: Secret::new(secret.into()) };
        let failure = session.authenticate(&credentials, soon()).await.unwrap_err();
        assert!(!failure.to_string().contains("secret-access"), "{failure}");
        assert!(sent(&mut far).await.contains(secret));
        assert!(session.outgoing.iter().all(|&byte| byte == 0), "the command is zeroed after use");
    }
}
