//! Accesses a key whose slot is on its way on the node that has it by then, where the user may do so.

use tokio::time::Instant;
use tracing::warn;

use super::super::asking::{follow, not_served};
use super::super::fallback::MEMORY;
use super::super::opening::Opener;
use super::Rounds;
use super::access::{Access, Accessed};
use crate::connection::dialer::Dial;
use crate::probe::{Failure, FailureReason};

impl Rounds {
    /// Accesses the key on the node that `ask` names, if the user may. The step began at `started`, without the opening of a
    /// connection.
    pub(super) async fn ask<D: Dial>(
        &mut self,
        access: Access<'_>,
        ask: &Failure,
        opener: &Opener<D>,
        started: &mut Instant,
    ) -> Result<Accessed<D::Stream>, Failure> {
        if self.asking_denied_until.is_some_and(|until| Instant::now() < until) {
            return Ok(Accessed::Denied);
        }
        let mut session = follow(opener, ask).await?;
        *started = Instant::now();
        match self.send(access, &mut session, *started).await {
            Ok(()) => Ok(Accessed::There(session)),
            Err(failure) if failure.reason == FailureReason::PermissionDenied => {
                self.asking_denied_until = Some(Instant::now() + MEMORY);
                let (target, detail) = (&self.target.name, &failure.detail);
                warn!(%target, %detail, "slots that are migrated not probed; give the user the right `+asking`");
                Ok(Accessed::Denied)
            }
            Err(failure) => Err(not_served(ask, &failure)),
        }
    }
}
