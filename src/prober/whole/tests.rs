//! The whole by example; against a plain reference in `simulation.rs`.

use super::*;
use crate::probe::{ClientCount, Outcome, Stage, Step, StepResult};
use crate::topology::Slot;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn outcome(result: Result<(), Failure>, duration: Duration) -> Outcome {
    Outcome {
        result,
        attempts: 1,
        duration,
        phases: PhaseTimes::default(),
        steps: StepResults::default(),
        clients: None,
    }
}

pub(super) fn failure(reason: FailureReason) -> Failure {
    Failure::new(reason, Stage::Step(Step::Set), "")
}

pub(super) fn shard(lowest: u16) -> Part {
    Part::Shard(Arc::new(SlotSet::of(Slot::new(lowest).unwrap())))
}

/// A whole of shards that decide, and what it says.
struct Bench {
    whole: Whole,
    start: Instant,
    effects: Vec<Effect>,
}

impl Bench {
    fn of(shards: &[u16]) -> Self {
        let mut bench = Self { whole: Whole::default(), start: Instant::now(), effects: Vec::new() };
        for (id, lowest) in (0..).zip(shards) {
            bench.whole.join(LinkId(id), shard(*lowest), 0);
            bench.whole.reached(LinkId(id));
        }
        bench.whole.decide_by(Deciding::Shards, bench.start, &mut |_| panic!("nothing is known"));
        bench
    }

    fn tick(&mut self, number: u64) {
        let at = self.start + SECOND * u32::try_from(number).unwrap();
        self.whole.tick(number, at, &mut |effect| self.effects.push(effect));
    }

    fn settles(&mut self, link: u32, ticks: &[u64], result: Result<(), FailureReason>, seconds: u32) {
        let result = result.map_err(failure);
        let effect = Effect::Settled {
            ticks: ticks.len() as u64,
            outcome: Outcome {
                clients: Some(ClientCount { clients: link.into(), own_seen: true }),
                ..outcome(result, SECOND * seconds)
            },
        };
        self.effect(link, effect, ticks);
    }

    fn effect(&mut self, link: u32, effect: Effect, ticks: &[u64]) {
        let at = self.start;
        self.whole.effect(LinkId(link), at, effect, ticks, &mut |effect| self.effects.push(effect));
    }

    fn down(&mut self, link: u32, reason: FailureReason) {
        self.effect(link, Effect::Down(failure(reason)), &[]);
    }

    fn up(&mut self, link: u32) {
        self.effect(link, Effect::Up { outage: None }, &[]);
    }

    /// What has been said since the last call, shortly.
    fn said(&mut self) -> Vec<String> {
        let say = |effect: Effect| match effect {
            Effect::Settled { ticks, outcome } => {
                let result = outcome.result.as_ref().map_or_else(named, |()| "success".into());
                format!("{ticks} {result} {} s", outcome.duration.as_secs())
            }
            Effect::Up { outage } => format!("up {outage:?}"),
            Effect::Down(failure) => format!("down {}", named(&failure)),
            Effect::Unavailable(span) => format!("unavailable {} s", span.length().as_secs()),
            other => format!("{other:?}"),
        };
        self.effects.drain(..).map(say).collect()
    }
}

fn named(failure: &Failure) -> String {
    format!("{} {}", failure.reason, failure.slots.as_deref().map(ToString::to_string).unwrap_or_default())
}

#[test]
fn a_connection_that_was_reopened_is_named_with_the_slots_of_its_shard() {
    let Bench { mut whole, start, mut effects } = Bench::of(&[0, 5461]);
    whole.effect(LinkId(1), start, Effect::Reopened(None), &[], &mut |effect| effects.push(effect));
    assert_eq!(effects, [Effect::Reopened(shard(5461).slots().cloned())]);
}

#[test]
fn a_tick_succeeds_when_all_have_passed_it_with_the_duration_of_the_slowest() {
    let mut bench = Bench::of(&[0, 5461, 10923]);
    bench.tick(0);
    bench.settles(1, &[0], Ok(()), 3);
    bench.settles(0, &[0], Ok(()), 1);
    assert!(bench.said().is_empty());
    bench.settles(2, &[0], Ok(()), 2);
    let Effect::Settled { outcome, .. } = &bench.effects[0] else { panic!("{:?}", bench.effects) };
    assert_eq!(outcome.clients.unwrap().clients, 0, "of the lowest shard");
    assert_eq!(bench.said(), ["1 success 3 s"]);
}

#[test]
fn an_outcome_that_blames_another_shard_has_no_steps_of_its_own() {
    let mut bench = Bench::of(&[0, 5461]);
    bench.down(1, FailureReason::ConnectRefused);
    for (reason, ran) in [(FailureReason::ClusterDown, 0), (FailureReason::OutOfMemory, 1)] {
        bench.tick(0);
        bench.effects.clear();
        let mut found = outcome(Err(failure(reason)), SECOND);
        found.steps.set(Step::Ping, StepResult::Success, SECOND);
        bench.effect(0, Effect::Settled { ticks: 1, outcome: found }, &[0]);
        let Some(Effect::Settled { outcome, .. }) = bench.effects.first() else {
            panic!("{:?}", bench.effects)
        };
        assert_eq!(outcome.steps.iter().count(), ran, "{:?}", outcome.result);
        bench = Bench::of(&[0, 5461]);
        bench.down(1, FailureReason::ConnectRefused);
    }
}

#[test]
fn a_tick_fails_when_the_first_fails_it_and_once() {
    let mut bench = Bench::of(&[0, 5461, 10923]);
    bench.tick(0);
    bench.settles(0, &[0], Ok(()), 1);
    bench.settles(2, &[0], Err(FailureReason::Closed), 2);
    assert_eq!(bench.said(), ["1 closed 10923 2 s"]);
    bench.settles(1, &[0], Err(FailureReason::Reset), 3);
    assert!(bench.said().is_empty());
    bench.tick(1);
    for link in [0, 1, 2] {
        bench.settles(link, &[1], Ok(()), 1);
    }
    assert_eq!(bench.said(), ["1 success 1 s"]);
}

#[test]
fn a_slow_shard_delays_no_failure_of_another_and_its_ticks_are_settled_together() {
    let mut bench = Bench::of(&[0, 5461]);
    for tick in 0..4 {
        bench.tick(tick);
        let result = if tick == 2 { Err(FailureReason::Closed) } else { Ok(()) };
        bench.settles(0, &[tick], result, 0);
    }
    assert_eq!(bench.said(), ["1 closed 0 0 s"]);
    bench.settles(1, &[0, 1, 2, 3], Ok(()), 9);
    assert_eq!(bench.said(), ["3 success 9 s"]);
}

#[test]
fn the_target_is_up_if_all_are_and_down_for_the_most_telling_reason() {
    let mut bench = Bench::of(&[0, 5461, 10923]);
    bench.up(0);
    bench.up(1);
    assert!(bench.said().is_empty());
    bench.up(2);
    assert_eq!(bench.said(), ["up None"]);
    bench.down(0, FailureReason::ClusterDown);
    bench.down(2, FailureReason::ConnectRefused);
    bench.down(1, FailureReason::ClusterDown);
    assert_eq!(bench.said(), ["down cluster_down 0", "down connect_refused 10923"]);
    bench.tick(0);
    bench.settles(0, &[0], Err(FailureReason::ClusterDown), 1);
    assert_eq!(bench.said(), ["1 connect_refused 10923 1 s"]);
    bench.up(2);
    bench.up(0);
    assert_eq!(bench.said(), ["down cluster_down 0"]);
    bench.up(1);
    assert_eq!(bench.said(), ["up None"]);
}

#[test]
fn a_shard_that_was_never_reached_decides_nothing() {
    let mut bench = Bench::of(&[0]);
    bench.whole.join(LinkId(9), shard(5461), 0);
    bench.down(9, FailureReason::ConnectTimeout);
    bench.tick(0);
    bench.settles(9, &[0], Err(FailureReason::ConnectTimeout), 5);
    let span = Span { from: bench.start, until: bench.start + SECOND };
    bench.effect(9, Effect::Unavailable(span), &[]);
    assert!(bench.said().is_empty());
    bench.settles(0, &[0], Ok(()), 1);
    bench.up(0);
    assert_eq!(bench.said(), ["1 success 1 s", "up None"]);
    // It is reached in the middle of a tick that it has failed before.
    bench.tick(1);
    bench.settles(9, &[1], Err(FailureReason::ConnectTimeout), 5);
    bench.whole.reached(LinkId(9));
    bench.up(9);
    bench.settles(0, &[1], Ok(()), 1);
    bench.tick(2);
    bench.settles(0, &[2], Ok(()), 1);
    assert_eq!(bench.said(), ["1 success 1 s"]);
    bench.settles(9, &[2], Ok(()), 1);
    assert_eq!(bench.said(), ["1 success 1 s"]);
}

#[test]
fn slots_without_an_owner_fail_every_tick_and_run_the_unavailable_time() {
    let mut bench = Bench::of(&[0, 5461]);
    let at = |bench: &Bench, second| bench.start + SECOND * second;
    bench.up(0);
    bench.up(1);
    assert_eq!(bench.said(), ["up None"]);
    let uncovered = Failure { slots: shard(7).slots().cloned(), ..failure(FailureReason::ClusterDown) };
    let now = at(&bench, 1);
    bench.whole.uncover(Some(uncovered), now, &mut |effect| bench.effects.push(effect));
    assert_eq!(bench.said(), ["down cluster_down 7"]);
    bench.tick(3);
    assert_eq!(bench.said(), ["unavailable 2 s", "1 cluster_down 7 0 s"]);
    bench.settles(0, &[3], Ok(()), 1);
    bench.settles(1, &[3], Ok(()), 1);
    let now = at(&bench, 4);
    bench.whole.uncover(None, now, &mut |effect| bench.effects.push(effect));
    assert_eq!(bench.said(), ["unavailable 1 s", "up Some(3s)"]);
}

#[test]
fn the_length_of_an_outage_does_not_count_a_connection_that_was_lost_and_replaced_before() {
    let mut bench = Bench::of(&[0, 5461]);
    bench.up(0);
    bench.up(1);
    let blip = |bench: &mut Bench, link, from, until| {
        let span = Span { from: bench.start + SECOND * from, until: bench.start + SECOND * until };
        bench.effect(link, Effect::Unavailable(span), &[]);
    };
    blip(&mut bench, 1, 1, 2);
    let start = bench.start;
    // What follows happens later.
    let later = |bench: &mut Bench, second, link, effect| {
        let (at, effects) = (start + SECOND * second, &mut bench.effects);
        bench.whole.effect(LinkId(link), at, effect, &[], &mut |effect| effects.push(effect));
    };
    later(&mut bench, 100, 0, Effect::Down(failure(FailureReason::Closed)));
    blip(&mut bench, 0, 99, 101);
    // Time for which the agent was to blame does not end it.
    blip(&mut bench, 0, 103, 104);
    later(&mut bench, 104, 0, Effect::Up { outage: None });
    assert_eq!(bench.said().last().unwrap(), "up Some(5s)");
    blip(&mut bench, 1, 110, 111);
    later(&mut bench, 120, 0, Effect::Down(failure(FailureReason::LocalResource)));
    later(&mut bench, 130, 0, Effect::Up { outage: None });
    assert_eq!(bench.said().last().unwrap(), "up None", "none of that time was the cache's fault");
}

#[test]
fn a_tick_outlives_the_link_that_was_to_settle_it() {
    let mut bench = Bench::of(&[0, 5461]);
    for tick in [0, 1] {
        bench.tick(tick);
        bench.settles(0, &[tick], Ok(()), 1);
    }
    let now = bench.start;
    bench.whole.leave(LinkId(1), now, &mut |effect| bench.effects.push(effect));
    assert_eq!(bench.said(), ["2 success 1 s"]);
    // The last one leaves before it has settled what it has noticed.
    bench.tick(2);
    bench.whole.leave(LinkId(0), now, &mut |effect| bench.effects.push(effect));
    bench.whole.join(LinkId(2), shard(0), 3);
    bench.whole.reached(LinkId(2));
    assert!(bench.said().is_empty());
    bench.tick(3);
    bench.settles(2, &[3], Ok(()), 2);
    assert_eq!(bench.said(), ["2 success 2 s"]);
}

mod simulation;
