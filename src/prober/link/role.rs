//! The role of a link's server: noting it, and asking for it where no write shows it.

use std::pin::pin;

use tokio::time::Instant;
use tracing::debug;

use super::Link;
use crate::connection::dialer::Dial;
use crate::probe::Mode;
use crate::prober::opening::Connection;
use crate::prober::roles::Change;

impl<D: Dial> Link<D> {
    /// Notes what is known of the server, and whether its role has changed.
    pub(super) fn note_role(&mut self) {
        let Some(Connection { server, peer, .. }) = &self.connection else { return };
        let previous = self.roles.seen(peer.address, server.role);
        if previous.is_some() {
            self.suspect_topology();
        }
        self.ticks.record().server(server, previous);
    }

    /// A round has succeeded: the server has the role that it claims.
    pub(super) fn note_served(&mut self) {
        if self.directions.is_none()
            && let Some(slot) = self.rounds.accepted()
            && let Some(host) = self.opener.target.server.host()
        {
            let is_of_cluster =
                self.connection.as_ref().is_some_and(|it| it.server.mode == Some(Mode::Cluster));
            self.shared.memory.served(host, is_of_cluster.then_some(slot));
        }
        let is_named = self.endpoint.is_none();
        match (self.roles.served(is_named), &self.connection) {
            (Some(Change::Role(previous)), Some(Connection { server, .. })) => {
                self.suspect_topology();
                self.ticks.record().server(server, Some(previous));
            }
            (Some(Change::Primary), _) => self.shared.record(|record| record.failed_over()),
            _ => {}
        }
    }

    /// Whether the role is to be asked for again: of a shard's primary as often as the topology, and where no write shows that
    /// the server has been promoted.
    pub(super) fn is_role_due(&self) -> bool {
        let refresh = self.opener.target.cluster.refresh;
        let leads_to_primary = self.directions.is_some() && !self.opener.is_to_replica;
        self.connection.as_ref().is_some_and(|connection| {
            (leads_to_primary || self.rounds.only_reads(&connection.server))
                && connection.role_seen.elapsed() >= refresh
                && self.roles.may_be_asked(Instant::now())
        })
    }

    /// Asks the server for its role, where that needs no right.
    pub(in crate::prober) async fn ask_role(&mut self) {
        let Self { ticks, connection: Some(connection), opener, .. } = self else { return };
        connection.role_seen = Instant::now();
        if !connection.server.answers_hello_again() {
            return;
        }
        let began = Instant::now();
        let deadline = began + opener.target.command_timeout;
        let asked = ticks.during(pin!(connection.session.server_info(deadline))).await;
        match asked {
            Ok(server) => {
                connection.server = server;
                self.note_role();
            }
            Err(failure) if connection.session.is_usable() => {
                debug!(target = %opener.target.name, %failure, "role unknown; keeping the previous one");
            }
            Err(failure) => {
                // Nothing fails for the question, so it is not repeated to one who does not survive it.
                self.roles.spare(Instant::now());
                self.lost_since(began, failure);
            }
        }
    }
}
