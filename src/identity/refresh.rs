//! The refresh loop of one identity: asks for a token, publishes it, renews it in time, and never gives up.
//!
//! It never talks to a cache; whoever presents tokens reads the newest one from a [`watch`] channel.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::identity::{FetchError, Token, TokenSource};
use crate::metrics::IdentityMetrics;
use crate::status::IdentityStatus;

/// The limit for one request: `azure_identity` and the command-line tools know none of their own.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(12);
/// A request that is not answered by then gets company: an endpoint that hung has often forgotten what it was asked,
/// and one that is merely slow still answers the first.
const COMPANY: Duration = Duration::from_secs(4);
/// The endpoint is never asked more often than this, whatever it answers.
pub const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A token is renewed when this part of its life is over …
const FRACTION: f64 = 0.75;
/// … or this much of it is left, whichever comes first. Azure wants the new token presented at least 3 minutes
/// before the old one ends ("Use Microsoft Entra ID for cache authentication", best practices).
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// A token whose whole life is shorter than this is renewed by the fraction alone: the margin would eat half of it.
const SHORT_LIFE: Duration = Duration::from_secs(10 * 60);
/// A renewal comes up to this part earlier, so that many agents that started together do not renew together.
const JITTER: f64 = 0.1;

/// The longest pause between attempts while the token at hand still serves …
const PATIENT: Duration = Duration::from_secs(60);
/// … and when there is none, or less than a minute is left of it: what waits for it is down.
const URGENT: Duration = Duration::from_secs(4);
const ENOUGH: Duration = Duration::from_secs(60);
/// The longest pause while a cache refuses every token. It may be the one cache of many that lacks a policy, and each
/// new token is presented to all of them.
const REFUSED: Duration = Duration::from_secs(10 * 60);
/// The wall clock is looked at this often while waiting, so that a clock that was set, or a machine that slept, does
/// not make a renewal late.
const LOOK: Duration = Duration::from_secs(60);

/// What is known of an identity's token.
#[derive(Clone, Debug, Default)]
pub struct TokenState {
    /// The newest token, even if it has expired: only the cache can tell whether it still serves.
    pub token: Option<Arc<Token>>,
    /// Why the last request brought none.
    pub error: Option<FetchError>,
}

/// The refresh loop of one identity.
pub struct Refresher {
    /// The identity's label, for the log.
    pub label: String,
    /// Who is asked.
    pub source: Box<dyn TokenSource>,
    /// Where tokens are published.
    pub publish: watch::Sender<TokenState>,
    /// Whoever was refused the newest token says so here; see [`Tokens::refused`](super::sign_in::Tokens::refused).
    pub refused: Arc<Notify>,
    /// Tells when a token ends.
    pub clock: Clock,
    /// The source of jitter.
    pub rng: fastrand::Rng,
    /// What is counted.
    pub metrics: IdentityMetrics,
    /// What is shown.
    pub status: IdentityStatus,
}

impl Refresher {
    /// Runs until it is dropped.
    pub async fn run(mut self) -> std::convert::Infallible {
        let mut backoff = Backoff::new(MIN_PAUSE);
        let mut refusals = Backoff::new(MIN_PAUSE);
        loop {
            let mut asked = Asked::now(&self.clock);
            let renewed = self.ask(&mut asked).await;
            let wait = if renewed {
                backoff.reset();
                renewal(self.life_left(), &mut self.rng)
            } else {
                let cap = if self.life_left() > ENOUGH { PATIENT } else { URGENT };
                backoff.next(cap, &mut self.rng)
            };
            tokio::select! {
                () = self.sleep(&asked, wait) => refusals.reset(),
                () = self.refused.notified() => {
                    // Perhaps the identity was made anew, or the endpoint gave another one's token: the next may do.
                    // Other caches take this one: they need its successor before it ends.
                    let most = self.life_left().saturating_sub(ENOUGH).max(wait);
                    let pause = refusals.next(REFUSED, &mut self.rng).min(most).max(MIN_PAUSE);
                    debug!(identity = %self.label, "token rejected by a cache; requesting another");
                    sleep_until(asked.last + pause).await;
                }
            }
        }
    }

    /// Asks once. True if that brought a token that is newer and has not ended.
    async fn ask(&mut self, asked: &mut Asked) -> bool {
        let answer = self.fetch(asked).await;
        let took = asked.first.elapsed();
        let token = match answer {
            Ok(token) => token,
            Err(error) => {
                self.failed(error, took);
                return false;
            }
        };
        if !self.is_newer(&token) {
            self.metrics.unchanged(took);
            self.publish.send_if_modified(|state| {
                // An answer, if not a new token: what was wrong before is over, which is no news for sessions.
                state.error = None;
                false
            });
            return false;
        }
        self.metrics.refreshed(took, token.expires_at);
        self.status.token(took, token.expires_at, token.object_id.clone());
        let lifetime = self.clock.until(token.expires_at);
        let object_id = token.object_id.as_deref().unwrap_or("none");
        info!(identity = %self.label, object_id, lifetime_seconds = lifetime.as_secs(), "token refreshed");
        self.publish.send_replace(TokenState { token: Some(Arc::new(token)), error: None });
        !lifetime.is_zero()
    }

    /// The first answer, good or bad; with [`COMPANY`] where it takes its time.
    async fn fetch(&self, asked: &mut Asked) -> Result<Token, FetchError> {
        let mut requests = FuturesUnordered::new();
        loop {
            asked.last = Instant::now();
            requests.push(timeout(FETCH_TIMEOUT, self.source.fetch()));
            match timeout(COMPANY, requests.select_next_some()).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => {
                    return Err(FetchError(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()).into()));
                }
                Err(_) => {}
            }
        }
    }

    fn failed(&self, error: FetchError, took: Duration) {
        self.metrics.refresh_failed(took);
        self.status.failed(took, &error.0);
        let usable_seconds = self.life_left().as_secs();
        if self.publish.borrow().error.is_none() {
            warn!(identity = %self.label, %error, usable_seconds, "token refresh failed; retrying");
        } else {
            // Its text may differ each time, by a trace id or a timestamp; the state does not.
            debug!(identity = %self.label, %error, usable_seconds, "token refresh failed; retrying");
        }
        self.publish.send_if_modified(|state| {
            let first = state.token.is_none() && state.error.is_none();
            state.error = Some(error);
            // Wakes only those who wait for the very first answer.
            first
        });
    }

    /// Endpoints cache: the same token again is no progress. A token that ends earlier than the one at hand is
    /// taken only when that one is over.
    fn is_newer(&self, token: &Token) -> bool {
        let state = self.publish.borrow();
        state.token.as_deref().is_none_or(|held| {
            let over = held.expires_at <= self.clock.now();
            token.secret != held.secret && (over || token.expires_at > held.expires_at)
        })
    }

    fn life_left(&self) -> Duration {
        let expires_at = self.publish.borrow().token.as_ref().map(|token| token.expires_at);
        expires_at.map_or(Duration::ZERO, |expires_at| self.clock.until(expires_at))
    }

    /// Sleeps until `wait` has passed since the request, by the wall clock or by ours, whichever comes first, but at
    /// least [`MIN_PAUSE`] since the last one that was sent.
    async fn sleep(&self, asked: &Asked, wait: Duration) {
        sleep_until(asked.last + MIN_PAUSE).await;
        let due = asked.first + wait;
        let due_at = asked.first_at + wait;
        while Instant::now() < due && self.clock.now() < due_at {
            sleep_until(due.min(Instant::now() + LOOK)).await;
        }
    }
}

/// When the endpoint was asked.
struct Asked {
    first: Instant,
    first_at: SystemTime,
    /// The first request, or the last that was sent to keep it company.
    last: Instant,
}

impl Asked {
    fn now(clock: &Clock) -> Self {
        let first = Instant::now();
        Self { first, first_at: clock.now(), last: first }
    }
}

/// How long after its arrival a token with `life` left is renewed.
fn renewal(life: Duration, rng: &mut fastrand::Rng) -> Duration {
    let fraction = life.mul_f64(FRACTION);
    let whole = if life < SHORT_LIFE { fraction } else { fraction.min(life.saturating_sub(MARGIN)) };
    whole.mul_f64(1.0 - JITTER * rng.f64())
}

#[cfg(test)]
mod tests;
