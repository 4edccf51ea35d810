//! The maintenance notices of one target: each link asks for them by itself, and what comes is counted, shown and logged once
//! for all.
//!
//! Nothing here decides about an outcome: a notice hides no outage.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::{debug, info};

use super::record::Record;
use crate::clock::{Clock, Rfc3339};
use crate::connection::push::Push;
use crate::lock::lock;
use crate::maintenance::{
    Announced, Made, Moment, Moving, Noted, Notice, Notices, Receiver, Request, Requests,
};
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, FailureReason};
use crate::status::{NoticeState, TargetStatus};
use crate::target::{self, Product, Server, Target, TargetName};

/// What one target knows about maintenance.
#[derive(Debug)]
pub(super) struct Maintenance {
    target: TargetName,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    /// What a link asks for that has not asked yet.
    requests: Requests,
    state: Mutex<State>,
}

/// What one link asks for. Its server may refuse, or not answer, what those of other links agree to.
#[derive(Debug)]
pub(super) struct LinkMaintenance {
    all: Arc<Maintenance>,
    requests: Requests,
}

#[derive(Debug)]
struct State {
    /// How many links are granted notices.
    granted: usize,
    /// The newest refusals, by [`Request`].
    refusals: [Option<Refusal>; Request::ALL.len()],
    notices: Notices,
    /// How many connections have asked.
    connections: u64,
    shown: Announced,
}

/// Why a request is not granted.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    is_denied: bool,
    detail: Box<str>,
}

/// What one connection has asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subscription {
    made: Made,
    /// `None` before the first request.
    connection: Option<u64>,
    /// When the server agreed to send pushes.
    agreed: Option<Instant>,
}

impl Subscription {
    /// Returns the connection's number if it is subscribed to a channel.
    pub(super) fn subscriber(self) -> Option<u64> {
        self.connection.filter(|_| self.made.contains(Request::Subscribe))
    }
}

impl Maintenance {
    /// Returns the maintenance of `target`, recorded beside `record`; `None` if nothing is ever asked for.
    pub(super) fn new(target: &Target, record: &Record) -> Option<Arc<Self>> {
        let requests = match (target.maintenance, &target.server) {
            (target::Maintenance::On, _) => Requests::all(),
            (target::Maintenance::Auto, Server::Host(endpoint)) => {
                Requests::of_product(Product::of_host(&endpoint.host))
            }
            // Azure has no sentinels.
            (target::Maintenance::Auto, Server::Sentinels(_)) | (target::Maintenance::Off, _) => {
                Requests::none()
            }
        };
        if requests.is_empty() {
            return None;
        }
        let state = Mutex::new(State {
            granted: 0,
            refusals: Default::default(),
            notices: Notices::default(),
            connections: 0,
            shown: Announced::default(),
        });
        let maintenance = Self {
            target: target.name.clone(),
            clock: record.clock().clone(),
            metrics: record.metrics(),
            status: record.status(),
            requests,
            state,
        };
        maintenance.show_state(NoticeState::NotRequested, "");
        maintenance.show(Announced::default());
        Some(Arc::new(maintenance))
    }

    /// Returns what a new link asks for.
    pub(super) fn link(self: &Arc<Self>) -> LinkMaintenance {
        LinkMaintenance { all: Arc::clone(self), requests: self.requests.clone() }
    }

    /// Returns when something changes without a notice.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let state = self.lock();
        let now = Instant::now();
        let is_shown = state.notices.announced(now) == state.shown;
        if is_shown { state.notices.next_change(now) } else { Some(now) }
    }

    /// Shows what has changed without a notice.
    pub(super) fn update(&self) {
        let mut state = self.lock();
        self.show_changes(&mut state, Instant::now(), None);
    }

    /// Notes what the server has pushed on a connection. Returns what to do if the connection's endpoint moves.
    pub(super) fn note(&self, subscription: Subscription, push: &Push) -> Option<Moving> {
        let notice = Notice::of_push(push)?;
        let now = Moment { instant: Instant::now(), time: self.clock.now() };
        let receiver =
            Receiver { connection: subscription.connection.unwrap_or(0), agreed: subscription.agreed };
        let mut state = self.lock();
        let noted = state.notices.note(receiver, &notice, now);
        match noted {
            Noted::Event { event, is_loud } => {
                self.metrics.maintenance_event(event);
                self.status.maintenance_event(event, notice.detail(), now.time);
                let (target, event, notice) = (&self.target, event.as_str(), notice.detail());
                if is_loud {
                    info!(%target, event, notice, "maintenance notice received");
                } else {
                    debug!(%target, event, notice, "maintenance notice received");
                }
            }
            Noted::Duplicate | Noted::Replayed => {
                debug!(target = %self.target, notice = notice.detail(), "maintenance notice repeated");
            }
        }
        self.show_changes(&mut state, now.instant, notice.start);
        notice.moving()
    }

    /// Shows what has changed by a notice that announces `start`, or by itself.
    fn show_changes(&self, state: &mut State, now: Instant, start: Option<SystemTime>) {
        let announced = state.notices.announced(now);
        if announced != state.shown {
            self.show(announced);
            if announced.is_active != state.shown.is_active {
                // Not the time of an earlier notice: other maintenance may begin now.
                let scheduled = announced.scheduled.filter(|scheduled| start == Some(*scheduled));
                let scheduled = scheduled.map(|start| tracing::field::display(Rfc3339(start)));
                if announced.is_active {
                    info!(target = %self.target, scheduled, "maintenance announced");
                } else {
                    info!(target = %self.target, "maintenance over");
                }
            }
            state.shown = announced;
        }
    }

    fn show(&self, announced: Announced) {
        self.metrics.maintenance_announced(announced);
        self.status.maintenance_announced(announced);
    }

    fn show_state(&self, state: NoticeState, detail: &str) {
        self.metrics.maintenance_notifications(state == NoticeState::Received);
        self.status.maintenance_notices(state, detail);
    }

    /// Shows the newest refusal if no link is granted notices. That the user may not make a request is worth more to know than
    /// what the server does not support.
    fn show_refusal(&self, state: &State) {
        let mut refusals: Vec<&Refusal> = state.refusals.iter().flatten().collect();
        refusals.sort_by_key(|refusal| !refusal.is_denied);
        if state.granted == 0
            && let Some(Refusal { is_denied, detail }) = refusals.first()
        {
            let shown = if *is_denied { NoticeState::Denied } else { NoticeState::Unsupported };
            self.show_state(shown, detail);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl LinkMaintenance {
    /// Returns the next request on a connection, and when it is due.
    pub(super) fn next_request(&self, subscription: Subscription) -> Option<(Request, Instant)> {
        self.requests.next(subscription.made, Instant::now())
    }

    /// The server has agreed to `request`.
    pub(super) fn granted(&mut self, request: Request, subscription: &mut Subscription) {
        let Maintenance { target, state, .. } = &*self.all;
        let mut state = lock(state);
        let was_granted = self.requests.is_granted();
        self.requests.granted(request, &mut subscription.made);
        state.granted += usize::from(!was_granted);
        state.refusals[request as usize] = None;
        if subscription.connection.is_none() {
            state.connections += 1;
            subscription.connection = Some(state.connections);
        }
        if request == Request::Notifications {
            subscription.agreed = Some(Instant::now());
        }
        self.all.show_state(NoticeState::Received, "");
        debug!(%target, request = request.as_str(), "maintenance notices requested");
    }

    /// The server has refused `request`, or it would do harm.
    pub(super) fn refused(&mut self, request: Request, failure: &Failure) {
        self.change(|requests| requests.refused(request, Instant::now()));
        self.note_refusal(request, failure);
    }

    /// `request` failed in a way that may pass.
    pub(super) fn failed(&mut self, request: Request, failure: &Failure) {
        if self.change(|requests| requests.failed(request, Instant::now())) {
            self.note_refusal(request, failure);
        }
    }

    /// Lets `change` take away what was granted.
    fn change<T>(&mut self, change: impl FnOnce(&mut Requests) -> T) -> T {
        let was_granted = self.requests.is_granted();
        let changed = change(&mut self.requests);
        if was_granted && !self.requests.is_granted() {
            self.all.lock().granted -= 1;
        }
        changed
    }

    fn note_refusal(&self, request: Request, failure: &Failure) {
        let mut state = self.all.lock();
        let is_denied = failure.reason == FailureReason::PermissionDenied;
        let refusal = Some(Refusal { is_denied, detail: failure.detail.clone() });
        let known = &mut state.refusals[request as usize];
        let is_new = *known != refusal;
        *known = refusal;
        self.all.show_refusal(&state);
        if is_new {
            let (target, request, detail) = (&self.all.target, request.as_str(), &failure.detail);
            debug!(%target, request, %detail, "maintenance notices not available");
        }
    }
}

impl Deref for LinkMaintenance {
    type Target = Maintenance;

    fn deref(&self) -> &Maintenance {
        &self.all
    }
}

impl Drop for LinkMaintenance {
    fn drop(&mut self) {
        self.change(|requests| *requests = Requests::none());
        // What remains is what the servers of the other links replied.
        self.all.show_refusal(&self.all.lock());
    }
}
