//! Whose turn it is to look at the watched files: threads that take turns, one period apart.
//!
//! Each begins its turn with a look at whether another waits for the next one, and starts one if not. So a thread that
//! hangs delays nobody, and nobody has to be woken to watch over it: a round costs one wake-up, of one thread.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// How many threads wait for their turn at most.
const WAITING: usize = 2;

/// The turns of the threads that work for one owner, which ends them when it is dropped.
pub(super) struct Turns(Arc<Inner>);

struct Inner {
    work: Box<dyn Fn() + Send + Sync>,
    period: Duration,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// When the next turn begins that nobody has taken yet.
    next: Instant,
    /// How many threads wait for a turn.
    waiting: usize,
    has_ended: bool,
}

impl Turns {
    /// Does `work` now and once per `period`, on threads of its own.
    ///
    /// # Errors
    /// The first thread cannot be started.
    pub(super) fn start(period: Duration, work: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let state = Mutex::new(State { next: Instant::now(), waiting: 0, has_ended: false });
        let inner = Arc::new(Inner { work: Box::new(work), period, state, ended: Condvar::new() });
        inner.spawn()?;
        Ok(Self(inner))
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        lock(&self.0.state).has_ended = true;
        self.0.ended.notify_all();
    }
}

impl Inner {
    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let inner = Arc::clone(self);
        let take_turns = move || {
            while inner.wait() {
                // Without a thread, the next turn tries again; until then this one takes every turn.
                if lock(&inner.state).waiting == 0 {
                    let _ = inner.spawn();
                }
                (inner.work)();
            }
        };
        thread::Builder::new().name("files".into()).spawn(take_turns).map(drop)
    }

    /// Takes the next turn and waits for it. Returns false if none is left for this thread: others wait already, or all has
    /// ended.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        if state.waiting >= WAITING {
            return false;
        }
        let now = Instant::now();
        let turn = state.next.max(now);
        state.next = turn + self.period;
        state.waiting += 1;
        let ended = self.ended.wait_timeout_while(state, turn - now, |state| !state.has_ended);
        let mut state = ended.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        state.waiting -= 1;
        !state.has_ended
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(5);
    /// Far longer than anything here takes.
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn work_goes_on_beside_threads_that_hang_and_few_stay_when_they_return() {
        const HANGING: usize = 10;
        let (done, works) = mpsc::channel();
        let next = || works.recv_timeout(LONG);
        let gate = Arc::<Mutex<()>>::default();
        let closed = lock(&gate);
        let (calls, gate) = (AtomicUsize::new(0), Arc::clone(&gate));
        let turns = Turns::start(PERIOD, move || {
            let call = calls.fetch_add(1, Relaxed);
            // Who has seen enough is gone.
            let _ = done.send(thread::current().id());
            if call < HANGING {
                drop(lock(&gate));
            }
        })
        .unwrap();
        let hanging: HashSet<_> = (0..HANGING).map(|_| next().unwrap()).collect();
        for _ in 0..10 {
            assert!(!hanging.contains(&next().unwrap()), "it hangs");
        }
        drop(closed);
        let later: HashSet<_> = (0..50).map(|_| next().unwrap()).skip(20).collect();
        assert!(later.len() < HANGING, "{later:?}");
        drop(turns);
        let until = Instant::now() + LONG;
        while next().is_ok() {
            assert!(Instant::now() < until, "it goes on");
        }
        assert_eq!(next(), Err(mpsc::RecvTimeoutError::Disconnected), "no thread is left");
    }

    #[test]
    fn two_threads_take_turns_one_period_apart() {
        let (done, works) = mpsc::channel();
        let began = Instant::now();
        let turns = Turns::start(PERIOD, move || {
            // Who has seen enough is gone.
            let _ = done.send(thread::current().id());
        })
        .unwrap();
        let threads: Vec<_> = (0..20).map(|_| works.recv_timeout(LONG).unwrap()).collect();
        assert!(began.elapsed() >= 19 * PERIOD);
        drop(turns);
        let others = threads.iter().filter(|thread| **thread != threads[0]).count();
        assert!((1..20).contains(&others), "{threads:?}");
    }
}
