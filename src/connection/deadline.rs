//! Deadlines for what peers do. Time for which the agent did not run does not count: it was stopped, or its machine was
//! paused or overloaded. All timers of that time end at once afterwards, before what came from a peer is noticed.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::alarm::is_far;

/// How often to look, within the time that is left, whether the agent runs. Of each time for which it did not, one part
/// of so many may count; and an agent that never runs in time comes to an end after so many looks.
const LOOKS: u32 = 8;

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed;

/// Awaits `work` until `deadline`, and moves that by the time for which the agent did not run.
///
/// # Errors
/// The deadline passed first.
pub(crate) async fn within<T>(
    deadline: &mut Instant,
    work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Passed> {
    let began = Instant::now();
    let pause = (*deadline - began) / LOOKS;
    watched(pin!(sleep_until(began + pause)), pause, deadline, work).await
}

/// A timer for the deadlines of one command after another. It stays in its place while that is early enough: setting a timer
/// takes a lock, and a system call if no other one is earlier.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// `None` before the first deadline.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Between two looks.
    pause: Duration,
}

impl Timer {
    /// As the function [`within`].
    pub(crate) fn within<T>(
        &mut self,
        deadline: &mut Instant,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> impl Future<Output = Result<T, Passed>> {
        let began = Instant::now();
        self.pause = (*deadline - began) / LOOKS;
        let first_look = began + self.pause;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(first_look)));
        if sleep.is_elapsed() || !(began..=first_look).contains(&sleep.deadline()) {
            sleep.as_mut().reset(first_look);
        }
        watched(sleep.as_mut(), self.pause, deadline, work)
    }

    /// Moves the timer to where it serves the commands that begin at `next`, at most `latest` after that. It wakes nobody up
    /// before.
    pub(crate) fn rest_until(&mut self, next: Instant, latest: Duration) {
        if let Some(sleep) = &mut self.sleep {
            let at = next + self.pause.min(latest);
            // A timer that is only reset to a later time keeps its place, and the runtime wakes up for it.
            sleep.set(sleep_until(at));
            // So it does on the way to one that is far away, which is better set by the next command.
            if !is_far(next) {
                sleep.as_mut().reset(at);
            }
        }
    }
}

/// Awaits `work` until `deadline`, and looks each `pause` whether the agent runs, at first when `timer` ends.
async fn watched<T>(
    mut timer: Pin<&mut Sleep>,
    pause: Duration,
    deadline: &mut Instant,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Passed> {
    loop {
        let due = timer.deadline();
        tokio::select! {
            biased;
            done = &mut work => {
                *deadline += due.elapsed();
                return Ok(done);
            }
            // Also while the work uses up the budget of its task: the peer may send data without an end.
            () = unconstrained(&mut timer) => {}
        }
        let now = Instant::now();
        let is_last = due >= *deadline;
        *deadline += now - due;
        if is_last {
            // What came meanwhile is noticed between two turns of a task.
            yield_now().await;
            return work.now_or_never().ok_or(Passed);
        }
        timer.as_mut().reset((now + pause).min(*deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::task::Poll;
    use std::time::Duration;

    use tokio::join;
    use tokio::sync::Notify;
    use tokio::task::coop;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_passes_the_deadline_at_its_instant() {
        let began = Instant::now();
        let mut deadline = began + 2 * SECOND;
        assert_eq!(within(&mut deadline, pin!(pending::<()>())).await, Err(Passed));
        assert_eq!((began.elapsed(), deadline), (2 * SECOND, began + 2 * SECOND));
        let done = within(&mut deadline, pin!(async { 7 })).await;
        assert_eq!(done, Ok(7), "what is there already is never late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_timer_stays_in_its_place_for_the_commands_of_a_round() {
        let mut timer = Timer::default();
        let place = |timer: &Timer| timer.sleep.as_ref().unwrap().deadline();
        let mut expected = Instant::now() + SECOND / 4;
        for (round, latest) in [5 * SECOND, SECOND / 10, SECOND].into_iter().enumerate() {
            for command in 0..4 {
                let mut deadline = Instant::now() + 2 * SECOND;
                timer.within(&mut deadline, pin!(sleep(SECOND / 100))).await.unwrap();
                assert_eq!(place(&timer), expected, "command {command} of round {round}");
            }
            let next = Instant::now() + 10 * SECOND;
            timer.rest_until(next, latest);
            expected = next + latest.min(SECOND / 4);
            // A round begins a little after its tick: a timer that rests too late would be moved by its first command.
            sleep_until(next + SECOND / 100).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_timer_lets_each_deadline_pass_at_its_instant_wherever_it_rested() {
        let mut timer = Timer::default();
        for (pause, latest) in
            [(0, SECOND), (10, SECOND), (10, SECOND / 100), (1, 20 * SECOND), (300, SECOND)]
        {
            timer.rest_until(Instant::now() + pause * SECOND / 100, latest);
            let began = Instant::now();
            let mut deadline = began + 2 * SECOND;
            assert_eq!(timer.within(&mut deadline, pin!(pending::<()>())).await, Err(Passed));
            assert_eq!(began.elapsed(), 2 * SECOND, "rested {pause}, {latest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_uses_up_the_budget_of_its_task_passes_the_deadline_as_well() {
        let began = Instant::now();
        let flood = async {
            for _ in 0..60 {
                while coop::has_budget_remaining() {
                    coop::consume_budget().await;
                }
                advance(SECOND / 10).await;
            }
        };
        assert_eq!(within(&mut (began + 2 * SECOND), pin!(flood)).await, Err(Passed));
        assert!(began.elapsed() < 4 * SECOND, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_which_the_agent_is_stopped_does_not_count() {
        let began = Instant::now();
        let mut deadline = began + 2 * SECOND;
        let answer = Notify::new();
        let answered = pin!(answer.notified());
        let peer = async {
            for _ in 0..3 {
                sleep(SECOND / 10).await;
                advance(3 * SECOND).await;
            }
            sleep(SECOND).await;
            answer.notify_one();
        };
        let (answered, ()) = join!(within(&mut deadline, answered), peer);
        assert_eq!(answered, Ok(()));
        let moved = deadline - (began + 2 * SECOND);
        assert!((8 * SECOND..9 * SECOND).contains(&moved), "{moved:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_moved_also_where_the_work_ends_with_the_stop() {
        let began = Instant::now();
        let mut deadline = began + 2 * SECOND;
        let stop = async {
            sleep(SECOND / 10).await;
            advance(3 * SECOND).await;
        };
        within(&mut deadline, pin!(stop)).await.unwrap();
        assert!(deadline - Instant::now() > SECOND, "{:?}", deadline - began);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_noticed_only_after_a_stop_that_outlasts_the_deadline_is_not_late() {
        let mut deadline = Instant::now() + 2 * SECOND;
        let answer = Notify::new();
        let answered = pin!(answer.notified());
        let peer = async {
            sleep(Duration::from_millis(1999)).await;
            advance(3 * SECOND).await;
            answer.notify_one();
        };
        let (answered, ()) = join!(within(&mut deadline, answered), peer);
        assert_eq!(answered, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_never_runs_in_time_does_not_wait_for_ever() {
        let waiting = tokio::spawn(async {
            let mut polls = 0;
            let work = pin!(poll_fn(|_| {
                polls += 1;
                Poll::<()>::Pending
            }));
            let passed = within(&mut (Instant::now() + 2 * SECOND), work).await;
            (passed, polls)
        });
        while !waiting.is_finished() {
            advance(SECOND).await;
        }
        let (passed, polls) = waiting.await.unwrap();
        assert_eq!(passed, Err(Passed));
        assert!(polls <= 2 * LOOKS + 1, "{polls}");
    }
}
