//! Going on with another connection than the open one.

use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::Link;
use super::topology::elsewhere;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::prober::early::Early;
use crate::prober::ledger::Fact;
use crate::prober::opening::{Connection, Opened};
use crate::target::Endpoint;

impl<D: Dial> Link<D> {
    /// Goes on with a new connection instead of the open one.
    pub(super) fn take_over(&mut self, Opened { mut connection, phases, .. }: Opened<D::Stream>) {
        let Some(old) = self.connection.take() else { return };
        let shown = |connection: &Connection<_>| connection.peer.address.map(display);
        let (target, slots) = (&self.opener.target.name, self.ticks.record().slots());
        let slots = slots.as_deref().map(display);
        let (address, previous) = (shown(&connection), shown(&old));
        if self.replacements.take(Instant::now()) {
            info!(%target, slots, address, previous, "connection replaced");
        } else {
            debug!(%target, slots, address, previous, "connection replaced again");
        }
        if connection.credentials != old.credentials {
            // They were renewed while it was being opened.
            connection.reauthenticate = Some(Instant::now());
        }
        self.ticks.opened(&phases, &connection, None);
        self.keep(connection);
    }

    /// A connection was opened early, or could not be: then the open one goes on.
    pub(super) fn opened_early(&mut self, Early { result, elsewhere }: Early<D::Stream>) {
        let failed = match result {
            Ok(Opened { refused: Some(failure), phases, .. }) => DialFailure { failure, phases },
            Ok(opened) => {
                self.early.ended(false);
                let Some(endpoint) = elsewhere else { return self.take_over(opened) };
                self.arrive(endpoint);
                self.take_over(opened);
                // The node that had the shard before may have failed: the next attempt does not wait.
                return self.ticks.note(Fact::Renewed(Instant::now()));
            }
            Err(failed) => failed,
        };
        self.ticks.record().not_replaced(&failed.phases);
        let (target, address) = (&self.opener.target.name, elsewhere.as_ref().map(display));
        let slots = self.ticks.record().slots();
        let slots = slots.as_deref().map(display);
        let (reason, stage) = (failed.failure.reason.as_str(), failed.failure.stage.as_str());
        let detail = &failed.failure.detail;
        if self.early.ended(true) {
            warn!(
                %target, slots, address, reason, stage, %detail,
                "replacement of the connection failed; keeping the connection"
            );
        } else {
            debug!(%target, slots, address, reason, stage, %detail, "replacement of the connection failed again");
        }
    }

    /// The new connection leads to `endpoint`.
    fn arrive(&mut self, endpoint: Endpoint) {
        self.early.stay();
        self.lead_to(endpoint);
        self.ticks.opening(self.endpoint.as_ref());
        self.ticks.record().reached(self.endpoint.as_ref());
    }

    /// Goes on with a connection that was opened while the round that began at `began` was waiting for the node that had the
    /// shard before. The next round shows whether that was a failover or is an outage.
    pub(super) fn leave_for(&mut self, Early { result, elsewhere: to }: Early<D::Stream>, began: Instant) {
        let (Ok(opened), Some(endpoint), Some(old)) = (result, to, &self.connection) else { return };
        let (lived, took) = (old.opened.elapsed(), opened.took);
        self.early.ended(false);
        self.suspect_topology();
        self.roles.left();
        self.has_served = false;
        self.ticks.note(Fact::Demoted { failure: elsewhere(&endpoint), since: began, lived });
        self.ticks.note(Fact::Opening);
        self.arrive(endpoint);
        self.take_over(opened);
        self.ticks.note(Fact::Opened { took });
    }
}
