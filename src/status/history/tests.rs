use super::*;
use crate::probe::{Failure, FailureReason, PhaseTimes, Stage, StepResults};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const INTERVAL: Duration = Duration::from_secs(10);

/// A history with its clocks.
struct Bench {
    history: History,
    now: Instant,
    at: SystemTime,
}

impl Bench {
    fn new() -> Self {
        let (now, at) = (Instant::now(), SystemTime::UNIX_EPOCH + 1_000_000 * SECOND);
        Self { history: History::new(INTERVAL, now, at), now, at }
    }

    /// The process runs, or is stopped.
    fn pass(&mut self, time: Duration) {
        (self.now, self.at) = (self.now + time, self.at + time);
    }

    /// The machine sleeps.
    fn sleep(&mut self, time: Duration) {
        self.at += time;
    }

    fn settle(&mut self, ticks: u64, result: Result<(), FailureReason>) {
        self.settle_late(Duration::ZERO, ticks, result);
    }

    /// The newest tick was noticed so late.
    fn settle_late(&mut self, delay: Duration, ticks: u64, result: Result<(), FailureReason>) {
        let outcome = outcome(result, MILLISECOND);
        self.history.settled(ticks, &outcome, delay, self.now, self.at);
    }

    fn succeed(&mut self, count: u32) {
        for _ in 0..count {
            self.pass(INTERVAL);
            self.settle(1, Ok(()));
        }
    }

    /// The cache has been unavailable for so long until now.
    fn unavailable(&mut self, time: Duration) {
        self.history.unavailable(self.now - time, self.now, self.now, self.at);
    }

    fn hour(&self) -> (Duration, Duration) {
        let hour = self.summary().hour;
        (hour.watched, hour.unavailable)
    }

    fn summary(&self) -> Summary {
        self.history.summary(self.now, self.at)
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn outcome(result: Result<(), FailureReason>, ping: Duration) -> Outcome {
    let mut steps = StepResults::default();
    if result.is_ok() {
        steps.set(Step::Ping, StepResult::Success, ping);
    }
    let result = result.map_err(|reason| Failure::new(reason, Stage::Step(Step::Ping), ""));
    Outcome { result, attempts: 1, duration: ping, phases: PhaseTimes::default(), steps, clients: None }
}

#[test]
fn the_history_of_a_target_takes_this_much_memory() {
    assert_eq!(size_of::<History>(), 1_032, "docs/http.md states it as well");
}

#[test]
fn a_cache_that_always_answered_was_available_for_as_long_as_it_was_watched() {
    let mut bench = Bench::new();
    bench.succeed(30);
    let summary = bench.summary();
    assert_eq!((summary.hour.watched, summary.hour.available()), (5 * MINUTE, Some(1.0)));
    assert_eq!(summary.hour.window, 59 * MINUTE, "the present minute has just begun");
    assert_eq!(summary.day.watched, 5 * MINUTE);
    assert_eq!(Bench::new().summary().hour.available(), None);
}

#[test]
fn an_outage_counts_from_its_first_sign_to_its_end() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(3 * SECOND);
    // Lost here, and noticed 5 s later.
    bench.pass(5 * SECOND);
    bench.unavailable(5 * SECOND);
    bench.pass(2 * SECOND);
    bench.settle(1, Err(FailureReason::Closed));
    bench.unavailable(2 * SECOND);
    bench.pass(4 * SECOND);
    bench.unavailable(4 * SECOND);
    bench.pass(6 * SECOND);
    bench.settle(1, Ok(()));
    assert_eq!(bench.hour(), (80 * SECOND, 11 * SECOND));
    assert_eq!(bench.summary().hour.available(), Some(1.0 - 11.0 / 80.0));
}

#[test]
fn time_in_which_the_process_was_stopped_was_not_watched() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(10 * MINUTE);
    bench.settle_late(9 * MINUTE, 1, Ok(()));
    // The last success vouches for an interval, and so does the next one.
    assert_eq!(bench.hour(), (MINUTE + 2 * INTERVAL, Duration::ZERO));
    assert_eq!(bench.summary().outcomes[5..], [Cell::Success, Cell::Gap, Cell::Success]);
}

#[test]
fn an_outage_includes_time_in_which_the_process_was_stopped() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(INTERVAL);
    bench.unavailable(INTERVAL);
    bench.settle(1, Err(FailureReason::Closed));
    bench.pass(10 * MINUTE);
    bench.unavailable(10 * MINUTE);
    bench.settle_late(9 * MINUTE, 1, Ok(()));
    let unavailable = INTERVAL + 10 * MINUTE;
    assert_eq!(bench.hour(), (MINUTE + unavailable, unavailable));
}

#[test]
fn a_probe_that_takes_longer_than_the_interval_leaves_no_gap() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(INTERVAL + 2 * INTERVAL);
    bench.settle(1, Err(FailureReason::CommandTimeout));
    bench.settle(2, Err(FailureReason::CommandTimeout));
    let failure = Cell::Failure(FailureReason::CommandTimeout);
    assert_eq!(bench.summary().outcomes[5..], [Cell::Success, failure, failure, failure]);
}

#[test]
fn time_in_which_the_machine_slept_was_not_watched() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(3 * SECOND);
    bench.sleep(10 * MINUTE);
    bench.pass(6 * SECOND);
    bench.settle(1, Ok(()));
    assert_eq!(bench.hour().0, MINUTE + 9 * SECOND);
    bench.sleep(2 * HOUR);
    assert_eq!(bench.hour().0, Duration::ZERO, "also before the next outcome");
    bench.pass(9 * SECOND);
    bench.settle(1, Ok(()));
    let summary = bench.summary();
    // What was watched is known by its length, not by its place.
    assert_eq!((summary.hour.watched, summary.day.watched), (Duration::ZERO, MINUTE + 18 * SECOND));
    assert_eq!(summary.outcomes[6..], [Cell::Gap, Cell::Success, Cell::Gap, Cell::Success]);
}

#[test]
fn a_wall_clock_that_is_set_back_changes_nothing() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.at -= 5 * HOUR;
    bench.succeed(6);
    assert_eq!(bench.hour().0, 2 * MINUTE);
    assert!(!bench.summary().outcomes.contains(&Cell::Gap));
}

#[test]
fn ticks_that_waited_for_one_outcome_were_watched() {
    let mut bench = Bench::new();
    bench.succeed(1);
    bench.pass(40 * SECOND);
    assert_eq!(bench.hour().0, 2 * INTERVAL, "nothing vouches for more yet");
    bench.settle(4, Ok(()));
    assert_eq!(bench.hour().0, 5 * INTERVAL);
    assert_eq!(bench.summary().outcomes.len(), 5);
}

#[test]
fn a_failure_that_is_not_unavailable_time_says_nothing_about_availability() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.pass(INTERVAL);
        bench.settle(1, Err(FailureReason::LocalResource));
    }
    assert_eq!((bench.hour(), bench.summary().hour.available()), ((Duration::ZERO, Duration::ZERO), None));
}

#[test]
fn another_prober_continues_the_history_from_its_start() {
    let mut bench = Bench::new();
    bench.succeed(6);
    bench.pass(4 * SECOND);
    bench.history.resume(SECOND, bench.now, bench.at);
    bench.pass(2 * SECOND);
    bench.settle(1, Ok(()));
    assert_eq!(bench.hour().0, MINUTE + 4 * SECOND + SECOND);
    assert_eq!(bench.summary().outcomes, [Cell::Success; 7]);
}

#[test]
fn the_last_60_outcomes_are_kept_in_order() {
    let mut bench = Bench::new();
    assert_eq!(bench.summary().outcomes, []);
    bench.settle(100, Ok(()));
    assert_eq!(bench.summary().outcomes, [Cell::Success; OUTCOMES]);
    for reason in FailureReason::ALL {
        bench.settle(1, Err(reason));
    }
    let reasons = FailureReason::ALL.map(Cell::Failure);
    let outcomes = bench.summary().outcomes;
    assert_eq!(outcomes[OUTCOMES - reasons.len()..], reasons);
    assert!(outcomes[..OUTCOMES - reasons.len()].iter().all(|cell| *cell == Cell::Success));
}

#[test]
fn the_quantiles_of_each_minute_are_within_7_percent_of_the_true_ones() {
    let mut bench = Bench::new();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expected = Vec::new();
    for minute in 0..90 {
        let count = [0, 1, 2, 60, 300][random.usize(..5)];
        let mut ping = || Duration::from_secs_f64((1e-5 / (1.0 - random.f64()).powf(1.5)).min(30.0));
        let mut pings: Vec<_> = (0..count).map(|_| ping()).collect();
        for ping in &pings {
            bench.history.settled(1, &outcome(Ok(()), *ping), Duration::ZERO, bench.now, bench.at);
        }
        pings.sort();
        let at = |percent: usize| pings.get((pings.len() * percent).div_ceil(100).max(1) - 1).copied();
        expected.push(at(50).zip(at(99)));
        if minute < 89 {
            bench.pass(MINUTE);
        }
    }
    let is_close =
        |one: Duration, other: Duration| (one.as_secs_f64() / other.as_secs_f64() - 1.0).abs() < 0.07;
    for (minute, (found, expected)) in bench.summary().pings.iter().zip(&expected[30..]).enumerate() {
        let fits = match (found, expected) {
            (Some(found), Some((p50, p99))) => is_close(found.p50, *p50) && is_close(found.p99, *p99),
            (None, None) => true,
            _ => false,
        };
        assert!(fits, "{minute}: {found:?} for {expected:?}, seed {seed}");
    }
}

/// What a step of the simulation was: three seconds, because slots count in fractions of them.
#[derive(Clone, Copy, Default)]
struct Past {
    watched: bool,
    unavailable: bool,
}

const STEP: Duration = Duration::from_secs(3);
/// In steps.
const TICK: usize = 4;

/// Returns how long the cache was watched and unavailable in the window of `slots` slots of `length` steps that ends now.
fn window(past: &[Past], slots: usize, length: usize) -> (Duration, Duration) {
    let first = (past.len() / length + 1).saturating_sub(slots) * length;
    let count = |kind: fn(&Past) -> bool| past[first..].iter().filter(|step| kind(step)).count();
    let (watched, unavailable) = (count(|it| it.watched || it.unavailable), count(|it| it.unavailable));
    (steps(watched), steps(unavailable))
}

fn steps(count: usize) -> Duration {
    STEP * u32::try_from(count).unwrap()
}

#[test]
fn simulation_availability_is_that_of_a_list_of_all_seconds() {
    let factor: u64 = std::env::var("SIMULATION_FACTOR").map_or(1, |factor| factor.parse().unwrap());
    for seed in (0..20 * factor).map(|_| fastrand::u64(..)) {
        simulate(seed);
    }
}

/// Lets random things happen, and compares the history with a list of all that has passed.
fn simulate(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new();
    bench.history.interval = steps(TICK);
    let mut past: Vec<Past> = Vec::new();
    // Up to where the last success vouches, and where the newest sleep ended.
    let (mut vouched, mut woken) = (0, 0);
    while past.len() < 36_000 {
        let begin = past.len();
        let run = |bench: &mut Bench, past: &mut Vec<Past>, count: usize| {
            bench.pass(steps(count));
            past.resize(begin + count, Past::default());
            past.iter_mut().take(vouched).skip(begin).for_each(|it| it.watched = true);
        };
        match random.u32(..100) {
            // Ticks are settled.
            ..70 => {
                let ticks = if random.u32(..10) == 0 { random.usize(2..8) } else { 1 };
                run(&mut bench, &mut past, ticks * TICK);
                if random.u32(..10) < 8 {
                    bench.settle(ticks as u64, Ok(()));
                    past[begin.max(woken)..].iter_mut().for_each(|it| it.watched = true);
                    vouched = past.len() + TICK;
                } else {
                    bench.settle(ticks as u64, Err(FailureReason::LocalResource));
                    vouched = 0;
                }
            }
            // An outage ends, and is counted before or after the tick that it has failed.
            70..85 => {
                let (before, length) = (random.usize(..TICK), random.usize(1..700));
                run(&mut bench, &mut past, before + length);
                past[begin + before..].iter_mut().for_each(|it| it.unavailable = true);
                let is_first = random.bool();
                if is_first {
                    bench.unavailable(steps(length));
                }
                bench.settle(1, Err(FailureReason::Closed));
                if !is_first {
                    bench.unavailable(steps(length));
                }
                vouched = 0;
            }
            // The process is stopped.
            85..97 => run(&mut bench, &mut past, random.usize(1..2_400)),
            // The machine sleeps.
            _ => {
                let length = random.usize(1..20_000);
                bench.sleep(steps(length));
                past.resize(begin + length, Past::default());
                // Seen before anything else happens.
                bench.history.advance(bench.now, bench.at);
                (vouched, woken) = (0, past.len());
            }
        }
        let summary = bench.summary();
        let known = |it: Availability| (it.watched, it.unavailable);
        assert_eq!(known(summary.hour), window(&past, 60, 20), "hour, step {}, seed {seed}", past.len());
        assert_eq!(known(summary.day), window(&past, 96, 300), "day, step {}, seed {seed}", past.len());
    }
}
