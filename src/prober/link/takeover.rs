//! Going on with another connection than the open one.

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Link;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::prober::opening::{Connection, Opened};

impl<D: Dial> Link<D> {
    /// Goes on with a new connection instead of the open one.
    pub(super) fn take_over(&mut self, Opened { mut connection, phases, .. }: Opened<D::Stream>) {
        let Some(old) = self.connection.take() else { return };
        let shown = |connection: &Connection<_>| connection.peer.address.map(tracing::field::display);
        info!(
            target = %self.opener.target.name,
            address = shown(&connection),
            previous = shown(&old),
            "connection replaced"
        );
        if connection.credentials != old.credentials {
            // They were renewed while it was being opened.
            connection.reauthenticate = Some(Instant::now());
        }
        self.ticks.record().opened(&phases, connection.certificate_expiry(), connection.protocol, None);
        self.keep(connection);
    }

    /// A connection was opened early, or could not be: then the open one goes on.
    pub(super) fn opened_early(&mut self, result: Result<Opened<D::Stream>, DialFailure>) {
        let failed = match result {
            Ok(Opened { refused: Some(failure), phases, .. }) => DialFailure { failure, phases },
            Ok(opened) => {
                self.early.ended(false);
                return self.take_over(opened);
            }
            Err(failed) => failed,
        };
        self.ticks.record().not_replaced(&failed.phases);
        let (target, reason) = (&self.opener.target.name, failed.failure.reason.as_str());
        let (stage, detail) = (failed.failure.stage.as_str(), &failed.failure.detail);
        if self.early.ended(true) {
            warn!(%target, reason, stage, %detail, "replacement of the connection failed; keeping the connection");
        } else {
            debug!(%target, reason, stage, %detail, "replacement of the connection failed again");
        }
    }
}
