//! What is remembered of those who were asked for the topology: who refused, and who answered last.
//!
//! Pure: no I/O and no clock.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::probe::{Failure, FailureReason, Stage, StepResult};
use crate::prober::fallback::MEMORY;
use crate::prober::whole::LinkId;

/// An answer in words that nobody knows, or the loss of the connection over it, may have another cause than the question,
/// so several in a row are needed.
const IN_VAIN: u32 = 2;

/// Who can be asked: a link, or the configured host on a connection of its own.
pub(super) type Asked = Option<LinkId>;

/// What is remembered of those who were asked.
#[derive(Debug, Default)]
pub(super) struct Answers {
    of: HashMap<Asked, Memory>,
    last: Asked,
}

/// What is remembered of one of them.
#[derive(Debug, Default)]
struct Memory {
    /// Whether it has ever answered, so that it knows the question.
    has_answered: bool,
    /// How often in a row it was asked in vain.
    in_vain: u32,
    refused_until: Option<Instant>,
}

impl Answers {
    /// Who was asked last.
    pub(super) const fn last(&self) -> Asked {
        self.last
    }

    /// Whether `asked` is not to be asked at `now`.
    pub(super) fn has_refused(&self, asked: Asked, now: Instant) -> bool {
        self.of.get(&asked).and_then(|memory| memory.refused_until).is_some_and(|until| now < until)
    }

    /// Another server is there now.
    pub(super) fn forget(&mut self, asked: Asked) {
        self.of.remove(&asked);
    }

    /// Only these links are left.
    pub(super) fn retain(&mut self, is_left: impl Fn(LinkId) -> bool) {
        self.of.retain(|asked, _| asked.is_none_or(&is_left));
    }

    /// A topology has come.
    pub(super) fn answered(&mut self, asked: Asked) {
        self.last = asked;
        self.of.insert(asked, Memory { has_answered: true, ..Memory::default() });
    }

    /// An answer was none. Returns how it is to be taken if it is a refusal.
    pub(super) fn failed(&mut self, asked: Asked, failure: &Failure, now: Instant) -> Option<StepResult> {
        self.last = asked;
        let memory = self.of.entry(asked).or_default();
        let refusal = if is_in_words(failure) {
            Some(StepResult::of::<()>(&Err(failure.clone())))
        } else if is_too_large(failure) {
            Some(StepResult::Unsupported)
        } else if is_in_vain(failure) && !memory.has_answered {
            memory.in_vain += 1;
            (memory.in_vain >= IN_VAIN).then_some(StepResult::Unsupported)
        } else {
            None
        };
        if refusal.is_some() {
            memory.refused_until = Some(now + MEMORY);
        }
        refusal
    }
}

/// Whether the server says that it does not answer this question, or that the user may not ask it.
pub(in crate::prober) fn is_in_words(failure: &Failure) -> bool {
    matches!(StepResult::of::<()>(&Err(failure.clone())), StepResult::Denied | StepResult::Unsupported)
}

/// Whether the answer is longer than what is read. It would be again, and each time at the price of the connection.
fn is_too_large(failure: &Failure) -> bool {
    failure.reason == FailureReason::ReplyTooLarge && failure.stage == Stage::Topology
}

/// Whether the server may have failed over the question, and not by itself.
fn is_in_vain(failure: &Failure) -> bool {
    let is_cause = matches!(
        failure.reason,
        FailureReason::ServerError
            | FailureReason::ProtocolError
            | FailureReason::Closed
            | FailureReason::Reset
            | FailureReason::CommandTimeout
    );
    is_cause && failure.stage == Stage::Topology
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: Asked = Some(LinkId(1));
    const SECOND: Asked = Some(LinkId(2));

    fn failure(reason: FailureReason) -> Failure {
        Failure::new(reason, Stage::Topology, "")
    }

    #[test]
    fn a_refusal_is_remembered_for_an_hour_of_the_one_who_refused() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let denied = answers.failed(FIRST, &failure(FailureReason::PermissionDenied), now);
        assert_eq!(denied, Some(StepResult::Denied));
        assert!(answers.has_refused(FIRST, now + MEMORY - Duration::from_secs(1)));
        assert!(!answers.has_refused(SECOND, now) && !answers.has_refused(FIRST, now + MEMORY));
        answers.forget(FIRST);
        assert!(!answers.has_refused(FIRST, now));
    }

    #[test]
    fn two_questions_in_a_row_that_are_answered_by_hanging_up_are_a_refusal_and_once_more_after_the_hour() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let closed = failure(FailureReason::Closed);
        assert_eq!(answers.failed(FIRST, &closed, now), None);
        assert_eq!(answers.failed(SECOND, &closed, now), None);
        assert_eq!(answers.failed(FIRST, &closed, now), Some(StepResult::Unsupported));
        assert_eq!(answers.failed(FIRST, &closed, now + MEMORY), Some(StepResult::Unsupported));
    }

    #[test]
    fn one_that_has_answered_knows_the_question_and_refuses_only_in_words() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.answered(FIRST);
        for _ in 0..3 {
            assert_eq!(answers.failed(FIRST, &failure(FailureReason::CommandTimeout), now), None);
        }
        let denied = answers.failed(FIRST, &failure(FailureReason::PermissionDenied), now);
        assert_eq!(denied, Some(StepResult::Denied));
    }

    #[test]
    fn failures_of_the_server_itself_are_no_refusals() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let to_connect = Failure::new(FailureReason::Closed, Stage::Idle, "");
        for failure in [failure(FailureReason::Loading), failure(FailureReason::Busy), to_connect] {
            for _ in 0..3 {
                assert_eq!(answers.failed(FIRST, &failure, now), None, "{failure}");
            }
        }
        assert_eq!((answers.last(), answers.has_refused(FIRST, now)), (FIRST, false));
    }
}
