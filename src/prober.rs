//! One target's loop: a probe at every tick on a connection that is kept, and reopened when it is lost.
//!
//! It decides when; how a connection is opened is in `link.rs`, what commands mean in [`crate::connection`].

mod attempt;
mod key;
mod link;
mod outage;
mod record;
mod retry;
mod schedule;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::connection::client_list::ClientList;
use crate::connection::dialer::Dial;
use crate::identity::sign_in::SignIn;
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, FailureReason, Outcome, PhaseTimes, Stage, StepResults};
use crate::status::TargetStatus;
use crate::target::{ClientListMode, Target};

use attempt::{Attempt, Round};
use key::Key;
use link::{Link, LinkEvent, Reauthentication};
use record::Record;
use retry::Retry;
use schedule::{Schedule, Tick};

/// The first pause before a lost connection is opened again, and the longest.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_CAP: Duration = Duration::from_secs(5);
/// The first pause between the attempts of one probe, and the longest.
const ATTEMPT_FIRST: Duration = Duration::from_millis(100);
const ATTEMPT_CAP: Duration = Duration::from_secs(1);
/// The first pause before a refused re-authentication is tried again, and the longest.
const REAUTHENTICATE_FIRST: Duration = Duration::from_secs(1);
const REAUTHENTICATE_CAP: Duration = Duration::from_secs(30);
/// An outage is counted at least this often, so that a scrape in the midst of it sees it grow.
const OUTAGE_STEP: Duration = Duration::from_secs(5);

/// Everything that a prober is made of.
pub struct Setup<D> {
    /// What is probed.
    pub target: Arc<Target>,
    /// Opens its connections.
    pub dialer: D,
    /// Where its credentials come from.
    pub sign_in: SignIn,
    /// Tells the time of outcomes, and whether a token has ended.
    pub clock: Clock,
    /// The source of jitter, of the key's suffix and of what is written.
    pub rng: fastrand::Rng,
    /// What is counted.
    pub metrics: TargetMetrics,
    /// What is shown.
    pub status: TargetStatus,
    /// Names this process in the key that is written.
    pub instance: Arc<str>,
}

/// One target's loop.
pub struct Prober<D: Dial> {
    target: Arc<Target>,
    link: Link<D>,
    record: Record,
    rng: fastrand::Rng,
    key: Key,
    probes: u32,
    /// How the last probe failed, if its tick was over before the connection was open.
    cut_short: Option<Failure>,
    reopen: Retry,
    reauthenticate: Retry,
}

/// What a probe found, with what only an interactive user wants to see of it.
#[derive(Debug)]
pub struct Probed {
    /// What a tick is worth.
    pub outcome: Outcome,
    /// The clients, where `CLIENT LIST` ran and was allowed.
    pub clients: Option<ClientList>,
}

enum Event {
    Tick,
    Link(LinkEvent),
    Reopen,
    Reauthenticate,
    /// An outage lasts.
    Outage,
}

impl<D: Dial> Prober<D> {
    /// A prober that has done nothing yet.
    pub fn new(setup: Setup<D>) -> Self {
        let Setup { target, dialer, sign_in, clock, mut rng, metrics, status, instance } = setup;
        let (metrics, status) = (Arc::new(metrics), Arc::new(status));
        let key = Key::new(target.key.clone(), instance, &mut rng);
        let link = Link::new(
            Arc::clone(&target),
            dialer,
            sign_in,
            clock.clone(),
            Arc::clone(&metrics),
            Arc::clone(&status),
        );
        let record = Record::new(target.name.clone(), clock, metrics, status);
        Self {
            target,
            link,
            record,
            rng,
            key,
            probes: 0,
            cut_short: None,
            reopen: Retry::new(REOPEN_FIRST),
            reauthenticate: Retry::new(REAUTHENTICATE_FIRST),
        }
    }

    /// Runs until it is dropped; the first tick is at `first`.
    pub async fn run(mut self, first: Instant) -> Infallible {
        let mut schedule = Schedule::new(self.target.interval, first);
        loop {
            let event = self.next_event(schedule.next()).await;
            match event {
                Event::Tick => {
                    let mut tick = schedule.begin(Instant::now());
                    self.record.tick(tick);
                    if let Some(failure) = self.cut_short.take()
                        && !self.link.is_open()
                    {
                        tick = self.open_over_ticks(tick, &mut schedule, failure).await;
                    }
                    let probed = self.probe(tick.deadline).await;
                    self.conclude(&probed.outcome);
                    self.cut_short = self.cut_short_by(tick.deadline, probed.outcome);
                }
                Event::Link(LinkEvent::Lost(failure)) => self.lost(failure),
                Event::Link(LinkEvent::Renewed) if self.link.is_open() => self.reauthenticate().await,
                Event::Reauthenticate => self.reauthenticate().await,
                Event::Outage => {}
                Event::Link(LinkEvent::Renewed) | Event::Reopen => self.reopen(schedule.next()).await,
            }
            self.record.outage_lasts();
        }
    }

    async fn next_event(&mut self, next_tick: Instant) -> Event {
        tokio::select! {
            // In this order: a connection that is already gone is not used for a probe, and nothing delays a tick.
            biased;
            event = self.link.lost_or_renewed() => Event::Link(event),
            () = sleep_until(next_tick) => Event::Tick,
            () = Retry::due(self.reopen.at) => Event::Reopen,
            () = Retry::due(self.reauthenticate.at) => Event::Reauthenticate,
            () = sleep(OUTAGE_STEP), if self.record.is_outage() => Event::Outage,
        }
    }

    /// The failure of a probe whose connection was still being opened at `deadline`, where there is more time for that
    /// than a tick has.
    fn cut_short_by(&self, deadline: Instant, outcome: Outcome) -> Option<Failure> {
        let Err(failure) = outcome.result else { return None };
        let opening = matches!(failure.stage, Stage::Phase(_)) && Instant::now() >= deadline;
        (opening && self.target.connect_timeout > self.target.interval).then_some(failure)
    }

    /// Opens the connection over as many ticks as the connect timeout allows. Each that passes meanwhile fails with
    /// `failure`, which cut the last opening short. A cache that takes longer to connect to than from tick to tick, or
    /// a machine that is busy opening thousands of connections, would otherwise never get there.
    async fn open_over_ticks(&mut self, mut tick: Tick, schedule: &mut Schedule, failure: Failure) -> Tick {
        let Self { target, link, record, .. } = self;
        let outcome = Outcome {
            result: Err(failure),
            attempts: 1,
            duration: target.interval,
            phases: PhaseTimes::default(),
            steps: StepResults::default(),
            clients: None,
        };
        let mut opening = pin!(link.open(Instant::now() + target.connect_timeout));
        loop {
            tokio::select! {
                biased;
                // Opened or not, the probe goes on from there.
                _ = &mut opening => return tick,
                () = sleep_until(tick.deadline) => {
                    record.outcome(&outcome);
                    record.outage_lasts();
                    tick = schedule.begin(Instant::now());
                    record.tick(tick);
                }
            }
        }
    }

    /// Probes once, attempts included, until `deadline` at most. Opens the connection first if there is none.
    pub async fn probe(&mut self, deadline: Instant) -> Probed {
        let started = Instant::now();
        let with_client_list = self.target.client_list.mode != ClientListMode::Off
            && self.probes.is_multiple_of(self.target.client_list.every.get());
        self.probes = self.probes.wrapping_add(1);
        let mut pauses = Backoff::new(ATTEMPT_FIRST);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let began = Instant::now();
            let mut attempt = Attempt::default();
            let result = match self.attempt(&mut attempt, deadline, with_client_list).await {
                Ok(()) => Ok(()),
                Err(failure) => {
                    self.record.outage_begins(began);
                    Err(self.settle(failure))
                }
            };
            if let Err(failure) = &result
                && attempts < self.target.attempts.get()
                && failure.reason.may_pass()
            {
                let again = Instant::now() + pauses.next(ATTEMPT_CAP, &mut self.rng);
                if again < deadline {
                    debug!(target = %self.target.name, %failure, attempts, "attempt failed; retrying");
                    sleep_until(again).await;
                    continue;
                }
            }
            let clients = attempt.clients.as_ref().and_then(|list| Some(self.link.session()?.count(list)));
            let Attempt { phases, steps, clients: list } = attempt;
            let duration = started.elapsed();
            let outcome = Outcome { result, attempts, duration, phases, steps, clients };
            return Probed { outcome, clients: list };
        }
    }

    async fn attempt(
        &mut self,
        attempt: &mut Attempt,
        deadline: Instant,
        with_client_list: bool,
    ) -> Result<(), Failure> {
        if !self.link.is_open() {
            match self.link.open(deadline).await {
                Ok(phases) => attempt.phases = phases,
                Err(failed) => {
                    attempt.phases = failed.phases;
                    return Err(failed.failure);
                }
            }
        }
        let session = self.link.session().expect("it is open, or was opened just now");
        let value = format!("{:032x}", self.rng.u128(..));
        let round =
            Round { target: &self.target, deadline, value: &value, with_client_list, rng: &mut self.rng };
        attempt.run_steps(session, &mut self.key, round).await
    }

    /// Drops the connection after `failure` if it cannot be used again, or if a new one may do better.
    fn settle(&mut self, failure: Failure) -> Failure {
        let usable = self.link.session().is_none_or(|session| session.is_usable());
        // A replica answered, or the server forgot who we are: a new connection may reach the primary, and signs in.
        let renew = matches!(failure.reason, FailureReason::ReadOnly | FailureReason::AuthRejected);
        if usable && !renew { failure } else { self.link.close(failure) }
    }

    /// Records what a tick found, and plans to open the connection again if there is none.
    fn conclude(&mut self, outcome: &Outcome) {
        self.record.outcome(outcome);
        if outcome.result.is_ok() {
            self.reopen = Retry::new(REOPEN_FIRST);
        }
        if self.link.is_open() {
            self.reopen.at = None;
        } else {
            self.reopen.schedule(REOPEN_CAP, &mut self.rng);
        }
    }

    fn lost(&mut self, failure: Failure) {
        self.record.outage_begins(Instant::now());
        let failure = self.link.close(failure);
        info!(
            target = %self.target.name,
            reason = failure.reason.as_str(),
            detail = %failure.detail,
            "connection lost"
        );
        self.reauthenticate = Retry::new(REAUTHENTICATE_FIRST);
        self.reopen.schedule(REOPEN_CAP, &mut self.rng);
    }

    /// Opens the connection between ticks. A tick that comes due meanwhile takes over.
    async fn reopen(&mut self, next_tick: Instant) {
        self.reopen.at = None;
        if next_tick <= Instant::now() {
            // It would be cut short at once, with a connection that was opened in vain.
            return;
        }
        let opened = async {
            // Its own limit lies behind the tick's, below: to be cut short by a tick is no failure to count.
            let deadline = next_tick + self.target.connect_timeout;
            self.link.open(deadline).await.map_err(|failed| failed.failure)?;
            let session = self.link.session().expect("it was opened just now");
            session.ping(Instant::now() + self.target.command_timeout).await
        };
        let result = tokio::select! {
            biased;
            result = opened => result,
            () = sleep_until(next_tick) => {
                self.link.abandon();
                return;
            }
        };
        match result {
            Ok(()) => {
                self.record.reopened();
                info!(target = %self.target.name, "connection reopened");
            }
            Err(failure) => {
                let failure = self.settle(failure);
                debug!(target = %self.target.name, %failure, "reconnect failed; retrying");
                if !self.link.is_open() {
                    self.reopen.schedule(REOPEN_CAP, &mut self.rng);
                }
            }
        }
    }

    /// Presents a renewed token on the live connection, so that the server's deadline moves before it strikes.
    async fn reauthenticate(&mut self) {
        self.reauthenticate.at = None;
        match self.link.reauthenticate(self.target.command_timeout).await {
            Reauthentication::NotNeeded => {}
            Reauthentication::Done => {
                self.reauthenticate.backoff.reset();
                debug!(target = %self.target.name, "re-authenticated");
            }
            Reauthentication::Refused(failure) => {
                warn!(
                    target = %self.target.name,
                    detail = %failure.detail,
                    "re-authentication failed; keeping the connection"
                );
                self.reauthenticate.schedule(REAUTHENTICATE_CAP, &mut self.rng);
            }
            Reauthentication::Lost(failure) => self.lost(failure),
        }
    }
}

#[cfg(test)]
mod tests;
