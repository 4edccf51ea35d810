//! The refresh loop of one identity: requests a token, publishes it, renews it before it expires, and retries forever.
//!
//! It never connects to a cache. Probers read the newest token from a [`watch`] channel.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::alarm;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::identity::{FetchError, FetchFuture, Token, TokenSource};
use crate::metrics::IdentityMetrics;
use crate::status::IdentityStatus;

/// The timeout of one request over the network: `azure_identity` has none. A command has its own.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(12);
/// A request without a response is hedged after this time: an endpoint that hung may have dropped the request, and a
/// slow one still responds to the first. [`FETCH_TIMEOUT`] is a multiple of it.
const HEDGE_DELAY: Duration = Duration::from_secs(4);
/// The shortest time between two requests.
pub const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A token is renewed after this fraction of its lifetime …
const FRACTION: f64 = 0.75;
/// … or this long before it expires, whichever comes first. Azure requires the new token at least 3 minutes before the
/// old one expires ("Use Microsoft Entra ID for cache authentication", best practices).
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// For a shorter lifetime only the fraction applies: the margin would use up half of it.
const SHORT_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Renewals are moved earlier by up to this fraction, so that agents that started together do not renew together.
const JITTER: f64 = 0.1;

/// The longest retry delay while the current token is valid for longer than [`ENOUGH`] …
const RELAXED_DELAY: Duration = Duration::from_secs(60);
/// … and otherwise, because targets fail without a token.
const URGENT_DELAY: Duration = Duration::from_secs(4);
const ENOUGH: Duration = Duration::from_secs(60);
/// The longest delay while a cache rejects every token. Other caches may accept them, and each new token is presented to
/// all of them.
const REJECTED_DELAY: Duration = Duration::from_secs(10 * 60);
/// The same expiry, given in whole seconds from now, varies by less than this.
const ROUNDING: Duration = Duration::from_secs(2);
/// How often the wall clock is read while waiting. A clock that is set or a machine that is suspended must not delay a
/// renewal.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The newest token of an identity, and the last error.
#[derive(Clone, Debug, Default)]
pub struct TokenState {
    /// The newest token, even if it has expired: the cache decides whether it accepts it.
    pub token: Option<Arc<Token>>,
    /// The error of the last request, if it failed.
    pub error: Option<FetchError>,
}

/// The refresh loop of one identity.
pub struct Refresher {
    /// The identity's label, for the log.
    pub label: String,
    /// The source of the tokens.
    pub source: Box<dyn TokenSource>,
    /// Where tokens are published.
    pub publish: watch::Sender<TokenState>,
    /// Notified when a cache rejects the newest token; see [`Tokens::refused`](super::sign_in::Tokens::refused).
    pub refused: Arc<Notify>,
    /// The clock that expiry is compared with.
    pub clock: Clock,
    /// The source of jitter.
    pub rng: fastrand::Rng,
    /// The metrics of the identity.
    pub metrics: IdentityMetrics,
    /// The identity's entry in the status.
    pub status: IdentityStatus,
}

impl Refresher {
    /// Runs until it is dropped.
    pub async fn run(mut self) -> std::convert::Infallible {
        let mut backoff = Backoff::new(MIN_PAUSE);
        let mut refusals = Backoff::new(MIN_PAUSE);
        let mut is_rejected = false;
        loop {
            let mut request = RequestTimes::now(&self.clock);
            let renewed = self.request(&mut request, is_rejected).await;
            if self.source.runs_command() {
                // A command may take longer than any pause, which begins after it.
                request = RequestTimes::now(&self.clock);
            }
            let wait = if renewed {
                is_rejected = false;
                backoff.reset();
                renewal_delay(self.lifetime_left(), &mut self.rng)
            } else {
                let cap = if self.lifetime_left() > ENOUGH { RELAXED_DELAY } else { URGENT_DELAY };
                backoff.next(cap, &mut self.rng)
            };
            tokio::select! {
                () = self.sleep(&request, wait) => refusals.reset(),
                () = self.source.changed() => sleep_until(request.last + MIN_PAUSE).await,
                () = self.refused.notified() => {
                    is_rejected = true;
                    // The identity may have been recreated, so a new token may be accepted. Other caches may accept the
                    // current token and need its replacement before it expires.
                    let most = self.lifetime_left().saturating_sub(ENOUGH).max(wait);
                    let pause = refusals.next(REJECTED_DELAY, &mut self.rng).min(most).max(MIN_PAUSE);
                    debug!(identity = %self.label, "token rejected by a cache; requesting another");
                    sleep_until(request.last + pause).await;
                }
            }
        }
    }

    /// Requests a token once. Returns whether the result is a newer token that has not expired.
    async fn request(&mut self, request: &mut RequestTimes, is_rejected: bool) -> bool {
        let result = self.fetch(request).await;
        let took = request.first.elapsed();
        let token = match result {
            Ok(token) => token,
            Err(error) => {
                self.failed(error, took);
                return false;
            }
        };
        if self.is_prolonged(&token) {
            self.metrics.refreshed(took, token.expires_at);
            self.status.token(took, &token);
            self.publish.send_if_modified(|state| {
                // Sessions are not notified, because they have signed in with this token.
                *state = TokenState { token: Some(Arc::new(token)), error: None };
                false
            });
            return true;
        }
        if !self.is_newer(&token, is_rejected) {
            self.metrics.unchanged(took);
            self.publish.send_if_modified(|state| {
                // The endpoint responds again. Sessions are not notified, because the token is the same.
                state.error = None;
                false
            });
            return false;
        }
        self.metrics.refreshed(took, token.expires_at);
        self.status.token(took, &token);
        let lifetime = self.clock.until(token.expires_at);
        let object_id = token.object_id.as_deref().unwrap_or("none");
        info!(identity = %self.label, object_id, lifetime_seconds = lifetime.as_secs(), "token refreshed");
        self.publish.send_replace(TokenState { token: Some(Arc::new(token)), error: None });
        !lifetime.is_zero()
    }

    /// Returns the first result of a request. After each [`HEDGE_DELAY`] a hedge is sent, which replaces the previous
    /// one, so that there are never more than two requests at a time. A command is neither hedged nor timed out here.
    async fn fetch(&self, request: &mut RequestTimes) -> Result<Token, FetchError> {
        let mut first = self.source.fetch();
        let mut hedge: FetchFuture<'_> = Box::pin(std::future::pending());
        loop {
            tokio::select! {
                biased;
                result = &mut first => return result,
                result = &mut hedge => return result,
                // Also while a request uses up the budget of the task: its endpoint may send data without an end.
                () = unconstrained(sleep(HEDGE_DELAY)) => {}
            }
            if self.source.runs_command() {
                continue;
            }
            if request.first.elapsed() >= FETCH_TIMEOUT {
                return Err(FetchError::new(format!("no answer within {} s", FETCH_TIMEOUT.as_secs())));
            }
            request.last = Instant::now();
            hedge = self.source.fetch();
        }
    }

    fn failed(&self, error: FetchError, took: Duration) {
        self.metrics.refresh_failed(took);
        self.status.failed(took, &error.text);
        let usable_seconds = self.lifetime_left().as_secs();
        if self.publish.borrow().error.is_none() {
            let advice = error.advice;
            warn!(identity = %self.label, %error, usable_seconds, advice, "token refresh failed; retrying");
        } else {
            // The state has not changed, although the text may contain a new trace id or timestamp.
            debug!(identity = %self.label, %error, usable_seconds, "token refresh failed; retrying");
        }
        self.publish.send_if_modified(|state| {
            let first = state.token.is_none() && state.error.is_none();
            state.error = Some(error);
            // Wakes only sign-ins that wait for the first response.
            first
        });
    }

    /// Whether `token` replaces the current one. Endpoints cache tokens, so it may be the same. A token that expires
    /// earlier than the current one replaces it only after that has expired, if a cache has rejected that, or if the
    /// source always has the latest.
    fn is_newer(&self, token: &Token, is_rejected: bool) -> bool {
        let state = self.publish.borrow();
        state.token.as_deref().is_none_or(|held| {
            let now = self.clock.now();
            let is_better = held.expires_at <= now
                || token.expires_at > held.expires_at
                || ((is_rejected || self.source.is_latest()) && token.expires_at > now);
            token.secret != held.secret && is_better
        })
    }

    /// Whether `token` is the current one, with an expiry that has moved on: a lease that was renewed, or a token of which
    /// nothing says when it expires.
    fn is_prolonged(&self, token: &Token) -> bool {
        self.publish.borrow().token.as_ref().is_some_and(|held| {
            let is_later = token.expires_at > (held.expires_at + ROUNDING).max(self.clock.now());
            held.secret == token.secret && (token.is_expiry_assumed || is_later)
        })
    }

    fn lifetime_left(&self) -> Duration {
        let expires_at = self.publish.borrow().token.as_ref().map(|token| token.expires_at);
        expires_at.map_or(Duration::ZERO, |expires_at| self.clock.until(expires_at))
    }

    /// Sleeps until `wait` has passed since the first request, by the wall clock or the monotonic clock, whichever comes
    /// first, and at least [`MIN_PAUSE`] after the last request.
    async fn sleep(&self, request: &RequestTimes, wait: Duration) {
        sleep_until(request.last + MIN_PAUSE).await;
        let due = request.first + wait;
        let due_at = request.first_at + wait;
        while Instant::now() < due && self.clock.now() < due_at {
            alarm::until(due.min(Instant::now() + CLOCK_CHECK_INTERVAL)).await;
        }
    }
}

/// When a request and its hedges were sent.
struct RequestTimes {
    first: Instant,
    first_at: SystemTime,
    /// The first request, or the last hedge.
    last: Instant,
}

impl RequestTimes {
    fn now(clock: &Clock) -> Self {
        let first = Instant::now();
        Self { first, first_at: clock.now(), last: first }
    }
}

/// Returns the delay until the renewal of a new token that is valid for `lifetime`.
fn renewal_delay(lifetime: Duration, rng: &mut fastrand::Rng) -> Duration {
    let fraction = lifetime.mul_f64(FRACTION);
    let whole =
        if lifetime < SHORT_LIFETIME { fraction } else { fraction.min(lifetime.saturating_sub(MARGIN)) };
    whole.mul_f64(1.0 - JITTER * rng.f64())
}

#[cfg(test)]
mod tests;
