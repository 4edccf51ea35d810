//! Asks sentinels in turn for the primary. If one takes long, the next is asked beside it, so that a dead sentinel costs a
//! fraction of a second, and never the time that the others need. Each is asked at most once in a second, however often
//! connections fail. Until then its last answer counts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::failure::Answer;
use super::knowledge::Place;
use super::{Access, Locator};
use crate::lock::lock;
use crate::probe::Failure;

/// How long a sentinel is waited for at most before the next one is asked as well.
const MAX_HEDGE: Duration = Duration::from_millis(250);
/// The shortest time from one question to a sentinel to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// The turns of the sentinels. All who ask for one target share them.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Vec<Turn>>);

/// The last turn of one sentinel.
#[derive(Clone, Debug, Default)]
struct Turn {
    /// When it may be asked again.
    next: Option<Instant>,
    /// What it answered. `None` if it has not answered yet.
    answer: Option<Answer>,
}

impl Turns {
    pub(super) fn new(sentinels: usize) -> Self {
        Self(Mutex::new(vec![Turn::default(); sentinels]))
    }

    pub(super) fn answered(&self, sentinel: usize, answer: Answer) {
        self.lock()[sentinel].answer = Some(answer);
    }

    /// Returns the last answer of each sentinel.
    pub(super) fn answers(&self) -> Vec<Option<Answer>> {
        self.lock().iter().map(|turn| turn.answer.clone()).collect()
    }

    /// Takes the first of `waiting` that may be asked at `now`; if none may be, returns when the first may.
    fn take(&self, waiting: &mut VecDeque<usize>, now: Instant) -> Result<usize, Instant> {
        let mut turns = self.lock();
        match waiting.iter().position(|sentinel| turns[*sentinel].next.is_none_or(|next| next <= now)) {
            Some(place) => {
                let sentinel = waiting.remove(place).unwrap_or_default();
                turns[sentinel] = Turn { next: Some(now + PAUSE), answer: None };
                Ok(sentinel)
            }
            None => Err(waiting.iter().filter_map(|sentinel| turns[*sentinel].next).min().unwrap_or(now)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Turn>> {
        lock(&self.0)
    }
}

impl Locator {
    /// Asks one sentinel after the other, and the next one as well where one takes long, until one answers. Returns where the
    /// primary is, as far as all have said. If none may be asked again yet, what they said before counts.
    pub(super) async fn ask_in_turn(&self, access: &Access, until: Instant) -> Result<Place, Failure> {
        let mut waiting: VecDeque<usize> = self.service.knowledge.borrow().order().iter().copied().collect();
        let mut asking = FuturesUnordered::new();
        let mut next = Instant::now();
        let hedge = hedge(until - next, waiting.len());
        loop {
            tokio::select! {
                biased;
                Some((sentinel, answer)) = asking.next() => {
                    self.note(sentinel, &answer);
                    let answer = Answer::from(answer);
                    self.service.turns.answered(sentinel, answer.clone());
                    if let Answer::Named(address) = answer {
                            self.service.knowledge.send_modify(|knowledge| knowledge.answered(sentinel));
                            self.named(sentinel, &address);
                            // Others may know better.
                            if let Some(place) = self.guess() {
                                return Ok(place);
                            }
                            continue;
                    }
                    self.silent(sentinel);
                    next = Instant::now();
                }
                // Also while an answer uses up the budget of the task.
                () = unconstrained(sleep_until(next)), if !waiting.is_empty() => {
                    let now = Instant::now();
                    match self.service.turns.take(&mut waiting, now) {
                        Ok(sentinel) => {
                            asking.push(async move {
                                (sentinel, self.service.ask(sentinel, access, &self.resolver, until).await)
                            });
                            self.service.knowledge.send_modify(|knowledge| knowledge.asked(sentinel));
                            next = now + hedge;
                        }
                        Err(again) => match self.guess().filter(|_| asking.is_empty()) {
                            Some(place) => return Ok(place),
                            None => next = again,
                        },
                    }
                }
                else => return Err(self.service.nobody_knows()),
            }
        }
    }

    fn guess(&self) -> Option<Place> {
        self.service.knowledge.borrow().guess().cloned()
    }
}

/// Returns how long one of so many `sentinels` is waited for before the next one is asked as well: even if all but the last
/// hang, that one has as much of the `time` as each before it.
fn hedge(time: Duration, sentinels: usize) -> Duration {
    let parts = u32::try_from(sentinels).unwrap_or(u32::MAX).max(1);
    (time / parts).min(MAX_HEDGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_that_hang_leave_time_for_the_last_one() {
        let milliseconds = Duration::from_millis;
        for (time, sentinels, expected) in [(250, 3, 83), (250, 1, 250), (2500, 3, 250), (0, 3, 0)] {
            assert_eq!(hedge(milliseconds(time), sentinels).as_millis(), expected, "{time} {sentinels}");
        }
    }

    #[test]
    fn each_sentinel_is_asked_once_in_a_second() {
        let (start, turns) = (Instant::now(), Turns::new(2));
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let take = |now| turns.take(&mut VecDeque::from([1, 0]), now);
        assert_eq!((take(start), take(at(100)), take(at(200))), (Ok(1), Ok(0), Err(at(1000))));
        assert_eq!((take(at(1000)), take(at(1050)), take(at(1100))), (Ok(1), Err(at(1100)), Ok(0)));
    }
}
