//! Maintenance notices on a link's connection: asking for them, and taking those that come.

use std::pin::pin;

use tokio::time::Instant;

use super::Link;
use crate::connection::dialer::Dial;
use crate::maintenance::{AZURE_CHANNEL, Request};
use crate::probe::{Failure, FailureReason, Stage};
use crate::prober::maintenance::LinkMaintenance;
use crate::prober::opening::Connection;
use crate::target::Protocol;

impl<D: Dial> Link<D> {
    /// Takes what the server has sent out of band.
    pub(super) fn pushed(&mut self) {
        let Self { connection: Some(connection), maintenance: Some(maintenance), early, opener, .. } = self
        else {
            return;
        };
        while let Some(push) = connection.session.take_push() {
            if let Some(moving) = maintenance.note(connection.subscription, &push) {
                early.begin(moving, opener);
            }
        }
    }

    /// Asks for maintenance notices if that is due. Nothing about it fails a probe.
    pub(super) async fn maintain(&mut self) {
        let Self { ticks, connection, opener, rounds, maintenance: Some(maintenance), .. } = self else {
            return;
        };
        maintenance.update();
        let Some(connection) = connection else { return };
        let Some((request, due)) = request(connection, maintenance) else { return };
        let now = Instant::now();
        if due > now {
            return;
        }
        if request == Request::Subscribe && rounds.lists_too_much() {
            let detail = "CLIENT LIST is too long for a subscribed connection";
            let failure = Failure::new(FailureReason::ReplyTooLarge, Stage::Idle, detail);
            return maintenance.refused(request, &failure);
        }
        let deadline = now + opener.target.command_timeout;
        let session = &mut connection.session;
        let asked = match request {
            Request::Subscribe => {
                ticks.during(pin!(session.subscribe(Stage::Idle, AZURE_CHANNEL, deadline))).await
            }
            Request::Notifications => ticks.during(pin!(session.request_notifications(deadline))).await,
        };
        match asked {
            Ok(()) => maintenance.granted(request, &mut connection.subscription),
            Err(failure) if session.is_usable() && is_refusal(&failure) => {
                maintenance.refused(request, &failure);
            }
            Err(failure) => {
                maintenance.failed(request, &failure);
                if !session.is_usable() {
                    self.lost_since(now, failure);
                }
            }
        }
    }

    /// Asks for all maintenance notices that are due, for somebody who waits for that.
    pub(in crate::prober) async fn ask_for_notices(&mut self) {
        for _ in Request::ALL {
            self.maintain().await;
        }
        self.pushed();
    }
}

/// Whether a server says by `failure` that it does not know the request, or that the user may not make it. Others are about
/// the server.
const fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.reason, FailureReason::PermissionDenied | FailureReason::ServerError)
}

/// Returns what to ask for on `connection`, and when.
pub(super) fn request<S>(
    connection: &Connection<S>,
    maintenance: &LinkMaintenance,
) -> Option<(Request, Instant)> {
    // Under RESP2, a subscribed connection takes no other commands.
    let speaks_pushes = connection.protocol == Protocol::Resp3;
    speaks_pushes.then(|| maintenance.next_request(connection.subscription)).flatten()
}
