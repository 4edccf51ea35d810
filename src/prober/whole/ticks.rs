//! The ticks of a target that wait for links: each is settled exactly once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::probe::{Failure, Outcome, PhaseTimes, StepResults};
use crate::prober::ledger::{Effect, Out};

/// The ticks that were noticed and that not all links have settled.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// In order.
    waiting: VecDeque<Waiting>,
    /// The number of the next tick that nobody has noticed yet.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    is_settled: bool,
    /// The slowest of the rounds that it has passed.
    slowest: Option<Box<Outcome>>,
}

impl Ticks {
    /// A link has noticed a tick. Returns whether it is the first to do so.
    pub(super) fn notice(&mut self, number: u64) -> bool {
        let is_new = number >= self.next;
        if is_new {
            self.next = number + 1;
            self.waiting.push_back(Waiting { number, is_settled: false, slowest: None });
        }
        is_new
    }

    /// A link has failed `ticks`.
    pub(super) fn fail(&mut self, ticks: &[u64], outcome: &Outcome, out: Out<'_>) {
        let mut failed = 0;
        for tick in self.waiting.iter_mut().filter(|tick| !tick.is_settled && ticks.contains(&tick.number)) {
            (tick.is_settled, tick.slowest) = (true, None);
            failed += 1;
        }
        settled(failed, outcome.clone(), out);
    }

    /// Ticks before the one with the number `spoilt` that still wait fail, because it is known that something is away.
    pub(super) fn fail_waiting(&mut self, spoilt: u64, failure: &Failure, out: Out<'_>) {
        let ticks: Vec<u64> =
            self.waiting.iter().map(|tick| tick.number).filter(|number| *number < spoilt).collect();
        self.fail_known(&ticks, failure, out);
    }

    /// Ticks fail for what is known already.
    pub(super) fn fail_known(&mut self, ticks: &[u64], failure: &Failure, out: Out<'_>) {
        let outcome = Outcome {
            result: Err(failure.clone()),
            attempts: 0,
            duration: Duration::ZERO,
            phases: PhaseTimes::default(),
            steps: StepResults::default(),
            clients: None,
        };
        self.fail(ticks, &outcome, out);
    }

    /// A link has passed `ticks`. All links have settled those before the one with the number `passed`.
    pub(super) fn pass(&mut self, ticks: &[u64], outcome: &Outcome, passed: u64, out: Out<'_>) {
        let mut groups = Groups { last: None, out };
        while self.waiting.front().is_some_and(|tick| tick.number < passed) {
            let Some(Waiting { number, is_settled: false, slowest }) = self.waiting.pop_front() else {
                continue;
            };
            let is_own = ticks.contains(&number);
            match slowest {
                Some(mut slowest) if !is_own || slowest.duration > outcome.duration => {
                    if is_own {
                        slowest.clients = slowest.clients.or(outcome.clients);
                    }
                    groups.add(*slowest);
                }
                Some(other) => {
                    groups.add(Outcome { clients: outcome.clients.or(other.clients), ..outcome.clone() });
                }
                None => groups.add(outcome.clone()),
            }
        }
        groups.settle();
        for tick in self.waiting.iter_mut().filter(|tick| !tick.is_settled && ticks.contains(&tick.number)) {
            match &mut tick.slowest {
                Some(slowest) if slowest.duration > outcome.duration => {
                    slowest.clients = slowest.clients.or(outcome.clients);
                }
                slowest => {
                    let clients = slowest.as_ref().and_then(|slowest| slowest.clients);
                    let clients = outcome.clients.or(clients);
                    *slowest = Some(Box::new(Outcome { clients, ..outcome.clone() }));
                }
            }
        }
    }

    /// All links have settled the ticks before the one with the number `passed`. One without any outcome takes that of
    /// the next round.
    pub(super) fn settle_passed(&mut self, passed: u64, out: Out<'_>) {
        let mut groups = Groups { last: None, out };
        for tick in self.waiting.iter_mut().filter(|tick| tick.number < passed) {
            if let Some(slowest) = tick.slowest.take() {
                tick.is_settled = true;
                groups.add(*slowest);
            }
        }
        groups.settle();
    }
}

/// Ticks with their outcomes. Those with the same one are settled together: it is the outcome of one round.
struct Groups<'a> {
    last: Option<(u64, Outcome)>,
    out: Out<'a>,
}

impl Groups<'_> {
    fn add(&mut self, outcome: Outcome) {
        match &mut self.last {
            Some((ticks, last)) if *last == outcome => *ticks += 1,
            _ => {
                self.settle();
                self.last = Some((1, outcome));
            }
        }
    }

    fn settle(&mut self) {
        if let Some((ticks, outcome)) = self.last.take() {
            settled(ticks, outcome, self.out);
        }
    }
}

fn settled(ticks: u64, outcome: Outcome, out: Out<'_>) {
    if ticks > 0 {
        out(Effect::Settled { ticks, outcome });
    }
}
