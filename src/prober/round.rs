//! A round: the steps of a probe, in order, on an open session.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::key::Key;
use crate::connection::client_list::ClientList;
use crate::connection::session::Session;
use crate::probe::{Failure, FailureReason, Stage, Step, StepResult, StepResults};
use crate::target::{ClientListMode, Target};

/// What was written outlives a few probes, so that a slow GET still finds it, and then vanishes by itself.
const EXPIRY_INTERVALS: u32 = 3;
const MIN_EXPIRY: Duration = Duration::from_secs(5);
/// How many other keys are tried when a node of a cluster says that a key is not its own.
const MAX_MOVES: u32 = 64;

/// Runs the rounds of one target.
#[derive(Debug)]
pub(super) struct Rounds {
    target: Arc<Target>,
    key: Key,
    rng: fastrand::Rng,
    count: u32,
}

/// What one round has found so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) steps: StepResults,
    pub(super) clients: Option<ClientList>,
    /// What a step failed with that must not, and when that began.
    pub(super) failed: Option<(Failure, Instant)>,
}

impl Rounds {
    pub(super) const fn new(target: Arc<Target>, key: Key, rng: fastrand::Rng) -> Self {
        Self { target, key, rng, count: 0 }
    }

    /// Runs the steps until one fails that must not. Each has the target's command timeout.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, session: &mut Session<S>) -> Round {
        let mut round = Round::default();
        // The failure is noted in the round.
        let _ = self.steps(session, &mut round).await;
        round
    }

    async fn steps<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &mut Session<S>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let Self { target, key, rng, count } = self;
        let timeout = target.command_timeout;
        let started = Instant::now();
        round.note(Step::Ping, started, session.ping(started + timeout).await)?;

        let value = format!("{:032x}", rng.u128(..));
        let expiry = (target.interval * EXPIRY_INTERVALS).max(MIN_EXPIRY);
        let mut moves = 0;
        loop {
            let started = Instant::now();
            let set = session.set(key.name(), &value, expiry, started + timeout).await;
            if moves < MAX_MOVES && key.is_renewable() && set.as_ref().is_err_and(is_moved) {
                // A node of a cluster, asked for a slot of another: Azure Managed Redis with the OSS policy. Any
                // key of our own will do, so another is taken until one lies here, and is then kept.
                moves += 1;
                key.renew(rng);
                continue;
            }
            round.note(Step::Set, started, set)?;
            break;
        }

        let started = Instant::now();
        round.note(Step::Get, started, session.get(key.name(), &value, started + timeout).await)?;

        let lists = target.client_list.mode != ClientListMode::Off
            && count.is_multiple_of(target.client_list.every.get());
        *count = count.wrapping_add(1);
        if lists {
            let started = Instant::now();
            let listed = session.client_list(started + timeout).await;
            if target.client_list.mode == ClientListMode::Optional
                && listed.as_ref().is_err_and(|failure| failure.reason == FailureReason::PermissionDenied)
            {
                round.steps.set(Step::ClientList, StepResult::Denied, started.elapsed());
            } else {
                round.clients = Some(round.note(Step::ClientList, started, listed)?);
            }
        }
        Ok(())
    }
}

impl Round {
    /// Notes how a step that started at `started` ended.
    fn note<T>(&mut self, step: Step, started: Instant, result: Result<T, Failure>) -> Result<T, ()> {
        let how = match &result {
            Ok(_) => StepResult::Success,
            Err(failure) if failure.reason == FailureReason::PermissionDenied => StepResult::Denied,
            Err(_) => StepResult::Failure,
        };
        self.steps.set(step, how, started.elapsed());
        result.map_err(|failure| self.failed = Some((failure, started)))
    }
}

fn is_moved(failure: &Failure) -> bool {
    failure.stage == Stage::Step(Step::Set) && failure.detail.starts_with("MOVED ")
}
