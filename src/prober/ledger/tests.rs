//! The ledger's rules one by one. That they hold together is shown in `simulation.rs`.

use super::*;
use crate::probe::{Phase, Stage, Step};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A ledger and the time, which only goes on by request.
struct Book {
    ledger: Ledger,
    start: Instant,
    now: Instant,
    effects: Vec<Effect>,
}

fn book() -> Book {
    with_attempts(3)
}

fn with_attempts(attempts: u32) -> Book {
    with_limits(|now| Limits { attempts, connect_timeout: 5 * SECOND, startup_ends: now })
}

fn with_limits(limits: impl Fn(Instant) -> Limits) -> Book {
    let now = Instant::now();
    let limits = limits(now);
    let ledger = Ledger::new(limits, fastrand::Rng::with_seed(1));
    Book { ledger, start: now, now, effects: Vec::new() }
}

fn failure(reason: FailureReason) -> Failure {
    Failure::new(reason, Stage::Step(Step::Ping), "")
}

impl Book {
    fn note(&mut self, fact: Fact) -> &mut Self {
        self.ledger.note(self.now, fact, &mut |effect| self.effects.push(effect));
        self
    }

    /// Notes `fact` so long from now.
    fn after(&mut self, pause: Duration, fact: Fact) -> &mut Self {
        self.now += pause;
        self.note(fact)
    }

    fn tick(&mut self) -> &mut Self {
        self.note(Fact::Tick)
    }

    /// An opening that takes `time`.
    fn opens(&mut self, time: Duration) -> &mut Self {
        self.note(Fact::Opening).after(time, Fact::Opened { took: time })
    }

    fn does_not_open(&mut self, time: Duration, reason: FailureReason) -> &mut Self {
        self.note(Fact::Opening).after(time, Fact::NotOpened(failure(reason), Measurements::default()))
    }

    fn succeeds(&mut self, time: Duration) -> &mut Self {
        self.note(Fact::Round).after(time, Fact::RoundSucceeded(Measurements::default()))
    }

    /// A round whose first command fails after `time`.
    fn fails(&mut self, time: Duration, reason: FailureReason) -> &mut Self {
        let since = self.now;
        self.note(Fact::Round).after(time, failed(reason, since, None))
    }

    fn is_lost(&mut self, lived: Duration) -> &mut Self {
        self.note(Fact::Lost { failure: failure(FailureReason::Closed), since: self.now, lived })
    }

    /// A question that fails nothing gets no answer for `time`.
    fn is_not_answered(&mut self, time: Duration) -> &mut Self {
        let since = self.now;
        let failure = failure(FailureReason::CommandTimeout);
        self.after(time, Fact::Lost { failure, since, lived: 60 * SECOND })
    }

    /// A round whose command is answered after `time` by a server that was demoted.
    fn is_demoted(&mut self, time: Duration, lived: Duration) -> &mut Self {
        let since = self.now;
        let failure = failure(FailureReason::ReadOnly);
        self.note(Fact::Round).after(time, Fact::Demoted { failure, since, lived })
    }

    /// Goes on to the next attempt, by way of alarms.
    fn pause(&mut self) -> &mut Self {
        let next = self.ledger.next_attempt().unwrap();
        while let Some(alarm) = self.ledger.alarm().filter(|alarm| *alarm <= next) {
            self.now = self.now.max(alarm);
            self.note(Fact::Alarm);
        }
        self.now = self.now.max(next);
        self
    }

    /// A connection and one successful tick.
    fn healthy() -> Self {
        let mut book = book();
        book.tick().opens(5 * MS).succeeds(5 * MS);
        book
    }

    /// The ticks that failed and those that succeeded.
    fn settled(&self) -> (u64, u64) {
        let count = |is_ok: bool| {
            self.effects.iter().map(move |effect| match effect {
                Effect::Settled { ticks, outcome } if outcome.result.is_ok() == is_ok => *ticks,
                _ => 0,
            })
        };
        (count(false).sum(), count(true).sum())
    }

    fn unavailable(&self) -> Duration {
        self.effects
            .iter()
            .map(|effect| if let Effect::Unavailable(span) = effect { span.length() } else { Duration::ZERO })
            .sum()
    }

    fn verdicts(&self) -> Vec<Result<(), FailureReason>> {
        let verdict = |effect: &Effect| match effect {
            Effect::Up { .. } => Some(Ok(())),
            Effect::Down(failure) => Some(Err(failure.reason)),
            _ => None,
        };
        self.effects.iter().filter_map(verdict).collect()
    }

    fn next_pause(&self) -> Duration {
        self.ledger.next_attempt().unwrap() - self.now
    }
}

fn failed(reason: FailureReason, since: Instant, lived: Option<Duration>) -> Fact {
    Fact::RoundFailed { failure: failure(reason), measurements: Measurements::default(), since, lived }
}

#[test]
fn a_tick_on_an_open_connection_is_settled_by_its_round() {
    let mut book = Book::healthy();
    book.now += 10 * SECOND;
    book.tick().succeeds(3 * MS);
    assert_eq!((book.settled(), book.unavailable()), ((0, 2), Duration::ZERO));
    assert_eq!(book.verdicts(), [Ok(())]);
    assert_eq!(book.ledger.next_attempt(), None);
    let Some(Effect::Settled { outcome, .. }) = book.effects.last() else { panic!("not settled") };
    assert_eq!((outcome.attempts, outcome.duration), (1, 3 * MS));
}

#[test]
fn ticks_that_come_due_while_a_round_is_under_way_share_its_outcome() {
    let mut book = Book::healthy();
    book.tick().note(Fact::Round);
    book.after(SECOND, Fact::Tick).after(SECOND, Fact::Tick);
    assert_eq!(book.settled(), (0, 1));
    book.after(SECOND / 2, Fact::RoundSucceeded(Measurements::default()));
    let Some(Effect::Settled { ticks, outcome }) = book.effects.last() else { panic!("not settled") };
    assert_eq!((*ticks, outcome.duration), (3, SECOND * 5 / 2));
    assert_eq!(book.ledger.next_attempt(), None, "no second round for them");
}

#[test]
fn a_failed_attempt_settles_all_ticks_but_the_newest_which_goes_on() {
    let mut book = book();
    book.tick().note(Fact::Opening);
    book.after(SECOND, Fact::Tick).after(SECOND, Fact::Tick);
    book.after(SECOND, Fact::NotOpened(failure(FailureReason::ConnectTimeout), Measurements::default()));
    assert_eq!(book.settled(), (2, 0));
    book.pause().does_not_open(MS, FailureReason::ConnectRefused);
    assert_eq!(book.settled(), (2, 0));
    book.pause().does_not_open(MS, FailureReason::ConnectRefused);
    assert_eq!(book.settled(), (3, 0));
    let Some(Effect::Settled { outcome, .. }) =
        book.effects.iter().rfind(|effect| matches!(effect, Effect::Settled { .. }))
    else {
        panic!("not settled")
    };
    assert_eq!(outcome.attempts, 3);
}

#[test]
fn an_outage_shows_at_the_next_tick_however_long_an_opening_takes() {
    let mut book = with_attempts(1);
    book.tick().does_not_open(MS, FailureReason::ConnectRefused).pause().note(Fact::Opening);
    book.after(SECOND, Fact::Tick);
    assert_eq!(book.settled(), (2, 0));
    // The first opening says nothing until it ends.
    let mut book = with_attempts(1);
    book.tick().note(Fact::Opening).after(SECOND, Fact::Tick);
    assert_eq!(book.settled(), (0, 0));
}

#[test]
fn the_attempts_of_a_tick_end_with_the_next_tick() {
    let mut book = book();
    book.tick().does_not_open(MS, FailureReason::ConnectRefused);
    assert_eq!(book.settled(), (0, 0));
    book.after(MS, Fact::Tick);
    assert_eq!(book.settled(), (1, 0));
    assert_eq!(book.ledger.next_attempt(), Some(book.now), "the pause is over");
    book.opens(MS).succeeds(MS);
    assert_eq!(book.settled(), (1, 1));
}

#[test]
fn what_does_not_pass_by_itself_is_not_repeated() {
    for reason in [FailureReason::ValueMismatch, FailureReason::OutOfMemory, FailureReason::AuthRejected] {
        let mut book = Book::healthy();
        book.tick().fails(MS, reason);
        assert_eq!(book.settled(), (1, 1), "{reason}");
    }
}

#[test]
fn an_idle_close_that_is_repaired_within_its_grace_is_no_outage() {
    let mut book = Book::healthy();
    book.now += 4 * SECOND;
    book.is_lost(4 * SECOND);
    assert_eq!(book.next_pause(), Duration::ZERO);
    book.note(Fact::Opening).after(MS, Fact::Tick).after(900 * MS, Fact::Opened { took: 900 * MS });
    book.succeeds(MS);
    assert_eq!((book.settled(), book.unavailable()), ((0, 2), Duration::ZERO));
    assert_eq!(book.verdicts(), [Ok(())]);
}

#[test]
fn the_grace_is_three_times_the_last_opening_and_the_connect_timeout_at_most() {
    for (opening, grace) in [(MS, SECOND), (SECOND, 3 * SECOND), (4 * SECOND, 5 * SECOND)] {
        let mut book = book();
        book.tick().opens(opening).succeeds(MS).is_lost(4 * SECOND);
        assert_eq!(book.ledger.alarm(), Some(book.now + grace));
    }
}

#[test]
fn an_idle_close_that_is_not_repaired_in_time_is_an_outage_from_the_loss_to_the_new_connection() {
    let mut book = Book::healthy();
    book.is_lost(4 * SECOND).note(Fact::Opening);
    book.after(SECOND, Fact::Alarm).after(SECOND, Fact::Opened { took: 2 * SECOND });
    assert_eq!((book.settled(), book.unavailable()), ((0, 1), 2 * SECOND));
    let shown = book.effects.iter().any(|effect| matches!(effect, Effect::Lost(_)));
    assert!(shown && book.effects.last() == Some(&Effect::Reopened(None)));
    assert_eq!(book.ledger.next_attempt(), None, "no tick has failed: no round is needed");
}

#[test]
fn an_opening_that_fails_confirms_the_loss_and_only_a_round_ends_the_outage() {
    let mut book = Book::healthy();
    book.is_lost(4 * SECOND).does_not_open(MS, FailureReason::ConnectRefused).pause();
    book.opens(10 * MS);
    assert_eq!(book.next_pause(), Duration::ZERO, "a round follows");
    let lost = book.unavailable();
    book.succeeds(30 * MS);
    assert_eq!(book.unavailable(), lost + 30 * MS);
    assert_eq!((book.settled(), book.verdicts()), ((0, 1), vec![Ok(())]));
    assert_eq!(book.ledger.next_attempt(), None);
}

#[test]
fn a_cache_that_dies_between_rare_ticks_is_down_when_as_many_attempts_have_failed_as_a_tick_has() {
    let mut book = Book::healthy();
    book.is_lost(4 * SECOND);
    for _ in 0..3 {
        assert_eq!(book.verdicts(), [Ok(())]);
        book.pause().does_not_open(MS, FailureReason::ConnectRefused);
    }
    assert_eq!(book.verdicts(), [Ok(()), Err(FailureReason::ConnectRefused)]);
    let shown = book.effects.iter().filter(|effect| matches!(effect, Effect::FailedBetweenTicks(_)));
    assert_eq!(shown.count(), 1, "the failure that decides is shown");
    assert!(book.now - book.start < SECOND);
    book.pause().opens(MS).succeeds(MS);
    assert_eq!(book.verdicts().last(), Some(&Ok(())), "up at once, without a tick");
    assert_eq!(book.settled(), (0, 1));
}

#[test]
fn a_failover_whose_first_new_connection_serves_within_the_grace_costs_nothing_and_no_attempt() {
    let mut book = with_attempts(1);
    book.tick().opens(5 * MS).succeeds(5 * MS);
    book.tick().is_demoted(20 * MS, 60 * SECOND);
    assert_eq!(book.next_pause(), Duration::ZERO);
    book.opens(500 * MS);
    assert_eq!(book.next_pause(), Duration::ZERO, "the round is repeated");
    book.succeeds(10 * MS);
    assert_eq!((book.settled(), book.unavailable()), ((0, 2), Duration::ZERO));
    assert_eq!((book.verdicts(), book.ledger.alarm()), (vec![Ok(())], None));
}

#[test]
fn a_failover_on_a_slow_path_has_the_time_of_a_round_beside_that_of_an_opening() {
    for (opening, grace) in [(500 * MS, 1_500 * MS), (100 * MS, SECOND), (3 * SECOND, 5 * SECOND)] {
        let mut book = with_attempts(1);
        book.tick().opens(opening).succeeds(2 * SECOND);
        book.tick().is_demoted(SECOND, 60 * SECOND);
        assert_eq!(book.ledger.alarm(), Some(book.now + grace + 2 * SECOND), "{opening:?}");
        book.opens(opening).succeeds(2 * SECOND);
        assert_eq!((book.settled(), book.unavailable()), ((0, 2), Duration::ZERO), "{opening:?}");
    }
}

#[test]
fn a_failover_whose_new_connection_is_read_only_as_well_is_an_outage_from_the_first_answer_to_the_next_round()
{
    let mut book = with_attempts(1);
    book.tick().opens(5 * MS).succeeds(5 * MS);
    let begun = book.now;
    book.tick().is_demoted(20 * MS, 60 * SECOND).opens(30 * MS).fails(MS, FailureReason::ReadOnly);
    assert_eq!((book.settled(), book.unavailable()), ((1, 1), 51 * MS));
    book.pause().opens(30 * MS);
    assert_eq!(book.next_pause(), Duration::ZERO, "PONG of a replica ends no outage");
    book.succeeds(10 * MS);
    assert_eq!((book.unavailable(), book.settled()), (book.now - begun, (1, 1)));
}

#[test]
fn a_failover_that_outlasts_its_grace_counts_from_the_first_answer_whether_a_tick_has_failed_or_not() {
    let mut book = Book::healthy();
    let begun = book.now;
    book.tick().is_demoted(20 * MS, 60 * SECOND).note(Fact::Opening);
    let alarm = book.ledger.alarm().unwrap();
    book.after(alarm - book.now, Fact::Alarm).after(SECOND, Fact::Opened { took: 2 * SECOND });
    assert!(book.effects.iter().any(|effect| matches!(effect, Effect::Lost(_))));
    assert!(!book.effects.contains(&Effect::Reopened(None)), "only a round shows that it is over");
    book.succeeds(10 * MS);
    assert_eq!((book.settled(), book.unavailable()), ((0, 2), book.now - begun));
}

#[test]
fn a_server_that_hung_until_another_took_over_is_an_outage_from_the_start_of_the_hang() {
    let mut book = Book::healthy();
    let begun = book.now;
    book.tick().is_demoted(1_600 * MS, 60 * SECOND).opens(5 * MS);
    assert!(book.effects.iter().any(|effect| matches!(effect, Effect::Lost(_))));
    book.succeeds(10 * MS);
    assert_eq!((book.settled(), book.unavailable()), ((0, 2), book.now - begun));
}

#[test]
fn a_question_that_gets_no_answer_costs_nothing_if_the_next_connection_opens_at_once() {
    let mut book = Book::healthy();
    book.is_not_answered(2 * SECOND).opens(500 * MS);
    assert_eq!((book.unavailable(), book.ledger.alarm()), (Duration::ZERO, None));
}

#[test]
fn a_question_that_gets_no_answer_before_another_node_takes_over_is_the_start_of_an_outage() {
    let mut book = Book::healthy();
    let begun = book.now;
    book.is_not_answered(2 * SECOND).note(Fact::Elsewhere).opens(MS);
    assert_eq!((book.unavailable(), book.ledger.alarm()), (book.now - begun, None));
    let mut book = Book::healthy();
    book.is_not_answered(500 * MS).note(Fact::Elsewhere).opens(MS);
    assert_eq!(book.unavailable(), Duration::ZERO, "within the grace of a failover");
}

#[test]
fn a_question_that_gets_no_answer_is_the_start_of_the_outage_if_the_next_connection_does_not_open() {
    let mut book = Book::healthy();
    let begun = book.now;
    book.is_not_answered(2 * SECOND).note(Fact::Opening);
    book.after(SECOND, Fact::Alarm).after(SECOND, Fact::Opened { took: 2 * SECOND });
    assert_eq!(book.unavailable(), book.now - begun);
    let mut book = Book::healthy();
    let begun = book.now;
    book.is_not_answered(2 * SECOND).does_not_open(MS, FailureReason::ConnectRefused);
    assert_eq!(book.unavailable(), book.now - begun);
}

#[test]
fn an_outage_counts_from_the_start_of_the_command_that_failed() {
    let mut book = Book::healthy();
    book.tick().note(Fact::Round);
    book.now += 10 * MS;
    let since = book.now;
    book.after(2 * SECOND, failed(FailureReason::CommandTimeout, since, Some(9 * SECOND)));
    assert_eq!((book.unavailable(), book.next_pause()), (2 * SECOND, Duration::ZERO));
    // No tick has failed yet: the new connection ends the outage, the tick goes on with its second attempt.
    book.opens(10 * MS).succeeds(MS);
    assert_eq!((book.unavailable(), book.settled()), (2 * SECOND + 10 * MS, (0, 2)));
}

#[test]
fn a_failed_round_is_followed_up_however_rare_the_ticks() {
    let mut book = with_attempts(1);
    book.tick().opens(MS).fails(MS, FailureReason::Loading);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        pauses.push(book.next_pause());
        book.pause().fails(MS, FailureReason::Loading);
    }
    assert!(pauses[0] <= FIRST_PAUSE && pauses.iter().all(|pause| *pause <= PAUSE_CAP), "{pauses:?}");
    book.pause().succeeds(MS);
    assert_eq!((book.settled(), book.verdicts().last()), ((1, 0), Some(&Ok(()))));
    assert_eq!(book.unavailable() + MS, book.now - book.start, "from the failed command to the success");
}

#[test]
fn a_server_that_hangs_up_at_once_is_not_hammered() {
    let mut book = Book::healthy();
    let mut attempts = 0;
    while book.now - book.start < 60 * SECOND {
        book.is_lost(2 * MS).pause().opens(MS);
        book.now += MS;
        attempts += 1;
    }
    assert!((10..30).contains(&attempts), "{attempts}");
    assert!(book.unavailable() > 40 * SECOND, "{:?}", book.unavailable());
}

#[test]
fn a_refusal_is_repeated_gently_and_settles_ticks_for_five_seconds() {
    let mut book = with_attempts(1);
    book.tick().does_not_open(MS, FailureReason::AuthRejected);
    while book.next_pause() < 10 * SECOND {
        book.pause().does_not_open(MS, FailureReason::AuthRejected);
    }
    let (failed, _) = book.settled();
    book.after(4 * SECOND, Fact::Tick);
    assert_eq!(book.settled(), (failed + 1, 0), "settled by what is known");
    book.after(2 * SECOND, Fact::Tick);
    assert_eq!((book.settled(), book.next_pause()), ((failed + 1, 0), Duration::ZERO), "tried once");
    book.does_not_open(MS, FailureReason::AuthRejected);
    assert_eq!(book.settled(), (failed + 2, 0));
    book.after(MS, Fact::Renewed(book.now + MS));
    assert_eq!(book.next_pause(), Duration::ZERO, "new credentials end the pause");
}

#[test]
fn the_agents_own_limits_are_failed_ticks_but_no_time_of_the_cache() {
    let mut book = with_attempts(1);
    book.tick().does_not_open(MS, FailureReason::LocalResource);
    book.after(10 * SECOND, Fact::Tick).does_not_open(MS, FailureReason::LocalResource);
    assert_eq!((book.settled(), book.unavailable()), ((2, 0), Duration::ZERO));
    book.pause().does_not_open(MS, FailureReason::ConnectRefused);
    let begun = book.now - MS;
    book.after(SECOND, Fact::Alarm).does_not_open(Duration::ZERO, FailureReason::LocalResource);
    assert_eq!(book.unavailable(), book.now - begun, "the clock stops");
    book.after(20 * SECOND, Fact::Alarm).pause().opens(MS).succeeds(MS);
    assert_eq!(book.unavailable(), SECOND + MS);
    assert_eq!(book.verdicts().last(), Some(&Ok(())));
}

#[test]
fn that_a_server_was_out_of_reach_at_first_is_no_outage_of_its_own() {
    let mut book = with_attempts(1);
    for _ in 0..3 {
        book.tick().does_not_open(SECOND, FailureReason::ConnectTimeout).pause();
    }
    book.note(Fact::Opening).after(SECOND, Fact::Reached);
    book.effects.clear();
    let began = book.now;
    book.after(SECOND, Fact::NotOpened(failure(FailureReason::Loading), Measurements::default()));
    assert_eq!((book.unavailable(), book.verdicts()), (SECOND, vec![Err(FailureReason::Loading)]));
    book.pause().opens(MS).succeeds(MS);
    let outage = Some(book.now - began);
    assert_eq!(book.effects.last(), Some(&Effect::Up { outage }));

    let mut served = with_attempts(1);
    served.tick().does_not_open(SECOND, FailureReason::ConnectTimeout).pause();
    served.note(Fact::Opening).after(MS, Fact::Reached);
    served.note(Fact::Opened { took: MS }).succeeds(MS);
    assert_eq!(served.effects.last(), Some(&Effect::Up { outage: None }), "{:?}", served.effects);
}

#[test]
fn what_fails_before_the_first_success_while_all_starts_is_a_failed_tick_but_no_unavailable_time() {
    let starting = || {
        let limits =
            |now| Limits { attempts: 1, connect_timeout: 5 * SECOND, startup_ends: now + 30 * SECOND };
        with_limits(limits)
    };
    let mut book = starting();
    book.tick().does_not_open(MS, FailureReason::ConnectRefused);
    book.after(20 * SECOND, Fact::Tick).opens(MS).succeeds(MS);
    assert_eq!((book.settled(), book.unavailable()), ((1, 1), Duration::ZERO));
    let up = book.effects.iter().find(|effect| matches!(effect, Effect::Up { .. }));
    assert_eq!(up, Some(&Effect::Up { outage: None }));
    // After a success everything counts.
    book.is_lost(4 * SECOND).does_not_open(SECOND, FailureReason::ConnectRefused);
    assert_eq!(book.unavailable(), SECOND);

    let mut book = starting();
    book.tick().does_not_open(MS, FailureReason::ConnectRefused);
    book.after(29 * SECOND, Fact::Alarm);
    assert_eq!(book.unavailable(), Duration::ZERO);
    book.after(11 * SECOND, Fact::Tick).opens(MS).succeeds(MS);
    assert_eq!(
        book.unavailable() + 30 * SECOND,
        book.now - book.start,
        "what outlasts it counts from its end"
    );
}

#[test]
fn the_phases_and_steps_of_the_last_attempt_go_with_the_outcome() {
    let mut measurements = Measurements::default();
    measurements.phases.set(Phase::Connect, MS);
    let mut book = book();
    book.tick().note(Fact::Opening);
    book.after(MS, Fact::NotOpened(failure(FailureReason::ConnectRefused), measurements));
    book.after(MS, Fact::Tick);
    let Some(Effect::Settled { outcome, .. }) =
        book.effects.iter().find(|effect| matches!(effect, Effect::Settled { .. }))
    else {
        panic!("not settled")
    };
    assert_eq!((outcome.phases, outcome.attempts), (measurements.phases, 1));
}
