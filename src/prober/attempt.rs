//! One attempt of a probe: the steps, in order, on an open session.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::key::Key;
use crate::connection::client_list::ClientList;
use crate::connection::session::Session;
use crate::probe::{Failure, FailureReason, PhaseTimes, Stage, Step, StepResult, StepResults};
use crate::target::{ClientListMode, Target};

/// What was written outlives a few probes, so that a slow GET still finds it, and then vanishes by itself.
const EXPIRY_INTERVALS: u32 = 3;
const MIN_EXPIRY: Duration = Duration::from_secs(5);
/// How many other keys are tried when a node of a cluster says that a key is not its own.
const MAX_MOVES: u32 = 64;

/// What one attempt has found so far.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) phases: PhaseTimes,
    pub(super) steps: StepResults,
    pub(super) clients: Option<ClientList>,
}

/// What the steps of one attempt are run with.
pub(super) struct Round<'a> {
    pub(super) target: &'a Target,
    /// No step takes longer than until then.
    pub(super) deadline: Instant,
    /// What is written, and must be read.
    pub(super) value: &'a str,
    pub(super) with_client_list: bool,
    pub(super) rng: &'a mut fastrand::Rng,
}

impl Round<'_> {
    fn limit(&self, started: Instant) -> Instant {
        self.deadline.min(started + self.target.command_timeout)
    }
}

impl Attempt {
    /// Runs the steps until one fails that must not.
    pub(super) async fn run_steps<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &mut Session<S>,
        key: &mut Key,
        round: Round<'_>,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        self.note(Step::Ping, started, session.ping(round.limit(started)).await)?;

        let expiry = (round.target.interval * EXPIRY_INTERVALS).max(MIN_EXPIRY);
        let mut moves = 0;
        loop {
            let started = Instant::now();
            let set = session.set(key.name(), round.value, expiry, round.limit(started)).await;
            if moves < MAX_MOVES && key.is_renewable() && set.as_ref().is_err_and(is_moved) {
                // A node of a cluster, asked for a slot of another: Azure Managed Redis with the OSS policy. Any
                // key of our own will do, so another is taken until one lies here, and is then kept.
                moves += 1;
                key.renew(round.rng);
                continue;
            }
            self.note(Step::Set, started, set)?;
            break;
        }

        let started = Instant::now();
        self.note(Step::Get, started, session.get(key.name(), round.value, round.limit(started)).await)?;

        if round.with_client_list {
            let started = Instant::now();
            let listed = session.client_list(round.limit(started)).await;
            match self.note(Step::ClientList, started, listed) {
                Ok(list) => self.clients = Some(list),
                Err(failure)
                    if failure.reason == FailureReason::PermissionDenied
                        && round.target.client_list.mode == ClientListMode::Optional => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Notes how a step that started at `started` ended.
    fn note<T>(&mut self, step: Step, started: Instant, result: Result<T, Failure>) -> Result<T, Failure> {
        let how = match &result {
            Ok(_) => StepResult::Success,
            Err(failure) if failure.reason == FailureReason::PermissionDenied => StepResult::Denied,
            Err(_) => StepResult::Failure,
        };
        self.steps.set(step, how, started.elapsed());
        result
    }
}

fn is_moved(failure: &Failure) -> bool {
    failure.stage == Stage::Step(Step::Set) && failure.detail.starts_with("MOVED ")
}
