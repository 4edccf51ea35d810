//! Waiting for seconds and more with a single wake-up.
//!
//! tokio keeps timers in slots of 4 s, of 64 ms and of 1 ms, and wakes up at the start of each slot that leads to a timer: up
//! to three times for one that is 10 s away. In an agent at rest, a wake-up that finds nothing to do takes a tenth of the
//! time of a probe. An [`Alarm`] that is far away waits for a timer of the system instead, which all alarms of a runtime
//! share. Before [`start`], as in tests with paused time, and where the system has no such timer, tokio's are used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::lock::lock;
use crate::os::SystemTimer;

/// An alarm that is farther away is worth the system call that sets the timer. One that is not needs two wake-ups at most, and
/// an agent that has a thousand targets every second wakes up all the time anyway.
const FAR: Duration = Duration::from_secs(4);

thread_local! {
    /// The alarms of the runtime on this thread.
    static ALARMS: RefCell<Option<Arc<Alarms>>> = const { RefCell::new(None) };
}

/// Lets the alarms that are created on this thread from now on wait for a timer of the system. Must be called within a runtime
/// that runs on this thread alone.
pub(crate) fn start() {
    start_beyond(FAR);
}

/// Does so for alarms that are farther away than `far`.
fn start_beyond(far: Duration) {
    // Without that timer, tokio's are used.
    let Ok(timer) = SystemTimer::new() else { return };
    let alarms = Arc::new(Alarms { timer, far, waiting: Mutex::default() });
    ALARMS.set(Some(Arc::clone(&alarms)));
    // It ends with the runtime.
    tokio::spawn(alarms.ring());
}

/// Waits until `deadline`, with a single wake-up if that is far away.
pub(crate) fn until(deadline: Instant) -> Alarm {
    Alarm { deadline, timer: Timer::new(deadline) }
}

/// Whether an alarm at `deadline` waits for the timer of the system. tokio would wake up on the way to it.
pub(crate) fn is_far(deadline: Instant) -> bool {
    far_alarms(deadline).is_some()
}

/// Returns the alarms among which one waits that is far away.
fn far_alarms(deadline: Instant) -> Option<Arc<Alarms>> {
    ALARMS.with_borrow(|alarms| {
        let is_far = |alarms: &&Arc<Alarms>| deadline.saturating_duration_since(Instant::now()) > alarms.far;
        alarms.as_ref().filter(is_far).cloned()
    })
}

/// A future that is ready from a deadline on. It can be set again, and keeps its place among the timers until then.
#[derive(Debug)]
pub(crate) struct Alarm {
    deadline: Instant,
    timer: Timer,
}

#[derive(Debug)]
enum Timer {
    /// One of tokio's.
    Near(Pin<Box<Sleep>>),
    /// That of the system.
    Far(Place),
}

/// The place of a far alarm among those that wait.
struct Place {
    alarms: Arc<Alarms>,
    number: u64,
    /// Who is woken. `None` if it does not wait.
    waker: Option<Waker>,
}

/// The far alarms of a runtime.
struct Alarms {
    timer: SystemTimer,
    far: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By their deadlines, and by numbers that tell apart those with the same.
    wakers: BTreeMap<(Instant, u64), Waker>,
    /// How many far alarms there have been.
    count: u64,
    /// What the timer is set to.
    set: Option<Instant>,
}

impl Alarm {
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets another deadline.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        self.stop_waiting();
        self.deadline = deadline;
        match (&mut self.timer, is_far(deadline)) {
            (Timer::Near(sleep), false) => sleep.as_mut().reset(deadline),
            (Timer::Far(_), true) => {}
            (timer, _) => *timer = Timer::new(deadline),
        }
    }

    fn stop_waiting(&mut self) {
        if let Timer::Far(Place { alarms, number, waker }) = &mut self.timer
            && waker.take().is_some()
        {
            // The timer stays: the next alarm sets it anyway.
            lock(&alarms.waiting).wakers.remove(&(self.deadline, *number));
        }
    }
}

impl Timer {
    fn new(deadline: Instant) -> Self {
        match far_alarms(deadline) {
            Some(alarms) => {
                let number = alarms.next_number();
                Self::Far(Place { alarms, number, waker: None })
            }
            None => Self::Near(Box::pin(sleep_until(deadline))),
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        match &mut self.timer {
            Timer::Near(sleep) => sleep.as_mut().poll(context),
            Timer::Far(_) if deadline <= Instant::now() => {
                self.stop_waiting();
                Poll::Ready(())
            }
            Timer::Far(Place { alarms, number, waker }) => {
                let known = waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
                if !known {
                    *waker = Some(context.waker().clone());
                    alarms.wait(deadline, *number, context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl Alarms {
    fn next_number(&self) -> u64 {
        let count = &mut lock(&self.waiting).count;
        *count += 1;
        *count
    }

    /// Lets `waker` be woken at `deadline`.
    fn wait(&self, deadline: Instant, number: u64, waker: Waker) {
        let mut waiting = lock(&self.waiting);
        waiting.wakers.insert((deadline, number), waker);
        if waiting.set.is_none_or(|set| deadline < set) {
            self.set(&mut waiting, Some(deadline));
        }
    }

    fn set(&self, waiting: &mut Waiting, next: Option<Instant>) {
        waiting.set = next;
        if let Some(next) = next {
            self.timer.set(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Wakes everybody whose deadline has come, for as long as the runtime runs.
    async fn ring(self: Arc<Self>) {
        while self.timer.rung().await.is_ok() {
            let mut waiting = lock(&self.waiting);
            let now = Instant::now();
            while let Some(first) = waiting.wakers.first_entry().filter(|first| first.key().0 <= now) {
                first.remove().wake();
            }
            let next = waiting.wakers.first_key_value().map(|((deadline, _), _)| *deadline);
            self.set(&mut waiting, next);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::future::join_all;
    use tokio::runtime::{Builder, Handle, Runtime};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    /// Far longer than anything here takes.
    const LONG: Duration = Duration::from_secs(20);

    /// A runtime in which each alarm is far.
    fn runtime() -> Runtime {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
        runtime.block_on(async { start_beyond(Duration::ZERO) });
        runtime
    }

    /// How often the runtime has waited.
    fn waits() -> u64 {
        Handle::current().metrics().worker_park_count(0)
    }

    #[test]
    fn a_far_alarm_is_one_wake_up() {
        let waits = || {
            runtime().block_on(async {
                // The tasks of the start have run.
                yield_now().await;
                let before = waits();
                // To the next but one slot of 64 ms at least, where a timer of tokio would be two wake-ups.
                until(Instant::now() + 131 * MS).await;
                waits() - before
            })
        };
        // A signal is a wake-up as well.
        assert!((0..10).any(|_| waits() == 1));
    }

    #[test]
    fn alarms_ring_in_their_order_and_none_too_early() {
        runtime().block_on(async {
            let began = Instant::now();
            let rung = Mutex::new(Vec::new());
            let wait = async |number: u32| {
                until(began + number * 10 * MS).await;
                assert!(began.elapsed() >= number * 10 * MS);
                lock(&rung).push(number);
            };
            join_all([3, 1, 2, 0, 1].map(wait)).await;
            assert_eq!(*lock(&rung), [0, 1, 1, 2, 3]);
        });
    }

    #[test]
    fn an_alarm_that_is_set_again_rings_then_and_not_before() {
        runtime().block_on(async {
            let began = Instant::now();
            let mut alarm = until(began + LONG);
            let poll_once =
                async |alarm: &mut Alarm| poll_fn(|cx| Poll::Ready(Pin::new(&mut *alarm).poll(cx))).await;
            assert!(poll_once(&mut alarm).await.is_pending());
            for end in [30 * MS, 60 * MS] {
                alarm.reset(began + end);
                assert_eq!(alarm.deadline(), began + end);
                timeout(LONG / 2, &mut alarm).await.expect("it rings at the earlier time");
                assert!(began.elapsed() >= end);
            }
            alarm.reset(Instant::now() + 5 * MS);
            assert!(poll_once(&mut alarm).await.is_pending());
            alarm.reset(Instant::now() + LONG);
            assert!(timeout(20 * MS, &mut alarm).await.is_err(), "it does not ring at the earlier time");
            // It is near now.
            alarm.reset(Instant::now());
            timeout(LONG, &mut alarm).await.expect("it rings at once");
        });
    }

    #[test]
    fn an_alarm_that_is_not_waited_for_any_more_has_no_place() {
        runtime().block_on(async {
            let alarms = ALARMS.with_borrow(Clone::clone).unwrap();
            let waiting = || lock(&alarms.waiting).wakers.len();
            let far = Instant::now() + LONG;
            let mut rest = [far, far, far].map(until);
            for alarm in &mut rest {
                assert!(timeout(MS, alarm).await.is_err());
            }
            assert_eq!(waiting(), 3, "also with the same deadline");
            rest[0].reset(Instant::now() + MS);
            assert_eq!(waiting(), 2);
            (&mut rest[0]).await;
            assert_eq!(waiting(), 2);
            drop(rest);
            assert_eq!(waiting(), 0);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_start_the_paused_clock_of_tests_applies() {
        let began = Instant::now();
        let mut alarm = until(began + 100 * LONG);
        (&mut alarm).await;
        assert_eq!(began.elapsed(), 100 * LONG);
        alarm.reset(began + 200 * LONG);
        alarm.await;
        assert_eq!(began.elapsed(), 200 * LONG);
    }
}
