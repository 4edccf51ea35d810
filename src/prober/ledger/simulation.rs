//! The ledger against a plain reference, over thousands of random histories.
//!
//! The reference is naive: every tick is followed by itself, outages are a list of times, nothing is counted on the
//! way. A history that fails is named by its seed; `SIMULATION_SEED=n cargo test simulation` plays it again.

use super::*;
use crate::probe::{Stage, Step};
use crate::prober::seeds::seeds;

const RUNS: u64 = 600;
const FACTS: usize = 300;
const MICROSECOND: f64 = 1e-6;

/// One fact of a history, and what the ledger made of it.
struct Entry {
    at: Instant,
    fact: Fact,
    effects: Vec<Effect>,
    /// When the next attempt was to begin, before and after the fact.
    next_attempt: [Option<Instant>; 2],
}

/// What a random prober does.
enum Work {
    Nothing,
    /// When it ends, and how long it takes once there are credentials.
    Opening(Instant, Duration),
    /// When it ends, when it began, and whether the connection was idle before.
    Round(Instant, Instant, bool),
    /// A question that fails nothing: when it ends and when it began.
    Other(Instant, Instant),
}

struct World {
    rng: fastrand::Rng,
    ledger: Ledger,
    now: Instant,
    entries: Vec<Entry>,
    interval: Duration,
    /// The time of one round trip.
    trip: Duration,
    next_tick: Instant,
    opened: Option<Instant>,
    work: Work,
    /// When an idle connection is lost.
    loss: Instant,
    /// In how many of a hundred cases something fails, at present.
    trouble: u32,
    /// Whether the server has ever taken a connection.
    is_reached: bool,
}

const REASONS: [FailureReason; 10] = [
    FailureReason::ConnectRefused,
    FailureReason::ConnectTimeout,
    FailureReason::Closed,
    FailureReason::Loading,
    FailureReason::AuthRejected,
    FailureReason::TooManyClients,
    FailureReason::ValueMismatch,
    FailureReason::CommandTimeout,
    FailureReason::LocalResource,
    FailureReason::ReadOnly,
];

impl World {
    fn history(seed: u64) -> (Limits, Vec<Entry>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let limits = Limits {
            attempts: rng.u32(1..=5),
            connect_timeout: Duration::from_secs(rng.u64(1..=10)),
            startup_ends: now + Duration::from_secs([0, 10, 300][rng.usize(..3)]),
        };
        let mut world = Self {
            ledger: Ledger::new(limits, rng.fork()),
            now,
            entries: Vec::new(),
            interval: Duration::from_millis([100, 1_000, 10_000, 60_000][rng.usize(..4)]),
            trip: Duration::from_secs_f64(10.0 * MICROSECOND * 300_000_f64.powf(rng.f64())),
            next_tick: now,
            opened: None,
            work: Work::Nothing,
            loss: now,
            trouble: 0,
            is_reached: false,
            rng,
        };
        while world.entries.len() < FACTS {
            world.step();
        }
        (limits, world.entries)
    }

    fn note(&mut self, fact: Fact) {
        let before = self.ledger.next_attempt();
        let mut effects = Vec::new();
        self.ledger.note(self.now, fact.clone(), &mut |effect| effects.push(effect));
        let next_attempt = [before, self.ledger.next_attempt()];
        self.entries.push(Entry { at: self.now, fact, effects, next_attempt });
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    /// Some round trips from now.
    fn later(&mut self, trips: f64) -> Instant {
        self.now + self.trip.mul_f64(trips * (0.5 + self.rng.f64()))
    }

    fn failure(&mut self) -> Failure {
        let reason = REASONS[self.rng.usize(..REASONS.len())];
        Failure::new(reason, Stage::Step(Step::Set), "")
    }

    /// Goes on to what happens next, and lets it happen.
    fn step(&mut self) {
        let alarm = self.ledger.alarm();
        let (ends, attempt, loss) = match self.work {
            Work::Nothing => (None, self.ledger.next_attempt(), self.opened.map(|_| self.loss)),
            Work::Opening(ends, _) | Work::Round(ends, ..) | Work::Other(ends, _) => (Some(ends), None, None),
        };
        let next = [ends, attempt, loss, alarm, Some(self.next_tick)].into_iter().flatten().min();
        self.now = self.now.max(next.expect("there is always a next tick"));
        if self.chance(1) {
            // The process did not run for a while.
            self.now += self.interval.mul_f64(self.rng.f64() * 5.0);
        }
        if self.chance(2) {
            self.trouble = [0, 0, 10, 50, 95][self.rng.usize(..5)];
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        if due(ends) {
            self.work_ends();
        } else if due(loss) {
            self.is_lost(self.now);
        } else if due(alarm) {
            self.note(Fact::Alarm);
        } else if self.next_tick <= self.now {
            while self.next_tick <= self.now {
                self.next_tick += self.interval;
            }
            self.note(Fact::Tick);
        } else if due(attempt) {
            self.attempt(true);
        }
    }

    fn attempt(&mut self, was_idle: bool) {
        if self.opened.is_none() {
            let ends = self.later(3.0);
            let took = (ends - self.now).mul_f64(if self.chance(20) { self.rng.f64() } else { 1.0 });
            self.work = Work::Opening(ends, took);
            self.note(Fact::Opening);
        } else if was_idle && self.chance(3) {
            self.work = Work::Other(self.later(1.0), self.now);
            if self.chance(50) {
                self.note(Fact::Renewed(self.now));
            }
        } else {
            self.work = Work::Round(self.later(4.0), self.now, was_idle);
            self.note(Fact::Round);
        }
    }

    fn is_lost(&mut self, since: Instant) {
        let lived = self.now - self.opened.take().expect("only what is open is lost");
        let failure = Failure::new(FailureReason::Closed, Stage::Idle, "");
        self.note(Fact::Lost { failure, since, lived });
    }

    fn is_open(&mut self) {
        self.opened = Some(self.now);
        self.loss =
            self.now + self.interval.mul_f64(self.rng.f64() * if self.chance(20) { 1.0 } else { 50.0 });
    }

    fn work_ends(&mut self) {
        let fails = self.chance(self.trouble);
        if matches!(self.work, Work::Opening(..)) && !self.is_reached && (!fails || self.chance(10)) {
            self.is_reached = true;
            self.note(Fact::Reached);
        }
        if matches!(self.work, Work::Opening(..)) && self.chance(10) {
            self.note(Fact::Elsewhere);
        }
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Opening(..) if fails => {
                // Signed in, but PING was refused.
                if self.chance(20) {
                    self.is_open();
                }
                let failure = self.failure();
                self.note(Fact::NotOpened(failure, Measurements::default()));
            }
            Work::Opening(_, took) => {
                self.is_open();
                self.note(Fact::Opened { took });
                if self.ledger.next_attempt().is_some() {
                    self.attempt(false);
                }
            }
            Work::Round(_, _, true) if fails && self.chance(30) => self.is_lost(self.now),
            Work::Round(_, began, true) if fails && self.chance(10) => {
                let lived = self.now - self.opened.take().expect("a round needs a connection");
                let failure = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "");
                let since = began + (self.now - began).mul_f64(self.rng.f64());
                self.note(Fact::Demoted { failure, since, lived });
            }
            Work::Round(_, began, _) if fails => {
                let since = began + (self.now - began).mul_f64(self.rng.f64());
                let ends = self.chance(50);
                let lived = self.opened.take_if(|_| ends).map(|opened| self.now - opened);
                let failure = self.failure();
                self.note(Fact::RoundFailed { failure, measurements: Measurements::default(), since, lived });
            }
            Work::Round(..) => self.note(Fact::RoundSucceeded(Measurements::default())),
            Work::Other(_, began) if fails => self.is_lost(began),
            Work::Other(..) | Work::Nothing => {}
        }
    }
}

type Verdict = Result<(), FailureReason>;

/// What a history must come to.
#[derive(Default)]
struct Reference {
    attempts: u32,
    connect_timeout: Duration,
    startup_ends: Option<Instant>,
    first_success: Option<Instant>,
    ticks: Vec<Tick>,
    /// The attempts that failed since the last success.
    failures: Vec<FailureReason>,
    /// When the opening or round under way began.
    opening: Option<Instant>,
    round: Option<Instant>,
    last_opening: Duration,
    last_round: Duration,
    away: Option<(FailureReason, Instant)>,
    /// A loss that may be repaired until the second instant, and whether only a round shows that it was.
    loss: Option<(Instant, Instant, FailureReason, bool)>,
    /// The pieces of all outages; the end of the last is open while it is counted.
    outages: Vec<(Instant, Option<Instant>)>,
    is_outage: bool,
    is_confirmed: bool,
    verdict: Option<Verdict>,
    verdicts: Vec<Verdict>,
}

struct Tick {
    attempts: u32,
    outcome: Option<Verdict>,
}

impl Reference {
    fn waiting(&mut self) -> impl DoubleEndedIterator<Item = &mut Tick> {
        self.ticks.iter_mut().filter(|tick| tick.outcome.is_none())
    }

    fn is_waited_for(&self) -> bool {
        self.ticks.iter().any(|tick| tick.outcome.is_none())
    }

    fn decide(&mut self, verdict: Verdict) {
        if self.verdict.replace(verdict) != Some(verdict) {
            self.verdicts.push(verdict);
        }
    }

    /// Settles all that wait, but perhaps the newest.
    fn settle(&mut self, verdict: Verdict, but_newest: bool) {
        let mut any = false;
        for tick in self.waiting().rev().skip(usize::from(but_newest)) {
            tick.outcome = Some(verdict);
            any = true;
        }
        if any {
            self.is_confirmed |= verdict.is_err_and(|reason| !reason.is_local());
            self.decide(verdict);
        }
    }

    fn outage(&mut self, since: Instant, at: Instant) {
        if !self.is_outage {
            self.outages.push((since, None));
            self.is_outage = true;
        } else if self.outages.last().unwrap().1.is_some() {
            self.outages.push((at, None));
        }
    }

    fn stop_clock(&mut self, at: Instant) {
        if let Some((_, end @ None)) = self.outages.last_mut() {
            *end = Some(at);
        }
    }

    fn end_outage(&mut self, at: Instant) {
        self.stop_clock(at);
        (self.is_outage, self.is_confirmed) = (false, false);
        self.failures.clear();
        self.away = None;
    }

    fn failed(&mut self, at: Instant, since: Instant, reason: FailureReason) {
        (self.opening, self.round) = (None, None);
        self.failures.push(reason);
        let loss = self.loss.take();
        if reason.is_local() {
            self.stop_clock(at);
        } else {
            self.outage(loss.map_or(since, |(lost, ..)| lost), at);
            self.is_confirmed |= loss.is_some_and(|(.., needs_round)| needs_round);
        }
        self.away = Some((reason, at));
        if self.is_waited_for() {
            let limit = self.attempts;
            let spared = (reason.is_gentle() || reason.is_of_role()) && self.failures.len() > limit as usize;
            let newest = self.waiting().next_back().unwrap();
            newest.attempts += 1;
            let goes_on = newest.attempts < limit && reason.may_pass() && !spared;
            self.settle(Err(reason), goes_on);
        } else {
            self.is_confirmed |= !reason.is_local();
        }
        if self.failures.len() >= self.attempts as usize {
            self.decide(Err(reason));
        }
    }

    fn grace(&self) -> Duration {
        (3 * self.last_opening).max(Duration::from_secs(1)).min(self.connect_timeout)
    }

    fn lost(&mut self, at: Instant, since: Instant, reason: FailureReason, needs_round: bool) {
        self.round = None;
        if self.away.is_none() {
            let opening = self.grace();
            let (from, round) = if needs_round {
                (at.min(since + self.last_round), self.last_round)
            } else {
                (at, Duration::ZERO)
            };
            self.loss = Some((since, from + opening + round, reason, needs_round));
        }
    }

    fn tick(&mut self, at: Instant, next_attempt: Option<Instant>) {
        let newest_has_failed = self.waiting().next_back().is_some_and(|tick| tick.attempts > 0);
        let is_pause =
            self.opening.is_none() && self.round.is_none() && next_attempt.is_some_and(|next| next > at);
        let mut known = None;
        match self.away {
            Some((reason, _)) if self.opening.is_some() => known = Some(reason),
            Some((reason, _)) if is_pause && newest_has_failed => self.settle(Err(reason), false),
            Some((reason, learnt))
                if is_pause && reason.is_gentle() && at < learnt + Duration::from_secs(5) =>
            {
                known = Some(reason);
            }
            _ => {}
        }
        self.ticks.push(Tick { attempts: 0, outcome: None });
        if let Some(reason) = known {
            self.settle(Err(reason), false);
        }
    }

    fn note(&mut self, Entry { at, fact, next_attempt, .. }: &Entry) {
        let at = *at;
        if let Some((lost, _, reason, needs_round)) = self.loss.take_if(|(_, ends, ..)| *ends <= at) {
            self.outage(lost, at);
            self.is_confirmed |= needs_round;
            self.away = Some((reason, at));
        }
        match fact {
            Fact::Tick => self.tick(at, next_attempt[0]),
            Fact::Opening => self.opening = Some(at),
            Fact::Round => self.round = Some(at),
            Fact::Opened { took } => {
                self.opening = None;
                self.last_opening = *took;
                self.loss.take_if(|(.., needs_round)| !*needs_round);
                if !self.is_confirmed {
                    self.end_outage(at);
                }
            }
            Fact::Reached => {
                self.end_outage(at);
                self.verdict = None;
                self.opening = Some(at);
            }
            Fact::NotOpened(failure, _) => self.failed(at, self.opening.unwrap(), failure.reason),
            Fact::RoundFailed { failure, since, .. } => self.failed(at, *since, failure.reason),
            Fact::RoundSucceeded(_) => {
                self.last_round = at - self.round.take().unwrap();
                self.loss = None;
                self.end_outage(at);
                self.first_success = self.first_success.or(Some(at));
                self.settle(Ok(()), false);
                self.decide(Ok(()));
            }
            Fact::Lost { failure, since, .. } => self.lost(at, *since, failure.reason, false),
            Fact::Demoted { failure, since, .. } => self.lost(at, *since, failure.reason, true),
            Fact::Elsewhere => {
                let grace = self.grace();
                if let Some((since, ends, _, false)) = &mut self.loss {
                    *ends = (*ends).min(*since + grace);
                }
            }
            Fact::Renewed(_) | Fact::Alarm => {}
        }
    }

    fn unavailable(&self, now: Instant) -> Duration {
        let piece = |&(from, to): &(Instant, Option<Instant>)| {
            let is_start = self.first_success.is_none_or(|success| from < success);
            let from = if is_start { from.max(self.startup_ends.unwrap()) } else { from };
            to.unwrap_or(now).saturating_duration_since(from)
        };
        self.outages.iter().map(piece).sum()
    }
}

fn compare(seed: u64) {
    let (limits, entries) = World::history(seed);
    let mut reference = Reference {
        attempts: limits.attempts,
        connect_timeout: limits.connect_timeout,
        startup_ends: Some(limits.startup_ends),
        ..<_>::default()
    };
    let (mut settled, mut count) = (Vec::new(), 0);
    let mut verdicts = Vec::new();
    let mut unavailable = Duration::ZERO;
    for (index, entry) in entries.iter().enumerate() {
        reference.note(entry);
        for effect in &entry.effects {
            match effect {
                Effect::Settled { ticks, outcome } => {
                    let verdict = outcome.result.as_ref().map(|&()| ()).map_err(|failure| failure.reason);
                    for _ in 0..*ticks {
                        settled.push((count, verdict));
                        count += 1;
                    }
                    assert!(outcome.attempts <= limits.attempts, "seed {seed}, fact {index}");
                }
                Effect::Up { .. } => verdicts.push(Ok(())),
                Effect::Down(failure) => verdicts.push(Err(failure.reason)),
                Effect::Unavailable(span) => unavailable += span.length(),
                Effect::FailedBetweenTicks(_) | Effect::Lost(_) | Effect::Reopened(_) => {}
            }
        }
        let context = || format!("seed {seed}, fact {index}: {:?}", entry.fact);
        for (tick, verdict) in settled.drain(..) {
            assert_eq!(reference.ticks[tick].outcome, Some(verdict), "{}, tick {tick}", context());
        }
        let waits = reference.ticks.get(count).is_none_or(|tick| tick.outcome.is_none());
        assert!(waits, "{}, tick {count} was forgotten", context());
        assert_eq!(verdicts.last(), reference.verdicts.last(), "{}", context());
        assert_eq!(unavailable, reference.unavailable(entry.at), "{}", context());
        assert!(unavailable <= entry.at - entries[0].at, "{}", context());
        // While something waits or is away and nothing is under way, an attempt is planned, within the longest pause.
        let idle = reference.opening.is_none() && reference.round.is_none();
        if idle && (reference.is_waited_for() || reference.away.is_some()) {
            let next = entry.next_attempt[1].unwrap_or_else(|| panic!("{}: given up", context()));
            let gentle = reference.away.is_some_and(|(reason, _)| reason.is_gentle());
            let longest = if gentle { GENTLE_CAP } else { PAUSE_CAP };
            assert!(next <= entry.at + longest, "{}: {:?}", context(), next - entry.at);
        }
    }
    assert_eq!(verdicts, reference.verdicts, "seed {seed}");
}

#[test]
fn the_ledger_is_what_a_plain_reference_makes_of_the_same_history() {
    seeds(RUNS).for_each(compare);
}
