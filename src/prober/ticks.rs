//! The clock of one link: notices every tick when it comes due, whatever is under way.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::ledger::{Fact, Ledger};
use super::link_record::LinkRecord;
use super::opening::Connection;
use super::schedule::{Grid, Schedule, Tick};
use crate::alarm::{self, Alarm};
use crate::probe::{Failure, PhaseTimes};
use crate::target::Endpoint;

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The ticks of one link, and the ledger that they are entered in.
#[derive(Debug)]
pub(super) struct Ticks {
    schedule: Schedule,
    ledger: Ledger,
    record: LinkRecord,
    /// One for everything, kept for its place among the timers.
    timer: Alarm,
}

impl Ticks {
    /// Creates a clock without ticks.
    pub(super) fn new(ledger: Ledger, record: LinkRecord) -> Self {
        let never = Instant::now() + NEVER;
        let schedule = Schedule::starting(Grid { interval: NEVER, first: never });
        Self { schedule, ledger, record, timer: alarm::until(never) }
    }

    /// Lets ticks come due.
    pub(super) const fn start(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// Lets the first attempt begin now, before any tick.
    pub(super) fn begin(&mut self) {
        self.ledger.begin_at(Instant::now());
    }

    /// Lets the tick with this number come due now.
    pub(super) fn tick(&mut self, number: u64) {
        self.record.tick(Instant::now(), Tick { number, delay: Duration::ZERO, late: 0 });
        self.note(Fact::Tick);
    }

    /// When the next tick comes due.
    pub(super) const fn next_tick(&self) -> Instant {
        self.schedule.next()
    }

    pub(super) const fn record(&self) -> &LinkRecord {
        &self.record
    }

    /// The connection is being opened to `endpoint`.
    pub(super) fn opening(&mut self, endpoint: Option<&Endpoint>) {
        self.record.opening(endpoint);
    }

    /// The connection is open and signed in, to a server that may have `refused` to serve.
    pub(super) fn opened<S>(
        &mut self,
        phases: &PhaseTimes,
        connection: &Connection<S>,
        refused: Option<&Failure>,
    ) {
        if self.record.opened(phases, connection, refused) {
            self.note(Fact::Reached);
        }
    }

    /// The connection to `endpoint` could not be opened, or not signed in.
    pub(super) fn not_opened(&mut self, phases: &PhaseTimes, failure: &Failure, endpoint: Option<&Endpoint>) {
        if self.record.not_opened(phases, failure, endpoint) {
            self.note(Fact::Reached);
        }
    }

    /// Enters a fact of this moment.
    pub(super) fn note(&mut self, fact: Fact) {
        let at = Instant::now();
        self.ledger.note(at, fact, &mut |effect| self.record.effect(at, effect));
    }

    /// Whether another attempt is to begin now.
    pub(super) fn is_attempt_due(&self) -> bool {
        self.ledger.next_attempt().is_some_and(|at| at <= Instant::now())
    }

    /// Awaits `work`. Nothing but `work` itself ends it; ticks that come due meanwhile are noted. It is pinned by the
    /// caller: a future that is handed over by value takes its memory twice.
    pub(super) async fn during<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        loop {
            if let Some(done) = self.first_of(work.as_mut(), None).await {
                return done;
            }
        }
    }

    /// Awaits `event`, but only until the next attempt is to begin. `event` may be dropped.
    pub(super) async fn until_attempt<T>(
        &mut self,
        mut event: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        while !self.is_attempt_due() {
            let next_attempt = self.ledger.next_attempt();
            if let Some(event) = self.first_of(event.as_mut(), next_attempt).await {
                return Some(event);
            }
        }
        None
    }

    /// Awaits `work` until the time of a tick, an alarm of the ledger or `until`, and notes what is due.
    async fn first_of<T>(
        &mut self,
        work: Pin<&mut impl Future<Output = T>>,
        until: Option<Instant>,
    ) -> Option<T> {
        let times = [Some(self.schedule.next()), self.ledger.alarm(), until];
        if let Some(first) = times.into_iter().flatten().min()
            && first != self.timer.deadline()
        {
            self.timer.reset(first);
        }
        tokio::select! {
            // In this order: a connection that is already gone is not used for a probe.
            biased;
            done = work => Some(done),
            // Also while the work uses up the budget of its task.
            () = unconstrained(&mut self.timer) => {
                self.note_what_is_due();
                None
            }
        }
    }

    fn note_what_is_due(&mut self) {
        let now = Instant::now();
        if self.ledger.alarm().is_some_and(|alarm| alarm <= now) {
            self.note(Fact::Alarm);
        }
        if self.schedule.next() <= now {
            self.record.tick(now, self.schedule.take(now));
            self.note(Fact::Tick);
        }
    }
}
