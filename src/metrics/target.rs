//! The series of one target.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry,
};

use super::{Metrics, Owner, definition, family, remove};
use crate::clock::unix_seconds;
use crate::probe::{FailureReason, Outcome, Phase, PhaseTimes, Step, StepResult};
use crate::target::TargetName;

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";

/// The families whose first label is `target`.
#[derive(Debug)]
pub(super) struct Families {
    probe_success: IntGaugeVec,
    probes: IntCounterVec,
    probe_failures: IntCounterVec,
    probe_duration: HistogramVec,
    step_duration: HistogramVec,
    step_results: IntCounterVec,
    phase_duration: HistogramVec,
    connects: IntCounterVec,
    disconnects: IntCounterVec,
    reauthentications: IntCounterVec,
    last_success: GaugeVec,
    unavailable: CounterVec,
    late_ticks: IntCounterVec,
    clients: IntGaugeVec,
    certificate_expiry: GaugeVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            probe_success: family(registry, definition::PROBE_SUCCESS),
            probes: family(registry, definition::PROBES),
            probe_failures: family(registry, definition::PROBE_FAILURES),
            probe_duration: family(registry, definition::PROBE_DURATION),
            step_duration: family(registry, definition::STEP_DURATION),
            step_results: family(registry, definition::STEP_RESULTS),
            phase_duration: family(registry, definition::PHASE_DURATION),
            connects: family(registry, definition::CONNECTS),
            disconnects: family(registry, definition::DISCONNECTS),
            reauthentications: family(registry, definition::REAUTHENTICATIONS),
            last_success: family(registry, definition::LAST_SUCCESS),
            unavailable: family(registry, definition::UNAVAILABLE),
            late_ticks: family(registry, definition::LATE_TICKS),
            clients: family(registry, definition::CLIENTS),
            certificate_expiry: family(registry, definition::CERTIFICATE_EXPIRY),
        }
    }

    fn remove(&self, target: &str) {
        remove(&self.probe_success, &[target]);
        remove(&self.probes, &[target]);
        remove(&self.probe_duration, &[target]);
        remove(&self.last_success, &[target]);
        remove(&self.unavailable, &[target]);
        remove(&self.late_ticks, &[target]);
        remove(&self.clients, &[target]);
        remove(&self.certificate_expiry, &[target]);
        for reason in FailureReason::ALL {
            remove(&self.probe_failures, &[target, reason.as_str()]);
            remove(&self.disconnects, &[target, reason.as_str()]);
        }
        for step in Step::ALL {
            remove(&self.step_duration, &[target, step.as_str()]);
            for result in StepResult::ALL {
                remove(&self.step_results, &[target, step.as_str(), result.as_str()]);
            }
        }
        for phase in Phase::ALL {
            remove(&self.phase_duration, &[target, phase.as_str()]);
        }
        for result in [SUCCESS, FAILURE] {
            remove(&self.connects, &[target, result]);
            remove(&self.reauthentications, &[target, result]);
        }
    }
}

/// Writes the series of one target, and removes them when dropped.
#[derive(Debug)]
pub struct TargetMetrics {
    metrics: Metrics,
    name: TargetName,
    probes: IntCounter,
    /// By [`FailureReason`], as are the disconnects.
    probe_failures: [IntCounter; FailureReason::ALL.len()],
    probe_duration: Histogram,
    /// By [`Step`].
    step_duration: [Histogram; Step::ALL.len()],
    /// By [`Step`], then by [`StepResult`].
    step_results: [[IntCounter; StepResult::ALL.len()]; Step::ALL.len()],
    /// By [`Phase`].
    phase_duration: [Histogram; Phase::ALL.len()],
    connects: IntCounter,
    connect_failures: IntCounter,
    disconnects: [IntCounter; FailureReason::ALL.len()],
    reauthentications: IntCounter,
    reauthentication_failures: IntCounter,
    unavailable: Counter,
    late_ticks: IntCounter,
    // A gauge at 0 would be a verdict before there is one: these come with their first value.
    probe_success: OnceLock<IntGauge>,
    last_success: OnceLock<Gauge>,
    clients: OnceLock<IntGauge>,
    certificate_expiry: OnceLock<Gauge>,
}

impl TargetMetrics {
    pub(super) fn new(metrics: Metrics, name: TargetName) -> Self {
        let target = name.as_str();
        let families = &metrics.0.target;
        let by_reason = |family: &IntCounterVec| {
            FailureReason::ALL.map(|reason| family.with_label_values(&[target, reason.as_str()]))
        };
        Self {
            probes: families.probes.with_label_values(&[target]),
            probe_failures: by_reason(&families.probe_failures),
            probe_duration: families.probe_duration.with_label_values(&[target]),
            step_duration: Step::ALL
                .map(|step| families.step_duration.with_label_values(&[target, step.as_str()])),
            step_results: Step::ALL.map(|step| {
                StepResult::ALL.map(|result| {
                    families.step_results.with_label_values(&[target, step.as_str(), result.as_str()])
                })
            }),
            phase_duration: Phase::ALL
                .map(|phase| families.phase_duration.with_label_values(&[target, phase.as_str()])),
            connects: families.connects.with_label_values(&[target, SUCCESS]),
            connect_failures: families.connects.with_label_values(&[target, FAILURE]),
            disconnects: by_reason(&families.disconnects),
            reauthentications: families.reauthentications.with_label_values(&[target, SUCCESS]),
            reauthentication_failures: families.reauthentications.with_label_values(&[target, FAILURE]),
            unavailable: families.unavailable.with_label_values(&[target]),
            late_ticks: families.late_ticks.with_label_values(&[target]),
            probe_success: OnceLock::new(),
            last_success: OnceLock::new(),
            clients: OnceLock::new(),
            certificate_expiry: OnceLock::new(),
            metrics,
            name,
        }
    }

    /// A tick had its outcome at `at`. The phases are not counted here but where the connection is opened.
    pub fn outcome(&self, outcome: &Outcome, at: SystemTime) {
        let families = &self.metrics.0.target;
        let target = &[self.name.as_str()];
        let success = self.probe_success.get_or_init(|| families.probe_success.with_label_values(target));
        match &outcome.result {
            Ok(()) => {
                success.set(1);
                self.last_success
                    .get_or_init(|| families.last_success.with_label_values(target))
                    .set(unix_seconds(at));
            }
            Err(failure) => {
                success.set(0);
                self.probe_failures[failure.reason as usize].inc();
            }
        }
        self.probes.inc();
        self.probe_duration.observe(outcome.duration.as_secs_f64());
        for (step, result, duration) in outcome.steps.iter() {
            self.step_results[step as usize][result as usize].inc();
            self.step_duration[step as usize].observe(duration.as_secs_f64());
        }
        if let Some(count) = outcome.clients {
            self.clients
                .get_or_init(|| families.clients.with_label_values(target))
                .set(i64::try_from(count.clients).unwrap_or(i64::MAX));
        }
    }

    /// A connection was opened and signed in. `certificate_expiry` is `None` without TLS.
    pub fn connected(&self, phases: &PhaseTimes, certificate_expiry: Option<SystemTime>) {
        self.connects.inc();
        self.observe_phases(phases);
        if let Some(expiry) = certificate_expiry {
            let family = &self.metrics.0.target.certificate_expiry;
            self.certificate_expiry
                .get_or_init(|| family.with_label_values(&[self.name.as_str()]))
                .set(unix_seconds(expiry));
        }
    }

    /// A connection could not be opened, or not signed in. `phases` are those that completed.
    pub fn connect_failed(&self, phases: &PhaseTimes) {
        self.connect_failures.inc();
        self.observe_phases(phases);
    }

    /// An established connection was lost.
    pub fn disconnected(&self, reason: FailureReason) {
        self.disconnects[reason as usize].inc();
    }

    /// The cache took a renewed token on the live connection.
    pub fn reauthenticated(&self) {
        self.reauthentications.inc();
    }

    /// The cache refused a renewed token on the live connection, or did not answer.
    pub fn reauthentication_failed(&self) {
        self.reauthentication_failures.inc();
    }

    /// The cache was unavailable for another `duration`.
    pub fn unavailable(&self, duration: Duration) {
        self.unavailable.inc_by(duration.as_secs_f64());
    }

    /// `count` ticks came late.
    pub fn late_ticks(&self, count: u64) {
        self.late_ticks.inc_by(count);
    }

    fn observe_phases(&self, phases: &PhaseTimes) {
        for (phase, duration) in phases.iter() {
            self.phase_duration[phase as usize].observe(duration.as_secs_f64());
        }
    }
}

impl Drop for TargetMetrics {
    fn drop(&mut self) {
        let families = &self.metrics.0.target;
        self.metrics.release(&Owner::Target(self.name.clone()), || families.remove(self.name.as_str()));
    }
}
