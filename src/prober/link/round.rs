//! What follows for a link from a round on its connection.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::Link;
use super::topology::next_direction_from;
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::maintenance::Moving;
use crate::probe::{ClientCount, Failure, FailureReason, PhaseTimes, Stage, Step};
use crate::prober::ledger::{Fact, Measurements};
use crate::prober::opening::blame_credentials;
use crate::prober::round::Round;

impl<D: Dial> Link<D> {
    /// Runs a round on the open connection, which was idle before if `is_warm`.
    pub(super) async fn round(&mut self, phases: PhaseTimes, is_warm: bool) -> Option<ClientList> {
        let role = self.connection.as_ref()?.server.role;
        let round = self.steps().await?;
        if self.connection.as_ref()?.server.role != role {
            self.note_role();
        }
        if round.failed.is_none() {
            self.note_served();
        }
        if round.has_moved {
            self.suspect_topology();
        }
        if round.is_redirected {
            self.suspect_cluster();
        }
        let connection = self.connection.as_mut()?;
        let clients =
            round.clients.as_ref().map(|list| ClientCount { clients: list.count, own_seen: list.own_seen });
        let measurements = Measurements { phases, steps: round.steps, clients };
        let Some((failure, since)) = round.failed else {
            connection.loading = None;
            connection.has_served = true;
            self.has_served = true;
            self.ticks.note(Fact::RoundSucceeded(measurements));
            if let Some(failure) = round.lost {
                self.lost(failure);
            } else if self.rounds.lists_too_much()
                && let Some(identity) = connection.subscription.subscriber()
            {
                // A server grants a subscribed connection less room for replies, so one without a subscription replaces it.
                let moving = Moving { identity, endpoint: None, wait: Duration::ZERO };
                self.early.begin(moving, &self.opener);
            }
            return round.clients;
        };
        if is_warm && failure.stage == Stage::Step(Step::Ping) && connection.session.was_idle_close(&failure)
        {
            self.lost(failure);
            return None;
        }
        if self.has_served && is_demotion(&failure) {
            self.demoted(failure, since);
            return None;
        }
        debug!(target = %self.opener.target.name, %failure, "attempt failed");
        self.suspect_topology();
        if !self.follow(&failure) && is_demotion(&failure) {
            self.return_to_host();
        }
        let connection = self.connection.as_mut()?;
        let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
        let ends = !connection.session.is_usable() || self.replaces(&failure);
        let lived = if ends { self.close(&failure) } else { None };
        self.ticks.note(Fact::RoundFailed { failure, measurements, since, lived });
        round.clients
    }

    /// Runs the steps of a round. `None` if the node was left before their end, because another one has the shard now.
    async fn steps(&mut self) -> Option<Round> {
        self.ticks.note(Fact::Round);
        let Self {
            ticks,
            rounds,
            directions,
            endpoint,
            opener,
            shared,
            early,
            connection: Some(connection),
            ..
        } = self
        else {
            return None;
        };
        rounds.leave_keys(directions.is_none() && shared.signals.finds_shards());
        let opener = &*opener;
        let began = Instant::now();
        let (mut slots, mut failed_early) = (None, None);
        let round = async {
            let mut round = pin!(rounds.run(connection, opener));
            loop {
                tokio::select! {
                    biased;
                    round = &mut round => break Ok(round),
                    done = early.opened(), if early.leads_elsewhere() => {
                        if done.is_ready() {
                            break Err(done);
                        }
                        failed_early = Some(done);
                    }
                    direction = next_direction_from(directions.as_deref(), endpoint.as_ref()) => {
                        slots = Some(direction.slots);
                        early.lead(direction.endpoint, opener);
                    }
                }
            }
        };
        let round = ticks.during(pin!(round)).await;
        connection.session.rest_until(ticks.next_tick(), opener.target.interval / 2);
        if let Some(slots) = slots {
            self.rounds.place(slots);
        }
        if let Some(failed) = failed_early {
            self.opened_early(*failed);
        }
        match round {
            Ok(round) => Some(round),
            Err(early) => {
                // The node that has the shard now can be asked at once, whatever the other one waits for.
                self.leave_for(*early, began);
                None
            }
        }
    }

    /// Whether a new connection may do better than the open one, which answered with `failure`.
    pub(super) fn replaces(&mut self, failure: &Failure) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let now = Instant::now();
        if failure.reason == FailureReason::Loading {
            return now - *connection.loading.get_or_insert(now) > self.opener.target.connect_timeout;
        }
        connection.loading = None;
        // The server may have forgotten who we are, or be the wrong one: a new connection signs in, and may lead to
        // another. `ASK` says that a slot is on its way.
        failure.reason == FailureReason::AuthRejected || is_demotion(failure)
    }

    /// The server had served, and has answered that it is the wrong one now. If the next one says the same, that is a failure.
    fn demoted(&mut self, failure: Failure, since: Instant) {
        debug!(target = %self.opener.target.name, %failure, "server demoted");
        self.suspect_topology();
        if self.directions.is_some() {
            self.follow(&failure);
        } else {
            // Its name may lead to the new primary, and if not, its server names that.
            self.return_to_host();
        }
        self.roles.left();
        self.has_served = false;
        if let Some(lived) = self.close(&failure) {
            self.ticks.note(Fact::Demoted { failure, since, lived });
        }
    }
}

/// Whether a server says by `failure` that another one is the primary now.
fn is_demotion(failure: &Failure) -> bool {
    match failure.reason {
        FailureReason::ReadOnly => true,
        FailureReason::WrongNode => failure.detail.starts_with("MOVED"),
        // A replica that has lost its primary.
        FailureReason::ClusterDown => failure.detail.starts_with("MASTERDOWN"),
        _ => false,
    }
}
