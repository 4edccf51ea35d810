//! Presenting renewed credentials on a link's connection.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::Link;
use crate::connection::dialer::Dial;
use crate::prober::ledger::{Fact, Measurements};
use crate::prober::opening::blame_credentials;

impl<D: Dial> Link<D> {
    /// Presents renewed credentials on the live connection, so that the server's deadline moves before it strikes.
    pub(super) async fn reauthenticate(&mut self) {
        let Self { ticks, connection: Some(connection), opener, rng, .. } = self else { return };
        let target = Arc::clone(&opener.target);
        connection.reauthenticate = None;
        let credentials = async {
            tokio::select! {
                biased;
                lost = connection.session.lost() => Err(lost),
                // A file may hang.
                credentials = opener.sign_in.credentials() => Ok(credentials),
            }
        };
        let credentials = ticks.during(pin!(credentials)).await;
        let credentials = match credentials {
            Err(lost) => return self.lost(lost),
            Ok(Ok(credentials)) if credentials != connection.credentials => credentials,
            Ok(Ok(_)) => return,
            Ok(Err(failure)) => {
                debug!(target = %target.name, %failure, "changed credentials not usable; keeping the connection");
                return;
            }
        };
        let since = Instant::now();
        let deadline = since + target.command_timeout;
        let authenticated = ticks.during(pin!(connection.session.authenticate(&credentials, deadline))).await;
        match authenticated {
            Ok(()) => {
                ticks.record().reauthenticated(Ok(()));
                connection.reauthenticated(credentials);
                debug!(target = %target.name, "re-authenticated");
            }
            Err(failure) if connection.session.is_usable() => {
                ticks.record().reauthenticated(Err(()));
                opener.sign_in.refused();
                if connection.reauthenticate_later(rng) {
                    warn!(
                        target = %target.name,
                        detail = %failure.detail,
                        "re-authentication failed; keeping the connection"
                    );
                } else {
                    debug!(target = %target.name, detail = %failure.detail, "re-authentication failed again");
                }
            }
            Err(failure) => {
                ticks.record().reauthenticated(Err(()));
                if connection.session.was_idle_close(&failure) {
                    return self.lost(failure);
                }
                let failure = blame_credentials(failure, &connection.credentials, &self.opener.clock);
                let lived = self.close(&failure);
                self.ticks.note(Fact::RoundFailed {
                    failure,
                    measurements: Measurements::default(),
                    since,
                    lived,
                });
            }
        }
    }
}
