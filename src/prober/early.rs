//! A connection that is opened while another is open: its endpoint is about to move, the server is said to be elsewhere, or
//! it has reached its greatest age.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::opening::{Opened, Opener};
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::maintenance::Moving;
use crate::target::Endpoint;

/// The pause from one early connection to the next: a server that announces moves without end must not be obeyed.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause after a connection could not be replaced that is old, or leads elsewhere than it should.
const RETRY: Duration = Duration::from_secs(30);

/// A connection that was opened early, or could not be.
pub(super) struct Early<S> {
    pub(super) result: Result<Opened<S>, DialFailure>,
    /// Where it leads to, if not to where the open connection does.
    pub(super) elsewhere: Option<Endpoint>,
}

impl<S> Early<S> {
    /// Whether there is a connection, to a server that serves.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.result, Ok(Opened { refused: None, .. }))
    }
}

type Opening<S> = Pin<Box<dyn Future<Output = Box<Early<S>>> + Send>>;

/// Opens connections early, one at a time.
pub(super) struct EarlyConnection<D: Dial> {
    opening: Option<Opening<D::Stream>>,
    /// Where the server is said to be, until there is a connection. Boxed: it is rare.
    elsewhere: Option<Box<Endpoint>>,
    /// The move that was last obeyed, and when.
    last: Option<(u64, Instant)>,
    /// Whether the last attempt has failed.
    has_failed: bool,
}

impl<D: Dial> Default for EarlyConnection<D> {
    fn default() -> Self {
        Self { opening: None, elsewhere: None, last: None, has_failed: false }
    }
}

impl<D: Dial> EarlyConnection<D> {
    /// Begins to open a connection as `moving` says, unless that was done before. If the new endpoint can't be reached,
    /// the configured host is tried.
    pub(super) fn begin(&mut self, moving: Moving, opener: &Opener<D>) {
        let Moving { identity, endpoint, wait } = moving;
        let now = Instant::now();
        let is_known = self.last.is_some_and(|(last, at)| last == identity || now < at + PAUSE);
        if is_known || self.elsewhere.is_some() {
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
                    return Box::new(Early { result: Ok(opened), elsewhere: None });
                }
                opener.dialer = configured;
            }
            Box::new(Early { result: opener.open().await, elsewhere: None })
        }));
    }

    /// Begins to open a connection to `endpoint`, where the server is said to be, unless that was begun before.
    pub(super) fn lead(&mut self, endpoint: Endpoint, opener: &Opener<D>) {
        if self.elsewhere.as_deref() != Some(&endpoint) {
            self.elsewhere = Some(Box::new(endpoint));
            self.renew(opener);
        }
    }

    /// Whether a connection is being opened to where the server is said to be.
    pub(super) const fn leads_elsewhere(&self) -> bool {
        self.elsewhere.is_some() && self.opening.is_some()
    }

    /// Begins to open a connection to where the server is said to be, or else to where the open one leads.
    pub(super) fn renew(&mut self, opener: &Opener<D>) {
        let identity = self.last.map_or(0, |(identity, _)| identity);
        self.last = Some((identity, Instant::now()));
        let mut opener = opener.clone();
        let elsewhere = self.elsewhere.as_deref().cloned();
        if let Some(endpoint) = &elsewhere {
            opener.dialer = opener.dialer.to(endpoint.clone());
        }
        self.opening =
            Some(Box::pin(async move { Box::new(Early { result: opener.open().await, elsewhere }) }));
    }

    /// Returns when a connection that was opened at `opened` is to be replaced, if it may become as old as `max_age`, or
    /// leads elsewhere than it should.
    pub(super) fn renewal(&self, opened: Instant, max_age: Option<Duration>) -> Option<Instant> {
        if self.opening.is_some() {
            return None;
        }
        let last = self.last.map(|(_, at)| at);
        if self.elsewhere.is_some() {
            return last.map(|at| at + RETRY);
        }
        let due = opened + max_age?;
        Some(last.filter(|at| *at >= due).map_or(due, |at| at + RETRY))
    }

    /// The attempt has ended. Returns whether it is the first to have failed since one has succeeded.
    pub(super) const fn ended(&mut self, has_failed: bool) -> bool {
        !std::mem::replace(&mut self.has_failed, has_failed) && has_failed
    }

    /// Gives up what is being opened: the connection that it was to replace is gone. Returns where the server is said to be,
    /// if that is elsewhere.
    pub(super) fn cancel(&mut self) -> Option<Endpoint> {
        self.opening = None;
        self.elsewhere.take().map(|endpoint| *endpoint)
    }

    /// The server is said to be where the open connection leads.
    pub(super) fn stay(&mut self) {
        if self.elsewhere.take().is_some() {
            self.opening = None;
        }
    }

    /// Waits for the connection. Pending for ever if none is being opened. Cancel safe.
    pub(super) async fn opened(&mut self) -> Box<Early<D::Stream>> {
        let Some(opening) = &mut self.opening else { return std::future::pending().await };
        let opened = opening.as_mut().await;
        self.opening = None;
        opened
    }
}
