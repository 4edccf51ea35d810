//! The series of one target.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::definition as define;
use super::definition::Definition;
use super::text::{Family, Label};
use super::value::{Counter, Gauge, Histogram, Seconds};
use super::{Handle, Series, Write};
use crate::clock::unix_seconds;
use crate::probe::{FailureReason, Outcome, Phase, PhaseTimes, Step, StepResult};

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";

/// What is counted of one target.
#[derive(Debug, Default)]
pub(super) struct TargetSeries {
    probe_success: Gauge,
    probes: Counter,
    /// By [`FailureReason`], as are the disconnects.
    probe_failures: [Counter; FailureReason::ALL.len()],
    probe_duration: Histogram,
    /// By [`Step`].
    step_duration: [Histogram; Step::ALL.len()],
    /// By [`Step`], then by [`StepResult`].
    step_results: [[Counter; StepResult::ALL.len()]; Step::ALL.len()],
    /// By [`Phase`].
    phase_duration: [Histogram; Phase::ALL.len()],
    connects: Counter,
    connect_failures: Counter,
    disconnects: [Counter; FailureReason::ALL.len()],
    reauthentications: Counter,
    reauthentication_failures: Counter,
    last_success: Gauge,
    unavailable: Seconds,
    late_ticks: Counter,
    clients: Gauge,
    certificate_expiry: Gauge,
}

impl Series for TargetSeries {
    const OWNER: &'static str = "target";
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::PROBE_SUCCESS, |it, target, family| family.gauge(&[target], &it.probe_success)),
        (define::PROBES, |it, target, family| family.counter(&[target], &it.probes)),
        (define::PROBE_FAILURES, |it, target, family| by_reason(family, target, &it.probe_failures)),
        (define::PROBE_DURATION, |it, target, family| family.histogram(&[target], &it.probe_duration)),
        (define::STEP_DURATION, |it, target, family| {
            for step in Step::ALL {
                family.histogram(&[("step", step.as_str()), target], &it.step_duration[step as usize]);
            }
        }),
        (define::STEP_RESULTS, |it, target, family| {
            for step in Step::ALL {
                for result in StepResult::ALL {
                    let labels = [("result", result.as_str()), ("step", step.as_str()), target];
                    family.counter(&labels, &it.step_results[step as usize][result as usize]);
                }
            }
        }),
        (define::PHASE_DURATION, |it, target, family| {
            for phase in Phase::ALL {
                family.histogram(&[("phase", phase.as_str()), target], &it.phase_duration[phase as usize]);
            }
        }),
        (define::CONNECTS, |it, target, family| {
            family.counter(&[("result", SUCCESS), target], &it.connects);
            family.counter(&[("result", FAILURE), target], &it.connect_failures);
        }),
        (define::DISCONNECTS, |it, target, family| by_reason(family, target, &it.disconnects)),
        (define::REAUTHENTICATIONS, |it, target, family| {
            family.counter(&[("result", SUCCESS), target], &it.reauthentications);
            family.counter(&[("result", FAILURE), target], &it.reauthentication_failures);
        }),
        (define::LAST_SUCCESS, |it, target, family| family.gauge(&[target], &it.last_success)),
        (define::UNAVAILABLE, |it, target, family| family.seconds(&[target], &it.unavailable)),
        (define::LATE_TICKS, |it, target, family| family.counter(&[target], &it.late_ticks)),
        (define::CLIENTS, |it, target, family| family.gauge(&[target], &it.clients)),
        (define::CERTIFICATE_EXPIRY, |it, target, family| family.gauge(&[target], &it.certificate_expiry)),
    ];
}

fn by_reason(family: &mut Family<'_>, target: Label<'_>, counters: &[Counter; FailureReason::ALL.len()]) {
    for reason in FailureReason::ALL {
        family.counter(&[("reason", reason.as_str()), target], &counters[reason as usize]);
    }
}

/// Writes the series of one target, and removes them when dropped.
#[derive(Debug)]
pub struct TargetMetrics {
    handle: Handle<TargetSeries>,
    /// Of all targets together.
    scheduler_delay: Arc<Histogram>,
}

impl TargetMetrics {
    pub(super) const fn new(handle: Handle<TargetSeries>, scheduler_delay: Arc<Histogram>) -> Self {
        Self { handle, scheduler_delay }
    }

    /// A tick had its outcome at `at`. The phases are not counted here but where the connection is opened.
    pub fn outcome(&self, outcome: &Outcome, at: SystemTime) {
        let series = self.handle.series();
        match &outcome.result {
            Ok(()) => {
                series.probe_success.set(1.0);
                series.last_success.set(unix_seconds(at));
            }
            Err(failure) => {
                series.probe_success.set(0.0);
                series.probe_failures[failure.reason as usize].increment();
            }
        }
        series.probes.increment();
        series.probe_duration.observe(outcome.duration);
        for (step, result, duration) in outcome.steps.iter() {
            series.step_results[step as usize][result as usize].increment();
            series.step_duration[step as usize].observe(duration);
        }
        if let Some(count) = outcome.clients {
            series.clients.set(count.clients as f64);
        }
    }

    /// A connection was opened and signed in. `certificate_expiry` is `None` without TLS.
    pub fn connected(&self, phases: &PhaseTimes, certificate_expiry: Option<SystemTime>) {
        let series = self.handle.series();
        series.connects.increment();
        self.observe_phases(phases);
        if let Some(expiry) = certificate_expiry {
            series.certificate_expiry.set(unix_seconds(expiry));
        }
    }

    /// A connection could not be opened, or not signed in. `phases` are those that completed.
    pub fn connect_failed(&self, phases: &PhaseTimes) {
        self.handle.series().connect_failures.increment();
        self.observe_phases(phases);
    }

    /// An established connection was lost.
    pub fn disconnected(&self, reason: FailureReason) {
        self.handle.series().disconnects[reason as usize].increment();
    }

    /// The cache took a renewed token on the live connection.
    pub fn reauthenticated(&self) {
        self.handle.series().reauthentications.increment();
    }

    /// The cache refused a renewed token on the live connection, or did not answer.
    pub fn reauthentication_failed(&self) {
        self.handle.series().reauthentication_failures.increment();
    }

    /// The cache was unavailable for another `duration`.
    pub fn unavailable(&self, duration: Duration) {
        self.handle.series().unavailable.add(duration);
    }

    /// A tick began `delay` after it was due.
    pub fn tick_began(&self, delay: Duration) {
        self.scheduler_delay.observe(delay);
    }

    /// `count` ticks came late.
    pub fn late_ticks(&self, count: u64) {
        self.handle.series().late_ticks.add(count);
    }

    fn observe_phases(&self, phases: &PhaseTimes) {
        for (phase, duration) in phases.iter() {
            self.handle.series().phase_duration[phase as usize].observe(duration);
        }
    }
}
