//! One outcome and its time, in half the memory of an [`Outcome`]: each target keeps ten.

use std::time::{Duration, SystemTime};

use crate::probe::compact::Compact;
use crate::probe::{ClientCount, Failure, Outcome, PhaseTimes, StepResults};

/// One outcome and its time.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) at: SystemTime,
    delay: Compact,
    duration: Compact,
    steps: StepResults,
    clients: Option<ClientCount>,
    /// Boxed, as failures are rare.
    result: Result<(), Box<Failure>>,
    /// `None` if the connection was already open, as it is nearly always.
    phases: Option<Box<PhaseTimes>>,
    attempts: u32,
}

impl Record {
    /// Creates the record of the outcome at `at` of a tick that began `delay` late.
    pub(super) fn new(outcome: &Outcome, delay: Duration, at: SystemTime) -> Self {
        let Outcome { result, attempts, duration, phases, steps, clients } = outcome;
        Self {
            at,
            delay: Compact::new(delay),
            duration: Compact::new(*duration),
            steps: *steps,
            clients: *clients,
            result: result.as_ref().copied().map_err(|failure| Box::new(failure.clone())),
            phases: (*phases != PhaseTimes::default()).then(|| Box::new(*phases)),
            attempts: *attempts,
        }
    }

    /// How late the tick began.
    pub(super) const fn delay(&self) -> Duration {
        self.delay.get()
    }

    pub(super) fn outcome(&self) -> Outcome {
        let Self { duration, steps, clients, result, phases, attempts, .. } = self;
        Outcome {
            result: result.as_ref().copied().map_err(|failure| Failure::clone(failure)),
            attempts: *attempts,
            duration: duration.get(),
            phases: phases.as_deref().copied().unwrap_or_default(),
            steps: *steps,
            clients: *clients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{FailureReason, Phase, Stage, Step, StepResult};

    #[test]
    fn a_record_keeps_the_whole_outcome_in_half_the_memory() {
        assert!(size_of::<Record>() <= 112, "{}", size_of::<Record>());
        let failure = Failure::new(FailureReason::Closed, Stage::Step(Step::Get), "closed");
        let (mut phases, mut steps) = (PhaseTimes::default(), StepResults::default());
        steps.set(Step::Ping, StepResult::Success, Duration::from_micros(200));
        let duration = Duration::from_millis(3);
        let clients = Some(ClientCount { clients: 7, own_seen: true });
        let success = Outcome { result: Ok(()), attempts: 1, duration, phases, steps, clients };
        phases.set(Phase::Connect, Duration::from_millis(2));
        let failed = Outcome { result: Err(failure), attempts: 2, phases, clients: None, ..success.clone() };
        for outcome in [success, failed] {
            let record = Record::new(&outcome, Duration::from_millis(1), SystemTime::UNIX_EPOCH);
            assert_eq!(record.outcome(), outcome);
            assert_eq!((record.delay(), record.at), (Duration::from_millis(1), SystemTime::UNIX_EPOCH));
        }
    }
}
