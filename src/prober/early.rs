//! A connection that is opened while another is open: its endpoint is about to move, or it has reached its greatest age.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::opening::{Opened, Opener};
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::maintenance::Moving;

/// The pause from one early connection to the next: a server that announces moves without end must not be obeyed.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause after a connection of the greatest age could not be replaced.
const RETRY: Duration = Duration::from_secs(30);

/// The result of opening a connection early.
pub(super) type Early<S> = Box<Result<Opened<S>, DialFailure>>;
type Opening<S> = Pin<Box<dyn Future<Output = Early<S>> + Send>>;

/// Opens connections early, one at a time.
pub(super) struct EarlyConnection<D: Dial> {
    opening: Option<Opening<D::Stream>>,
    /// The move that was last obeyed, and when.
    last: Option<(u64, Instant)>,
    /// Whether the last attempt has failed.
    has_failed: bool,
}

impl<D: Dial> Default for EarlyConnection<D> {
    fn default() -> Self {
        Self { opening: None, last: None, has_failed: false }
    }
}

impl<D: Dial> EarlyConnection<D> {
    /// Begins to open a connection as `moving` says, unless that was done before. If the new endpoint can't be reached,
    /// the configured host is tried.
    pub(super) fn begin(&mut self, moving: Moving, opener: &Opener<D>) {
        let Moving { identity, endpoint, wait } = moving;
        let now = Instant::now();
        if self.last.is_some_and(|(last, at)| last == identity || now < at + PAUSE) {
            return;
        }
        self.last = Some((identity, now));
        let mut opener = opener.clone();
        self.opening = Some(Box::pin(async move {
            sleep(wait).await;
            if let Some(endpoint) = endpoint {
                let configured = opener.dialer.clone();
                opener.dialer = configured.to(endpoint);
                if let Ok(opened) = opener.open().await
                    && opened.refused.is_none()
                {
                    return Box::new(Ok(opened));
                }
                opener.dialer = configured;
            }
            Box::new(opener.open().await)
        }));
    }

    /// Begins to open a connection to where the open one leads.
    pub(super) fn renew(&mut self, opener: &Opener<D>) {
        let identity = self.last.map_or(0, |(identity, _)| identity);
        self.last = Some((identity, Instant::now()));
        let mut opener = opener.clone();
        self.opening = Some(Box::pin(async move { Box::new(opener.open().await) }));
    }

    /// Returns when a connection that was opened at `opened` is to be replaced, if it may become as old as `max_age`.
    pub(super) fn renewal(&self, opened: Instant, max_age: Option<Duration>) -> Option<Instant> {
        let due = opened + max_age?;
        let last = self.last.map(|(_, at)| at).filter(|at| *at >= due);
        self.opening.is_none().then(|| last.map_or(due, |at| at + RETRY))
    }

    /// The attempt has ended. Returns whether it is the first to have failed since one has succeeded.
    pub(super) const fn ended(&mut self, has_failed: bool) -> bool {
        !std::mem::replace(&mut self.has_failed, has_failed) && has_failed
    }

    /// Gives up what is being opened: the connection that it was to replace is gone.
    pub(super) fn cancel(&mut self) {
        self.opening = None;
    }

    /// Waits for the connection. Pending for ever if none is being opened. Cancel safe.
    pub(super) async fn opened(&mut self) -> Early<D::Stream> {
        let Some(opening) = &mut self.opening else { return std::future::pending().await };
        let opened = opening.as_mut().await;
        self.opening = None;
        opened
    }
}
