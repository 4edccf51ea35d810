//! One outcome and its time, in half the memory of an [`Outcome`]: each target keeps ten.

use std::time::{Duration, SystemTime};

use crate::probe::compact::Compact;
use crate::probe::{ClientCount, Failure, Outcome, PhaseTimes, StepResults};

/// One outcome and its time.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Since 1970.
    at: Compact,
    delay: Compact,
    duration: Compact,
    steps: StepResults,
    clients: Option<ClientCount>,
    /// `None` for a success on an open connection, as nearly every outcome is.
    rare: Option<Box<Rare>>,
    attempts: u32,
}

/// What most outcomes lack.
#[derive(Clone, Debug)]
struct Rare {
    result: Result<(), Failure>,
    phases: PhaseTimes,
}

impl Record {
    /// Creates the record of the outcome at `at` of a tick that began `delay` late.
    pub(super) fn new(outcome: &Outcome, delay: Duration, at: SystemTime) -> Self {
        let Outcome { result, attempts, duration, phases, steps, clients } = outcome;
        Self {
            at: Compact::new(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
            delay: Compact::new(delay),
            duration: Compact::new(*duration),
            steps: *steps,
            clients: *clients,
            rare: (result.is_err() || *phases != PhaseTimes::default())
                .then(|| Box::new(Rare { result: result.clone(), phases: *phases })),
            attempts: *attempts,
        }
    }

    /// When it came.
    pub(super) fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.at.get()
    }

    /// How late the tick began.
    pub(super) const fn delay(&self) -> Duration {
        self.delay.get()
    }

    pub(super) fn outcome(&self) -> Outcome {
        let Self { duration, steps, clients, rare, attempts, .. } = self;
        let rare = rare.as_deref();
        Outcome {
            result: rare.map_or(Ok(()), |rare| rare.result.clone()),
            attempts: *attempts,
            duration: duration.get(),
            phases: rare.map(|rare| rare.phases).unwrap_or_default(),
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
        assert!(size_of::<Record>() <= 96, "{}", size_of::<Record>());
        let failure = Failure::new(FailureReason::Closed, Stage::Step(Step::Get), "closed");
        let (mut phases, mut steps) = (PhaseTimes::default(), StepResults::default());
        steps.set(Step::Ping, StepResult::Success, Duration::from_micros(200));
        let duration = Duration::from_millis(3);
        let clients = Some(ClientCount { clients: 7, own_seen: true });
        let success = Outcome { result: Ok(()), attempts: 1, duration, phases, steps, clients };
        phases.set(Phase::Connect, Duration::from_millis(2));
        let failed = Outcome { result: Err(failure), attempts: 2, phases, clients: None, ..success.clone() };
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 1);
        for outcome in [success, failed] {
            let record = Record::new(&outcome, Duration::from_millis(1), at);
            assert_eq!(record.outcome(), outcome);
            assert_eq!((record.delay(), record.at()), (Duration::from_millis(1), at));
        }
    }
}
