//! The series of one target.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime};

use super::definition as define;
use super::definition::Definition;
use super::encoder::LabelPair;
use super::family::Family;
use super::histogram::Histogram;
use super::label::{
    ATTEMPT_RESULT, AttemptResult, EVENT, Label, MODE, PHASE, PROTOCOL_VERSION, REASON, SERVER, SERVER_ROLE,
    SERVER_VERSION, STEP, STEP_RESULT, TARGET,
};
use super::value::{Counter, Counters, Gauge, Seconds};
use super::{ClusterMetrics, Metrics, Registration, Series, Write};
use crate::clock::unix_seconds;
use crate::lock::lock;
use crate::maintenance::{Announced, Event};
use crate::probe::{FailureReason, Outcome, Phase, PhaseTimes, ServerInfo, Step, StepResult, StepResults};
use crate::target::{Labels, Protocol};

/// Counts by [`AttemptResult`].
type Attempts = [Counter; AttemptResult::ALL.len()];
/// Counts by [`FailureReason`].
type Reasons = Counters<{ FailureReason::ALL.len() }>;

/// The values of one target.
#[derive(Debug, Default)]
pub(super) struct TargetSeries {
    probe_success: Gauge,
    probes: Counter,
    probe_failures: Reasons,
    probe_duration: Histogram,
    /// By [`Step`].
    step_duration: [Histogram; Step::ALL.len()],
    /// By [`Step`], then by [`StepResult`].
    step_results: [Counters<{ StepResult::ALL.len() }>; Step::ALL.len()],
    /// By [`Phase`].
    phase_duration: [Histogram; Phase::ALL.len()],
    connects: Attempts,
    disconnects: Reasons,
    /// By [`Protocol`]; at most one is set.
    protocol: [Gauge; Protocol::ALL.len()],
    new_connection_success: Gauge,
    new_connections: Attempts,
    new_connection_failures: Reasons,
    new_connection_consecutive_failures: Gauge,
    reauthentications: Counters<{ AttemptResult::ALL.len() }>,
    probe_interval: Gauge,
    last_success: Gauge,
    unavailable: Seconds,
    late_ticks: Counter,
    clients: Gauge,
    certificate_expiry: Gauge,
    labels: Mutex<Labels>,
    /// What the server said of itself; `None` before the first reply.
    server: Mutex<Option<Box<ServerInfo>>>,
    role_changes: Counter,
    sentinel_quorum: Gauge,
    /// Only where notices are asked for.
    maintenance: OnceLock<Box<MaintenanceSeries>>,
}

/// What is known of a cache's maintenance.
#[derive(Debug, Default)]
struct MaintenanceSeries {
    notifications: Gauge,
    /// By [`Event`].
    events: Counters<{ Event::ALL.len() }>,
    active: Gauge,
    scheduled: Gauge,
}

impl Series for TargetSeries {
    type Name = Arc<str>;
    const OWNER: &'static str = TARGET.name;
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::PROBE_SUCCESS, |it, target, family| family.gauge(&[target], &it.probe_success)),
        (define::PROBES, |it, target, family| family.counter(&[target], &it.probes)),
        (define::PROBE_FAILURES, |it, target, family| {
            by_reason(family, target, &it.probe_failures);
        }),
        (define::PROBE_DURATION, |it, target, family| family.histogram(&[target], &it.probe_duration)),
        (define::STEP_DURATION, |it, target, family| {
            for step in Step::ALL {
                observed(family, &[(STEP.name, step.as_str()), target], &it.step_duration[step as usize]);
            }
        }),
        (define::STEP_RESULTS, |it, target, family| {
            for step in Step::ALL {
                for result in StepResult::ALL {
                    if let Some(counter) = it.step_results[step as usize].get(result as usize) {
                        let labels =
                            [(STEP_RESULT.name, result.as_str()), (STEP.name, step.as_str()), target];
                        family.counter(&labels, counter);
                    }
                }
            }
        }),
        (define::PHASE_DURATION, |it, target, family| {
            for phase in Phase::ALL {
                observed(family, &[(PHASE.name, phase.as_str()), target], &it.phase_duration[phase as usize]);
            }
        }),
        (define::CONNECTS, |it, target, family| by_result(family, target, &it.connects)),
        (define::DISCONNECTS, |it, target, family| {
            by_reason(family, target, &it.disconnects);
        }),
        (define::PROTOCOL, |it, target, family| {
            for version in Protocol::ALL {
                family.gauge(
                    &[target, (PROTOCOL_VERSION.name, version.as_str())],
                    &it.protocol[version as usize],
                );
            }
        }),
        (define::NEW_CONNECTION_SUCCESS, |it, target, family| {
            family.gauge(&[target], &it.new_connection_success);
        }),
        (define::NEW_CONNECTIONS, |it, target, family| by_result(family, target, &it.new_connections)),
        (define::NEW_CONNECTION_FAILURES, |it, target, family| {
            by_reason(family, target, &it.new_connection_failures);
        }),
        (define::NEW_CONNECTION_CONSECUTIVE_FAILURES, |it, target, family| {
            family.gauge(&[target], &it.new_connection_consecutive_failures);
        }),
        (define::REAUTHENTICATIONS, |it, target, family| {
            let result = |number: usize| AttemptResult::ALL[number].as_str();
            occurred(family, ATTEMPT_RESULT, result, target, &it.reauthentications);
        }),
        (define::PROBE_INTERVAL, |it, target, family| family.gauge(&[target], &it.probe_interval)),
        (define::LAST_SUCCESS, |it, target, family| family.gauge(&[target], &it.last_success)),
        (define::UNAVAILABLE, |it, target, family| family.seconds(&[target], &it.unavailable)),
        (define::LATE_TICKS, |it, target, family| family.counter(&[target], &it.late_ticks)),
        (define::CLIENTS, |it, target, family| family.gauge(&[target], &it.clients)),
        (define::CERTIFICATE_EXPIRY, |it, target, family| family.gauge(&[target], &it.certificate_expiry)),
        (define::TARGET_LABELS, |it, target, family| {
            let labels = lock(&it.labels).clone();
            if !labels.is_empty() {
                let values: Vec<_> = labels.iter().map(|(name, value)| (name, family.label(value))).collect();
                let labels = values.iter().map(|(name, value)| (*name, &**value));
                family.info(&labels.chain([target]).collect::<Vec<_>>());
            }
        }),
        (define::SERVER_INFO, |it, target, family| {
            if let Some(server) = it.server().as_deref() {
                let (product, version) = (family.label(server.product()), family.label(server.version()));
                family.info(&[
                    (MODE.name, server.mode()),
                    (SERVER_ROLE.name, server.role()),
                    (SERVER.name, &product),
                    target,
                    (SERVER_VERSION.name, &version),
                ]);
            }
        }),
        (define::ROLE_CHANGES, |it, target, family| {
            if it.server().is_some() {
                family.counter(&[target], &it.role_changes);
            }
        }),
        (define::SENTINEL_QUORUM, |it, target, family| family.gauge(&[target], &it.sentinel_quorum)),
        (define::MAINTENANCE_NOTIFICATIONS, |it, target, family| {
            if let Some(maintenance) = it.maintenance.get() {
                family.gauge(&[target], &maintenance.notifications);
            }
        }),
        (define::MAINTENANCE_EVENTS, |it, target, family| {
            if let Some(maintenance) = it.maintenance.get() {
                occurred(family, EVENT, |number| Event::ALL[number].as_str(), target, &maintenance.events);
            }
        }),
        (define::MAINTENANCE_ACTIVE, |it, target, family| {
            if let Some(maintenance) = it.maintenance.get() {
                family.gauge(&[target], &maintenance.active);
            }
        }),
        (define::MAINTENANCE_SCHEDULED, |it, target, family| {
            if let Some(maintenance) = it.maintenance.get() {
                family.gauge(&[target], &maintenance.scheduled);
            }
        }),
    ];

    fn new(_: &Arc<str>) -> Self {
        Self::default()
    }
}

impl TargetSeries {
    fn server(&self) -> MutexGuard<'_, Option<Box<ServerInfo>>> {
        lock(&self.server)
    }
}

/// Writes a histogram from its first observation on: of a step that is off, or a phase that the connection lacks, there is
/// none.
fn observed(family: &mut Family<'_>, labels: &[LabelPair<'_>], histogram: &Histogram) {
    if !histogram.is_empty() {
        family.histogram(labels, histogram);
    }
}

/// Writes the reasons that have occurred.
fn by_reason(family: &mut Family<'_>, target: LabelPair<'_>, counters: &Reasons) {
    occurred(family, REASON, |number| FailureReason::ALL[number].as_str(), target, counters);
}

/// Writes the events that have occurred. `value` returns the value of a label by the number of the event.
fn occurred<const N: usize>(
    family: &mut Family<'_>,
    label: Label,
    value: impl Fn(usize) -> &'static str,
    target: LabelPair<'_>,
    counters: &Counters<N>,
) {
    for (number, counter) in counters.iter() {
        family.counter(&[(label.name, value(number)), target], counter);
    }
}

fn by_result(family: &mut Family<'_>, target: LabelPair<'_>, counters: &Attempts) {
    for result in AttemptResult::ALL {
        family.counter(&[(ATTEMPT_RESULT.name, result.as_str()), target], &counters[result as usize]);
    }
}

/// Writes the series of one target, and removes them when dropped.
#[derive(Debug)]
pub struct TargetMetrics {
    registration: Registration<TargetSeries>,
    /// For what targets share, and to add the series of clusters.
    metrics: Metrics,
}

impl TargetMetrics {
    pub(super) const fn new(registration: Registration<TargetSeries>, metrics: Metrics) -> Self {
        Self { registration, metrics }
    }

    /// Adds the series of the cluster that the target turned out to be.
    #[must_use]
    pub fn cluster(&self) -> ClusterMetrics {
        self.metrics.cluster(Arc::clone(self.registration.name()))
    }

    /// Sets the labels of the target, in place of those that it had.
    #[must_use]
    pub fn with_labels(self, labels: &Labels) -> Self {
        *lock(&self.registration.series().labels) = labels.clone();
        self
    }

    /// Records that probing begins, with a tick every `interval`.
    pub fn started(&self, interval: Duration) {
        self.registration.series().probe_interval.set(interval.as_secs_f64());
    }

    /// Records that a tick was noticed `delay` after it was due, and that `late` ticks, skipped ones included, were
    /// late.
    pub fn tick(&self, delay: Duration, late: u64) {
        self.metrics.0.scheduler_delay.observe(delay);
        self.registration.series().late_ticks.add(late);
    }

    /// Records that `ticks` ticks had this outcome, and whether the cache is up. The steps are recorded by
    /// [`Self::steps`], the phases by [`Self::connected`] and [`Self::connect_failed`].
    pub fn outcome(&self, outcome: &Outcome, ticks: u64, is_up: bool, at: SystemTime) {
        let series = self.registration.series();
        if let Err(failure) = &outcome.result {
            series.probe_failures.add(failure.reason as usize, ticks);
        }
        self.verdict(is_up, at);
        series.probes.add(ticks);
        // A failure that was known before its tick took no time.
        if outcome.attempts > 0 {
            series.probe_duration.observe(outcome.duration);
        }
        if let Some(count) = outcome.clients {
            series.clients.set(count.clients as f64);
        }
    }

    /// Records the steps of a round.
    pub fn steps(&self, steps: &StepResults) {
        let series = self.registration.series();
        for (step, result, duration) in steps.iter() {
            series.step_results[step as usize].increment(result as usize);
            series.step_duration[step as usize].observe(duration);
        }
    }

    /// Records that the cache is up or down at `at`, with or without a tick.
    pub fn verdict(&self, is_up: bool, at: SystemTime) {
        let series = self.registration.series();
        series.probe_success.set(if is_up { 1.0 } else { 0.0 });
        if is_up {
            series.last_success.set(unix_seconds(at));
        }
    }

    /// Records that a connection was opened and signed in.
    pub fn connected(&self, phases: &PhaseTimes) {
        self.registration.series().connects[AttemptResult::Success as usize].increment();
        self.phases(phases);
    }

    /// Records the protocol of the open connections; `None` if there are none.
    pub fn protocol(&self, protocol: Option<Protocol>) {
        let series = self.registration.series();
        for version in Protocol::ALL {
            let gauge = &series.protocol[version as usize];
            if Some(version) == protocol { gauge.set(1.0) } else { gauge.clear() }
        }
    }

    /// Records the expiry of the certificate that the server has shown; of several, the earliest.
    pub fn certificate_expiry(&self, expiry: SystemTime) {
        self.registration.series().certificate_expiry.set(unix_seconds(expiry));
    }

    /// Records that a connection could not be opened or signed in. `phases` are those that completed.
    pub fn connect_failed(&self, phases: &PhaseTimes) {
        self.registration.series().connects[AttemptResult::Failure as usize].increment();
        self.phases(phases);
    }

    /// Records that a new connection was probed, and how many of these probes have failed in a row. `phases` are those
    /// that completed.
    pub fn new_connection(
        &self,
        result: Result<(), FailureReason>,
        failed_in_a_row: u32,
        phases: &PhaseTimes,
    ) {
        let series = self.registration.series();
        let attempt = if result.is_ok() { AttemptResult::Success } else { AttemptResult::Failure };
        series.new_connections[attempt as usize].increment();
        series.new_connection_success.set(if result.is_ok() { 1.0 } else { 0.0 });
        series.new_connection_consecutive_failures.set(f64::from(failed_in_a_row));
        if let Err(reason) = result {
            debug_assert!(reason.can_fail_opening(), "{reason} is not documented");
            series.new_connection_failures.increment(reason as usize);
        }
        self.phases(phases);
    }

    /// Records that an open connection was lost.
    pub fn disconnected(&self, reason: FailureReason) {
        debug_assert!(reason.can_end_connection(), "{reason} is not documented");
        self.registration.series().disconnects.increment(reason as usize);
    }

    /// Records that the cache accepted a refreshed token on the open connection.
    pub fn reauthenticated(&self) {
        self.registration.series().reauthentications.increment(AttemptResult::Success as usize);
    }

    /// Records that the cache refused a refreshed token on the open connection, or did not answer.
    pub fn reauthentication_failed(&self) {
        self.registration.series().reauthentications.increment(AttemptResult::Failure as usize);
    }

    /// Records that the cache was unavailable for another `duration`.
    pub fn unavailable(&self, duration: Duration) {
        self.registration.series().unavailable.add(duration);
    }

    /// Records what the server says of itself.
    pub fn server_info(&self, server: &ServerInfo) {
        let mut present = self.registration.series().server();
        if present.as_deref() != Some(server) {
            *present = Some(Box::new(server.clone()));
        }
    }

    /// Records that a server of the target has another role than before.
    pub fn role_changed(&self) {
        self.registration.series().role_changes.increment();
    }

    /// Records whether enough sentinels are usable for a failover.
    pub fn sentinel_quorum(&self, has_quorum: Option<bool>) {
        let quorum = &self.registration.series().sentinel_quorum;
        match has_quorum {
            Some(has_quorum) => quorum.set(if has_quorum { 1.0 } else { 0.0 }),
            None => quorum.clear(),
        }
    }

    /// Records whether the cache has agreed to send notices of maintenance. From the first call on, the series about
    /// maintenance exist.
    pub fn maintenance_notifications(&self, agreed: bool) {
        self.maintenance().notifications.set(if agreed { 1.0 } else { 0.0 });
    }

    /// Records that the cache has sent a notice.
    pub fn maintenance_event(&self, event: Event) {
        self.maintenance().events.increment(event as usize);
    }

    /// Records what is known from the notices.
    pub fn maintenance_announced(&self, announced: Announced) {
        let series = self.maintenance();
        series.active.set(if announced.is_active { 1.0 } else { 0.0 });
        match announced.scheduled {
            Some(start) => series.scheduled.set(unix_seconds(start)),
            None => series.scheduled.clear(),
        }
    }

    fn maintenance(&self) -> &MaintenanceSeries {
        self.registration.series().maintenance.get_or_init(Box::default)
    }

    /// Records the phases of a connection.
    pub fn phases(&self, phases: &PhaseTimes) {
        for (phase, duration) in phases.iter() {
            self.registration.series().phase_duration[phase as usize].observe(duration);
        }
    }
}
