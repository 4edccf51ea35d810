//! What is remembered of those who were asked for the topology: who refused, who did not survive the question, and who
//! answered last.
//!
//! Pure: no I/O and no clock.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::probe::{Failure, FailureReason, Stage, StepResult};
use crate::prober::fallback::MEMORY;
use crate::prober::links::FRONT;
use crate::prober::whole::LinkId;

/// How long a link is spared that was lost over the question, or answered nothing that makes sense. It may have another
/// cause than the question. Proxies hang up on what they do not know.
const SPARED: Duration = Duration::from_secs(600);

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
    refused_until: Option<Instant>,
    /// Until when it is not asked because it was asked in vain.
    spared_until: Option<Instant>,
}

impl Answers {
    /// Who was asked last.
    pub(super) const fn last(&self) -> Asked {
        self.last
    }

    /// Whether `asked` has refused, and is not to be asked at `now`.
    pub(super) fn has_refused(&self, asked: Asked, now: Instant) -> bool {
        self.of.get(&asked).and_then(|memory| memory.refused_until).is_some_and(|until| now < until)
    }

    /// Whether the link was asked in vain, so that others are asked before.
    pub(super) fn is_doubtful(&self, link: LinkId) -> bool {
        self.of.get(&Some(link)).is_some_and(|memory| memory.spared_until.is_some())
    }

    /// Whether the link is not to be asked at `now`, as it has refused or was asked in vain. The configured host is asked
    /// instead, on a connection of its own.
    pub(super) fn is_spared(&self, link: LinkId, now: Instant) -> bool {
        let until = self.of.get(&Some(link)).and_then(|memory| memory.spared_until);
        self.has_refused(Some(link), now) || until.is_some_and(|until| now < until)
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

    /// An answer was none. Returns how it is to be taken if it is a refusal. One that has ever answered knows the question:
    /// anything but a refusal in words is a failure of the moment.
    pub(super) fn failed(&mut self, asked: Asked, failure: &Failure, now: Instant) -> Option<StepResult> {
        self.last = asked;
        let memory = self.of.entry(asked).or_default();
        let refusal = if is_in_words(failure) {
            StepResult::of::<()>(&Err(failure.clone()))
        } else if is_too_large(failure) {
            StepResult::Unsupported
        } else {
            if is_in_vain(failure) && !memory.has_answered {
                let pause = if asked == Some(FRONT) { MEMORY } else { SPARED };
                memory.spared_until = Some(now + pause);
            }
            return None;
        };
        memory.refused_until = Some(now + MEMORY);
        Some(refusal)
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
pub(super) fn is_in_vain(failure: &Failure) -> bool {
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
    fn a_link_that_is_lost_over_the_question_is_spared_and_has_not_refused() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        for reason in [FailureReason::Closed, FailureReason::CommandTimeout, FailureReason::ServerError] {
            assert_eq!(answers.failed(FIRST, &failure(reason), now), None);
            assert!(answers.is_spared(LinkId(1), now + SPARED - Duration::from_secs(1)));
            assert!(!answers.is_spared(LinkId(1), now + SPARED) && answers.is_doubtful(LinkId(1)));
            assert!(!answers.has_refused(FIRST, now) && !answers.is_spared(LinkId(2), now));
            answers.answered(FIRST);
            assert!(!answers.is_spared(LinkId(1), now) && !answers.is_doubtful(LinkId(1)));
            answers.forget(FIRST);
        }
    }

    #[test]
    fn one_that_has_answered_knows_the_question_and_refuses_only_in_words() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.answered(FIRST);
        for _ in 0..3 {
            assert_eq!(answers.failed(FIRST, &failure(FailureReason::CommandTimeout), now), None);
            assert!(!answers.is_spared(LinkId(1), now));
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
        assert_eq!((answers.last(), answers.is_spared(LinkId(1), now)), (FIRST, false));
    }
}
