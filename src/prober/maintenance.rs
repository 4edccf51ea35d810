//! The maintenance notices of one target, which all its links share: what is asked for, and what comes is counted, shown
//! and logged.
//!
//! Nothing here decides about an outcome: a notice hides no outage.

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

/// What one target asks for and knows about maintenance.
#[derive(Debug)]
pub(super) struct Maintenance {
    target: TargetName,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: Requests,
    /// The request that the user may not make, which is worth more to know than what the server does not support.
    denied: Option<Request>,
    notices: Notices,
    /// How many connections have asked.
    connections: u64,
    shown: Announced,
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
            requests,
            denied: None,
            notices: Notices::default(),
            connections: 0,
            shown: Announced::default(),
        });
        let maintenance = Self {
            target: target.name.clone(),
            clock: record.clock().clone(),
            metrics: record.metrics(),
            status: record.status(),
            state,
        };
        maintenance.show_state(NoticeState::NotRequested, "");
        maintenance.show(Announced::default());
        Some(Arc::new(maintenance))
    }

    /// Returns the next request on a connection, and when it is due.
    pub(super) fn next_request(&self, subscription: Subscription) -> Option<(Request, Instant)> {
        self.lock().requests.next(subscription.made, Instant::now())
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

    /// The server has agreed to `request`.
    pub(super) fn granted(&self, request: Request, subscription: &mut Subscription) {
        let mut state = self.lock();
        state.requests.granted(request, &mut subscription.made);
        if subscription.connection.is_none() {
            state.connections += 1;
            subscription.connection = Some(state.connections);
        }
        if request == Request::Notifications {
            subscription.agreed = Some(Instant::now());
        }
        self.show_state(NoticeState::Received, "");
        debug!(target = %self.target, request = request.as_str(), "maintenance notices requested");
    }

    /// The server has refused `request`, or it would do harm.
    pub(super) fn refused(&self, request: Request, failure: &Failure) {
        let mut state = self.lock();
        state.requests.refused(request, Instant::now());
        self.show_refusal(&mut state, request, failure);
    }

    /// `request` failed in a way that may pass.
    pub(super) fn failed(&self, request: Request, failure: &Failure) {
        let mut state = self.lock();
        if state.requests.failed(request, Instant::now()) {
            self.show_refusal(&mut state, request, failure);
        }
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

    fn show_refusal(&self, state: &mut State, request: Request, failure: &Failure) {
        let detail = &failure.detail;
        let is_denied = failure.reason == FailureReason::PermissionDenied;
        state.denied = if is_denied { Some(request) } else { state.denied.filter(|other| *other != request) };
        if !state.requests.is_granted() && state.denied.is_none_or(|denied| denied == request) {
            let shown = if is_denied { NoticeState::Denied } else { NoticeState::Unsupported };
            self.show_state(shown, detail);
        }
        let request = request.as_str();
        debug!(target = %self.target, request, %detail, "maintenance notices not available");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
