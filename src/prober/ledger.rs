//! The ledger of one link: turns facts into outcomes, outages, the verdict and the time of the next attempt.
//!
//! Pure: no I/O and no clock, each fact carries its instant. An attempt is an opening where there is no connection,
//! and then a round: the steps of a probe. What a fact means is decided here and nowhere else.

mod outage;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::probe::{ClientCount, Failure, FailureReason, Outcome, PhaseTimes, StepResults};
use crate::topology::SlotSet;
use outage::Outage;
pub(super) use outage::Span;

/// The first pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between the attempts of one tick.
const ATTEMPT_CAP: Duration = Duration::from_secs(1);
/// The longest pause while the cache is away.
const PAUSE_CAP: Duration = Duration::from_secs(5);
/// The longest pause where trying again does harm: it locks users out, floods audit logs, keeps a full server full.
const GENTLE_CAP: Duration = Duration::from_secs(60);
/// How long such a failure settles the ticks that come due in its pause.
const FRESH: Duration = Duration::from_secs(5);
/// A connection that lived shorter is not replaced without a pause.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The shortest time within which a lost connection may be replaced without an outage.
const MIN_GRACE: Duration = Duration::from_secs(1);

/// What happened. Facts come in the order of their instants.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// A tick has come due.
    Tick,
    /// An opening has begun.
    Opening,
    /// The connection is open, signed in, and has answered PING.
    Opened {
        /// How long that took once there were credentials.
        took: Duration,
    },
    /// Nobody was there before, and now the server has taken a connection. That it was out of reach was no outage.
    Reached,
    /// The opening has failed, or the server answered PING with an error.
    NotOpened(Failure, Measurements),
    /// A round has begun.
    Round,
    /// Every step of the round has succeeded.
    RoundSucceeded(Measurements),
    /// A step has failed.
    RoundFailed {
        failure: Failure,
        measurements: Measurements,
        /// When the command began that failed.
        since: Instant,
        /// How long the connection had lived, if it has ended with the failure.
        lived: Option<Duration>,
    },
    /// The connection was lost while it was idle, by the first command after an idle time, or by a question that fails
    /// nothing.
    Lost {
        failure: Failure,
        /// When it was lost, or when the question began that got no answer.
        since: Instant,
        /// How long the connection had lived.
        lived: Duration,
    },
    /// A server that had served before has said that it is the wrong one now, and its connection was closed: the next
    /// round, on a new connection, shows whether that was a failover or is an outage. It uses up no attempt.
    Demoted {
        failure: Failure,
        /// When the command began that it answered so.
        since: Instant,
        /// How long the connection had lived.
        lived: Duration,
    },
    /// What was lost is opened at another node: that it opens does not show that the first node had served until then.
    Elsewhere,
    /// There are new credentials: a pause ends at this instant.
    Renewed(Instant),
    /// Nothing happened, but the time of [`Ledger::alarm`] has come.
    Alarm,
}

/// What an attempt found, whether it failed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measurements {
    pub(super) phases: PhaseTimes,
    pub(super) steps: StepResults,
    pub(super) clients: Option<ClientCount>,
}

/// What follows from a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// So many ticks have this outcome.
    Settled { ticks: u64, outcome: Outcome },
    /// An attempt that no tick waits for has failed, and the cache is down, or down for another reason.
    FailedBetweenTicks(Outcome),
    /// The cache is up. It was down before, or nothing was known.
    Up {
        /// How long it was unavailable.
        outage: Option<Duration>,
    },
    /// The cache is down, or is down for another reason.
    Down(Failure),
    /// The cache was unavailable for another time, which follows the previous one.
    Unavailable(Span),
    /// A lost connection could not be replaced in time: an outage has begun with the loss.
    Lost(Failure),
    /// An outage in which no tick has failed is over: the connection was replaced. To which slots it leads, if the target is
    /// a cluster.
    Reopened(Option<Arc<SlotSet>>),
}

/// Takes the effects, in order.
pub(super) type Out<'a> = &'a mut dyn FnMut(Effect);

/// What the operator decided about attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) attempts: u32,
    pub(super) connect_timeout: Duration,
    /// Until the first success, time before this instant is not unavailable.
    pub(super) startup_ends: Instant,
}

/// The ledger of one link.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    rng: fastrand::Rng,
    work: Option<Work>,
    next_attempt: Option<Instant>,
    due: Due,
    /// The last failure, if no success came after it. Boxed, as is a loss: most of the time there is none.
    away: Option<Box<Away>>,
    loss: Option<Box<Loss>>,
    outage: Outage,
    has_succeeded: bool,
    failed_in_a_row: u32,
    pauses: Backoff,
    attempt_pauses: Backoff,
    last_opening: Duration,
    /// How long the last round took that has succeeded.
    last_round: Duration,
    verdict: Option<Result<(), FailureReason>>,
}

/// What is under way.
#[derive(Clone, Copy, Debug)]
struct Work {
    began: Instant,
    is_opening: bool,
}

/// The ticks that have come due and have no outcome yet.
#[derive(Debug, Default)]
struct Due {
    ticks: u64,
    /// How many attempts the newest has had.
    attempts: u32,
    /// When the first attempt for them began.
    began: Option<Instant>,
}

/// What was learnt last: the cache is away.
#[derive(Clone, Debug)]
struct Away {
    failure: Failure,
    at: Instant,
    measurements: Measurements,
}

/// A lost connection that may yet be replaced without an outage.
#[derive(Debug)]
struct Loss {
    at: Instant,
    failure: Failure,
    grace_ends: Instant,
    /// What shows that it was replaced.
    proof: Proof,
}

/// What shows that a connection was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The new connection has answered PING.
    Ping,
    /// A round has succeeded on it: a server that takes no writes answers PING as well.
    Round,
}

impl Ledger {
    pub(super) fn new(limits: Limits, rng: fastrand::Rng) -> Self {
        Self {
            limits,
            rng,
            work: None,
            next_attempt: None,
            due: Due::default(),
            away: None,
            loss: None,
            outage: Outage::default(),
            has_succeeded: false,
            failed_in_a_row: 0,
            pauses: Backoff::new(FIRST_PAUSE),
            attempt_pauses: Backoff::new(FIRST_PAUSE),
            last_opening: Duration::ZERO,
            last_round: Duration::ZERO,
            verdict: None,
        }
    }

    /// Notes a fact, and hands what follows from it to `out`.
    pub(super) fn note(&mut self, at: Instant, fact: Fact, out: Out<'_>) {
        if self.loss.as_ref().is_some_and(|loss| loss.grace_ends <= at) {
            self.confirm_loss(at, out);
        }
        match fact {
            Fact::Tick => self.tick(at, out),
            Fact::Opening => self.begin(at, true),
            Fact::Opened { took } => self.opened(at, took, out),
            Fact::Reached => self.reached(at, out),
            Fact::NotOpened(failure, measurements) => {
                let since = self.work.map_or(at, |work| work.began);
                self.attempt_failed(at, failure, measurements, since, None, out);
            }
            Fact::Round => self.begin(at, false),
            Fact::RoundSucceeded(measurements) => self.round_succeeded(at, measurements, out),
            Fact::RoundFailed { failure, measurements, since, lived } => {
                self.attempt_failed(at, failure, measurements, since, lived, out);
            }
            Fact::Lost { failure, since, lived } => self.lost(at, since, failure, lived, Proof::Ping),
            Fact::Demoted { failure, since, lived } => self.lost(at, since, failure, lived, Proof::Round),
            Fact::Elsewhere => self.elsewhere(),
            Fact::Renewed(due) => self.next_attempt = self.next_attempt.map(|_| due),
            Fact::Alarm => {}
        }
        unavailable(self.outage.count(at), out);
    }

    /// Lets the first attempt begin at `at`, before any tick.
    pub(super) const fn begin_at(&mut self, at: Instant) {
        self.next_attempt = Some(at);
    }

    /// When the next attempt is to begin; `None` while one is under way, or none is needed.
    pub(super) const fn next_attempt(&self) -> Option<Instant> {
        self.next_attempt
    }

    /// When [`Fact::Alarm`] is to be noted unless another fact comes first.
    pub(super) fn alarm(&self) -> Option<Instant> {
        let grace_ends = self.loss.as_ref().map(|loss| loss.grace_ends);
        grace_ends.into_iter().chain(self.outage.next_count()).min()
    }

    /// Whether a tick waits for its outcome.
    const fn is_due(&self) -> bool {
        self.due.ticks > 0
    }

    fn tick(&mut self, at: Instant, out: Out<'_>) {
        self.due.ticks += 1;
        let in_pause = self.work.is_none() && self.next_attempt.is_some_and(|next| next > at);
        if let Some(away) = &self.away {
            if self.work.is_some_and(|work| work.is_opening) {
                // An outage shows at the next tick, however long an opening takes.
                return self.settle_by_known(at, self.due.ticks, out);
            }
            if in_pause && self.due.attempts > 0 {
                // The next tick ends the attempts of the previous one.
                self.settle_by_known(at, self.due.ticks - 1, out);
            } else if in_pause && away.failure.reason.is_gentle() && at - away.at < FRESH {
                // The pause is there to spare the server.
                return self.settle_by_known(at, self.due.ticks, out);
            }
        }
        self.due.attempts = 0;
        self.attempt_pauses.reset();
        match self.work {
            Some(work) => self.due.began = self.due.began.or(Some(work.began)),
            None => self.next_attempt = Some(at),
        }
    }

    fn begin(&mut self, at: Instant, is_opening: bool) {
        self.work = Some(Work { began: at, is_opening });
        self.next_attempt = None;
        if self.is_due() {
            self.due.began = self.due.began.or(Some(at));
        }
    }

    fn opened(&mut self, at: Instant, took: Duration, out: Out<'_>) {
        self.work = None;
        self.last_opening = took;
        // Replaced within its grace.
        self.loss = self.loss.take().filter(|loss| loss.proof == Proof::Round);
        if !self.outage.is_confirmed() {
            unavailable(self.outage.end(at), out);
            self.failed_in_a_row = 0;
            if self.away.take().is_some() {
                out(Effect::Reopened(None));
            }
        }
        // Where nothing is known yet, the first round does not wait for a tick, which may be an interval away.
        let is_needed =
            self.is_due() || self.outage.is_confirmed() || self.loss.is_some() || self.verdict.is_none();
        self.next_attempt = is_needed.then_some(at);
    }

    /// Nothing is known of the server that could be held against it.
    fn reached(&mut self, at: Instant, out: Out<'_>) {
        unavailable(self.outage.end(at), out);
        (self.away, self.verdict) = (None, None);
        self.failed_in_a_row = 0;
        if let Some(work) = &mut self.work {
            work.began = at;
        }
    }

    fn round_succeeded(&mut self, at: Instant, measurements: Measurements, out: Out<'_>) {
        if let Some(work) = self.work.take() {
            self.last_round = at - work.began;
        }
        self.next_attempt = None;
        self.away = None;
        self.loss = None;
        self.has_succeeded = true;
        self.failed_in_a_row = 0;
        self.pauses.reset();
        let outage = self.outage.length(at);
        unavailable(self.outage.end(at), out);
        if self.is_due() {
            self.due.attempts += 1;
            self.settle(at, self.due.ticks, Ok(()), measurements, out);
        }
        if self.verdict.replace(Ok(())) != Some(Ok(())) {
            out(Effect::Up { outage });
        }
    }

    fn attempt_failed(
        &mut self,
        at: Instant,
        failure: Failure,
        measurements: Measurements,
        since: Instant,
        lived: Option<Duration>,
        out: Out<'_>,
    ) {
        let reason = failure.reason;
        self.work = None;
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        if reason.is_local() {
            // It says nothing about the cache.
            self.loss = None;
            unavailable(self.outage.stop(at), out);
        } else {
            self.confirm_loss(at, out);
            self.sign(since, at);
        }
        self.away = Some(Away { failure: failure.clone(), at, measurements }.into());

        let mut repeats = false;
        if self.is_due() {
            self.due.attempts += 1;
            // Where repeating does harm or is in vain, an outage that is known is tried once a tick.
            let is_spared = reason.is_gentle() || reason.is_of_role();
            let is_known = is_spared && self.failed_in_a_row > self.limits.attempts;
            repeats = self.due.attempts < self.limits.attempts && reason.may_pass() && !is_known;
            // The newest goes on with its remaining attempts.
            let ticks = self.due.ticks - u64::from(repeats);
            if ticks > 0 {
                self.settle(at, ticks, Err(failure.clone()), measurements, out);
            }
        } else if !reason.is_local() {
            self.outage.confirm();
        }
        if self.failed_in_a_row >= self.limits.attempts && self.verdict != Some(Err(reason)) {
            let Measurements { phases, steps, clients } = measurements;
            let (result, duration) = (Err(failure.clone()), at - since);
            let outcome = Outcome { result, attempts: 1, duration, phases, steps, clients };
            out(Effect::FailedBetweenTicks(outcome));
            self.down(failure, out);
        }

        let pause = if lived.is_some_and(|lived| lived >= SHORT_LIFE) {
            self.pauses.reset();
            Duration::ZERO
        } else if repeats {
            self.attempt_pauses.next(ATTEMPT_CAP, &mut self.rng)
        } else {
            self.pauses.next(if reason.is_gentle() { GENTLE_CAP } else { PAUSE_CAP }, &mut self.rng)
        };
        self.next_attempt = Some(at + pause);
    }

    /// The connection was lost, of which the first sign was at `since`.
    fn lost(&mut self, at: Instant, since: Instant, failure: Failure, lived: Duration, proof: Proof) {
        self.work = None;
        if self.away.is_none() {
            let opening = self.grace();
            let grace_ends = match proof {
                Proof::Ping => at + opening,
                // A server that hung before it was left used up the grace, but not by the time that its answers usually take.
                Proof::Round => at.min(since + self.last_round) + opening + self.last_round,
            };
            self.loss = Some(Loss { at: since, failure, grace_ends, proof }.into());
        }
        let pause = if lived >= SHORT_LIFE {
            self.pauses.reset();
            Duration::ZERO
        } else {
            self.pauses.next(PAUSE_CAP, &mut self.rng)
        };
        self.next_attempt = Some(at + pause);
    }

    /// How long a lost connection may take to be opened again.
    fn grace(&self) -> Duration {
        (self.last_opening * 3).max(MIN_GRACE).min(self.limits.connect_timeout)
    }

    /// The grace of a loss counts from its first sign.
    fn elsewhere(&mut self) {
        let grace = self.grace();
        if let Some(loss) = self.loss.as_mut().filter(|loss| loss.proof == Proof::Ping) {
            loss.grace_ends = loss.grace_ends.min(loss.at + grace);
        }
    }

    /// There is a sign of an outage since `since`.
    fn sign(&mut self, since: Instant, at: Instant) {
        let counts = |at: Instant| if self.has_succeeded { at } else { at.max(self.limits.startup_ends) };
        self.outage.sign(counts(since), counts(at));
    }

    /// The connection was not replaced in time: the outage runs from the loss.
    fn confirm_loss(&mut self, at: Instant, out: Out<'_>) {
        if let Some(loss) = self.loss.take() {
            self.sign(loss.at, loss.at);
            if loss.proof == Proof::Round {
                self.outage.confirm();
            }
            let (failure, measurements) = (loss.failure.clone(), Measurements::default());
            self.away = Some(Away { failure, at, measurements }.into());
            out(Effect::Lost(loss.failure));
        }
    }

    /// Gives `ticks` of those that are due the last failure as their outcome.
    fn settle_by_known(&mut self, at: Instant, ticks: u64, out: Out<'_>) {
        let Some(Away { failure, measurements, .. }) = self.away.as_deref().cloned() else { return };
        // A tick that had no attempt has found nothing itself.
        let measurements = if self.due.attempts > 0 { measurements } else { Measurements::default() };
        self.settle(at, ticks, Err(failure), measurements, out);
    }

    /// Gives `ticks` of those that are due their outcome, the oldest first.
    fn settle(
        &mut self,
        at: Instant,
        ticks: u64,
        result: Result<(), Failure>,
        measurements: Measurements,
        out: Out<'_>,
    ) {
        let Measurements { phases, steps, clients } = measurements;
        let failure = result.as_ref().err().cloned();
        let duration = self.due.began.map_or(Duration::ZERO, |began| at - began);
        let attempts = self.due.attempts;
        let outcome = Outcome { result, attempts, duration, phases, steps, clients };
        out(Effect::Settled { ticks, outcome });
        self.due.ticks -= ticks;
        if self.due.ticks == 0 {
            self.due = Due::default();
        }
        if let Some(failure) = failure {
            if !failure.reason.is_local() {
                self.outage.confirm();
            }
            self.down(failure, out);
        }
    }

    fn down(&mut self, failure: Failure, out: Out<'_>) {
        let verdict = Err(failure.reason);
        if self.verdict.replace(verdict) != Some(verdict) {
            out(Effect::Down(failure));
        }
    }
}

fn unavailable(span: Option<Span>, out: Out<'_>) {
    if let Some(span) = span {
        out(Effect::Unavailable(span));
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
