//! Which lookups may run: at most 32 at a time, in two lanes, so that names whose servers are dead do not delay the
//! others.
//!
//! A name of which nothing bad is known starts in the fast lane. A lookup that takes longer than [`SLOW`] moves to the
//! slow lane, and the next lookup of its name starts there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::lock::lock;

/// A lookup that takes longer is slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// The places of the fast lane, and how many of them may be taken by names that were never looked up: the others are
/// for names that are known to be answered, even if the lookups of new names hang and the slow lane is full.
const FAST: usize = 8;
const FIRST: usize = 6;
/// The places of the slow lane.
const SLOW_PLACES: usize = 24;

/// What the last lookup of a name says about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// There was none.
    Unknown,
    /// It was answered in time.
    Prompt,
    /// It was slow, or never answered.
    Slow,
}

/// The places of all lookups. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The places that are taken: in the fast lane, in there by names that were never looked up, in the slow lane.
    fast: usize,
    first: usize,
    slow: usize,
    /// Those that wait: in the fast lane known names go first; in the slow lane those that free a place in the fast one.
    known: VecDeque<Waiting>,
    unknown: VecDeque<Waiting>,
    /// Whether the newest of them is next, and not the one that has waited longest.
    newest_next: bool,
    moving: VecDeque<Waiting>,
    retries: VecDeque<Waiting>,
}

type Waiting = oneshot::Sender<Place>;

#[derive(Clone, Copy, Debug)]
enum Lane {
    Fast,
    First,
    Slow,
}

/// A lookup's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Lanes,
    lane: Lane,
}

impl Lanes {
    /// Waits for a place for a lookup.
    pub(super) async fn start(&self, pace: Pace) -> Place {
        self.place(|state| match pace {
            Pace::Unknown => &mut state.unknown,
            Pace::Prompt => &mut state.known,
            Pace::Slow => &mut state.retries,
        })
        .await
    }

    /// Waits for a place in the slow lane for a lookup that turned out to be slow.
    pub(super) async fn slow_down(&self) -> Place {
        self.place(|state| &mut state.moving).await
    }

    async fn place(&self, queue: impl FnOnce(&mut State) -> &mut VecDeque<Waiting>) -> Place {
        let (waiting, place) = oneshot::channel();
        queue(&mut self.state()).push_back(waiting);
        self.fill();
        place.await.expect("whoever waits is only removed to get a place")
    }

    /// Gives away the free places.
    fn fill(&self) {
        loop {
            let Some((waiting, lane)) = self.state().next() else { return };
            // If nobody waits any more, dropping the place gives it to another.
            drop(waiting.send(Place { lanes: self.clone(), lane }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// Takes a free place for the one who waits for it.
    fn next(&mut self) -> Option<(Waiting, Lane)> {
        if self.fast < FAST {
            if let Some(waiting) = self.known.pop_front() {
                self.fast += 1;
                return Some((waiting, Lane::Fast));
            }
            if self.first < FIRST
                && let Some(waiting) = self.next_unknown()
            {
                self.fast += 1;
                self.first += 1;
                return Some((waiting, Lane::First));
            }
        }
        let waiting = match SLOW_PLACES.checked_sub(self.slow)? {
            0 => None,
            // Those in the fast lane may have to move.
            free if free <= self.fast => self.moving.pop_front(),
            _ => self.moving.pop_front().or_else(|| self.retries.pop_front()),
        }?;
        self.slow += 1;
        Some((waiting, Lane::Slow))
    }

    /// Takes the name that has waited longest and the newest in turn: each of hundreds of dead names may take its place
    /// for the time of a lookup, and a name that comes after them must not wait for them all.
    fn next_unknown(&mut self) -> Option<Waiting> {
        self.newest_next = !self.newest_next;
        if self.newest_next { self.unknown.pop_front() } else { self.unknown.pop_back() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.lanes.state();
            match self.lane {
                Lane::Fast => state.fast -= 1,
                Lane::First => {
                    state.fast -= 1;
                    state.first -= 1;
                }
                Lane::Slow => state.slow -= 1,
            }
        }
        self.lanes.fill();
    }
}
