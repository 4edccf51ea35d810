//! The whole against a plain reference, over random schedules of several links.
//!
//! The reference knows each link's result of each tick, and counts unavailable time by the second.

use std::collections::HashSet;

use super::*;
use crate::prober::seeds::seeds;

const RUNS: u64 = 500;
const TICKS: u64 = 40;

/// One link as the reference sees it.
struct Link {
    id: LinkId,
    lowest: u16,
    /// The number of its next tick.
    next: u64,
    due: Vec<u64>,
    /// What its server is, to the knowledge of the link.
    is_up: Option<bool>,
    /// The seconds of an outage that are not reported yet.
    away_since: Option<u64>,
}

struct World {
    rng: fastrand::Rng,
    whole: Whole,
    links: Vec<Link>,
    start: Instant,
    now: u64,
    effects: Vec<Effect>,
    /// Seconds in which some link was away.
    away: HashSet<u64>,
    noticed: HashSet<u64>,
    /// Ticks that a link has failed.
    failed: HashSet<u64>,
    next_id: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            whole: Whole::default(),
            links: Vec::new(),
            start: Instant::now(),
            now: 0,
            effects: Vec::new(),
            away: HashSet::new(),
            noticed: HashSet::new(),
            failed: HashSet::new(),
            next_id: 0,
        };
        for _ in 0..world.rng.u32(1..6) {
            world.join();
        }
        world.whole.decide_by(Deciding::Shards, world.start, &mut |_| {});
        world
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// A link joins. Its first tick is yet to come.
    fn join(&mut self) {
        let id = LinkId(self.next_id);
        self.next_id += 1;
        let next = self.now / 10 + 1;
        let lowest = self.rng.u16(..16_384);
        self.whole.join(id, shard(lowest), next);
        self.whole.reached(id);
        self.links.push(Link { id, lowest, next, due: Vec::new(), is_up: None, away_since: None });
    }

    fn effect(&mut self, index: usize, effect: Effect, ticks: &[u64]) {
        let at = self.at(self.now);
        let id = self.links[index].id;
        self.whole.effect(id, at, effect, ticks, &mut |effect| self.effects.push(effect));
    }

    /// A second passes.
    fn step(&mut self) {
        self.now += 1;
        if self.rng.u8(..100) == 0 {
            // The process did not run.
            self.now += self.rng.u64(..40);
        }
        let at = self.at(self.now);
        if self.rng.u8(..60) == 0 && self.links.len() > 1 {
            let gone = self.links.swap_remove(self.rng.usize(..self.links.len()));
            self.whole.leave(gone.id, at, &mut |effect| self.effects.push(effect));
        }
        if self.rng.u8(..60) == 0 && self.links.len() < 6 {
            self.join();
        }
        let mut order: Vec<usize> = (0..self.links.len()).collect();
        self.rng.shuffle(&mut order);
        for index in order {
            self.notice(index);
            self.report(index);
            if self.rng.u8(..4) == 0 {
                self.settle(index);
            }
        }
    }

    fn notice(&mut self, index: usize) {
        let newest = self.now / 10;
        let link = &mut self.links[index];
        if link.next > newest {
            return;
        }
        // Those that were missed are skipped.
        link.next = newest + 1;
        link.due.push(newest);
        self.noticed.insert(newest);
        let at = self.at(self.now);
        self.whole.tick(newest, at, &mut |effect| self.effects.push(effect));
    }

    /// Now and then a link reports its outage up to now.
    fn report(&mut self, index: usize) {
        let Some(since) = self.links[index].away_since else { return };
        if since < self.now && self.rng.u8(..3) == 0 {
            self.links[index].away_since = Some(self.now);
            self.away.extend(since..self.now);
            let span = Span { from: self.at(since), until: self.at(self.now) };
            self.effect(index, Effect::Unavailable(span), &[]);
        }
    }

    /// What a link's round ends with settles all of its ticks.
    fn settle(&mut self, index: usize) {
        let ticks = std::mem::take(&mut self.links[index].due);
        let fails = self.rng.u8(..5) == 0;
        if !ticks.is_empty() {
            if fails {
                self.failed.extend(&ticks);
            }
            let result = if fails { Err(failure(FailureReason::Closed)) } else { Ok(()) };
            let outcome = outcome(result, Duration::from_secs(self.rng.u64(..9)));
            self.effect(index, Effect::Settled { ticks: ticks.len() as u64, outcome }, &ticks);
        }
        if fails {
            // From the start of the command that failed, if no outage was running.
            let since = self.now.saturating_sub(self.rng.u64(..5));
            self.links[index].away_since.get_or_insert(since);
        } else if let Some(since) = self.links[index].away_since.take()
            && since < self.now
        {
            self.away.extend(since..self.now);
            let span = Span { from: self.at(since), until: self.at(self.now) };
            self.effect(index, Effect::Unavailable(span), &[]);
        }
        if self.links[index].is_up.replace(!fails) != Some(!fails) {
            let verdict = if fails {
                Effect::Down(failure(FailureReason::Closed))
            } else {
                Effect::Up { outage: None }
            };
            self.effect(index, verdict, &[]);
        }
    }

    fn check(&mut self, verdict: &mut Option<bool>, counted: &mut Counted) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Up { .. } => *verdict = Some(true),
                Effect::Down(_) => *verdict = Some(false),
                Effect::Unavailable(span) => counted.unavailable += span.length(),
                Effect::Settled { ticks, outcome } if outcome.result.is_ok() => counted.passed += ticks,
                Effect::Settled { ticks, .. } => counted.failed += ticks,
                other => panic!("{other:?}"),
            }
        }
        let known = if self.links.iter().any(|link| link.is_up == Some(false)) {
            Some(false)
        } else if self.links.iter().all(|link| link.is_up == Some(true)) {
            Some(true)
        } else {
            // One that has joined has found nothing yet.
            return;
        };
        assert_eq!(*verdict, known, "after {} s", self.now);
        for link in &self.links {
            assert!(link.lowest < 16_384);
        }
    }
}

#[derive(Default)]
struct Counted {
    passed: u64,
    failed: u64,
    unavailable: Duration,
}

#[test]
fn every_tick_is_settled_once_and_no_time_is_counted_twice() {
    for seed in seeds(RUNS) {
        eprintln!("SIMULATION_SEED={seed}");
        let mut world = World::new(seed);
        let (mut verdict, mut counted) = (None, Counted::default());
        while world.now < TICKS * 10 {
            world.step();
            world.check(&mut verdict, &mut counted);
        }
        // Everything comes to its end.
        for index in 0..world.links.len() {
            world.settle(index);
        }
        world.check(&mut verdict, &mut counted);
        let noticed = world.noticed.len() as u64;
        let waiting = world.links.iter().map(|link| link.next).min().unwrap();
        let open = world.noticed.iter().filter(|tick| **tick >= waiting).count() as u64;
        let settled = counted.passed + counted.failed;
        assert!((noticed - open..=noticed).contains(&settled), "{settled} of {noticed} ticks, {open} open");
        assert!(counted.failed >= world.failed.len() as u64, "{} ticks failed", counted.failed);
        let away = Duration::from_secs(world.away.len() as u64);
        assert!(counted.unavailable <= away, "{:?} of {away:?}", counted.unavailable);
        assert!(
            counted.unavailable + Duration::from_secs(60) >= away,
            "{:?} of {away:?}",
            counted.unavailable
        );
    }
}
