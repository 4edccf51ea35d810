//! What each metric is called and means: the table behind `/metrics` and its documentation.
//!
//! The names, labels and types are an interface: dashboards and alerts depend on them.

/// The type of a metric, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// The type as the text format spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The whole name, prefix included.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The labels, in order; the first says whose series it is.
    pub labels: &'static [&'static str],
    /// The help text, as exported.
    pub help: &'static str,
}

/// Every metric of ours, in the order of the documentation. Beside them stand the usual `process_*`.
///
/// A target has 274 series: 67 counters and gauges, and 9 histograms of 23 each. An identity has 27.
pub const DEFINITIONS: [Definition; 23] = [
    PROBE_SUCCESS,
    PROBES,
    PROBE_FAILURES,
    PROBE_DURATION,
    STEP_DURATION,
    STEP_RESULTS,
    PHASE_DURATION,
    CONNECTS,
    DISCONNECTS,
    REAUTHENTICATIONS,
    LAST_SUCCESS,
    UNAVAILABLE,
    LATE_TICKS,
    SCHEDULER_DELAY,
    CLIENTS,
    CERTIFICATE_EXPIRY,
    TOKEN_EXPIRY,
    TOKEN_REFRESHES,
    TOKEN_REFRESH_DURATION,
    TASKS,
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_SUCCESS,
];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Histogram, labels, help }
}

pub(super) const PROBE_SUCCESS: Definition = gauge(
    "cachepulse_probe_success",
    &["target"],
    "Whether the last probe succeeded (1) or failed (0). Absent before the first.",
);
pub(super) const PROBES: Definition =
    counter("cachepulse_probes_total", &["target"], "Probes with an outcome, successes and failures.");
pub(super) const PROBE_FAILURES: Definition =
    counter("cachepulse_probe_failures_total", &["target", "reason"], "Failed probes by reason.");
pub(super) const PROBE_DURATION: Definition = histogram(
    "cachepulse_probe_duration_seconds",
    &["target"],
    "Time from a probe's start to its outcome, all attempts included, whatever the outcome.",
);
pub(super) const STEP_DURATION: Definition = histogram(
    "cachepulse_step_duration_seconds",
    &["target", "step"],
    "Time that one command took, whatever its result.",
);
pub(super) const STEP_RESULTS: Definition = counter(
    "cachepulse_step_results_total",
    &["target", "step", "result"],
    "Commands by result: success, denied (NOPERM) or failure.",
);
pub(super) const PHASE_DURATION: Definition = histogram(
    "cachepulse_phase_duration_seconds",
    &["target", "phase"],
    "Time that a completed phase of opening a connection took.",
);
pub(super) const CONNECTS: Definition = counter(
    "cachepulse_connects_total",
    &["target", "result"],
    "Attempts to open a connection, sign-in included: success or failure.",
);
pub(super) const DISCONNECTS: Definition = counter(
    "cachepulse_disconnects_total",
    &["target", "reason"],
    "Established connections lost, by reason.",
);
pub(super) const REAUTHENTICATIONS: Definition = counter(
    "cachepulse_reauthentications_total",
    &["target", "result"],
    "Renewed tokens presented on a live connection: success or failure.",
);
pub(super) const LAST_SUCCESS: Definition = gauge(
    "cachepulse_last_success_timestamp_seconds",
    &["target"],
    "When a probe last succeeded, in seconds since 1970. Absent before the first success.",
);
pub(super) const UNAVAILABLE: Definition = counter(
    "cachepulse_unavailable_seconds_total",
    &["target"],
    "Time from the first sign of a failure to the next success.",
);
pub(super) const LATE_TICKS: Definition = counter(
    "cachepulse_late_ticks_total",
    &["target"],
    "Probes that started late, because the agent had no time for them.",
);
pub(super) const CLIENTS: Definition = gauge(
    "cachepulse_cache_clients",
    &["target"],
    "Clients in the last CLIENT LIST; per node behind Azure Managed Redis. Absent before the first list.",
);
pub(super) const CERTIFICATE_EXPIRY: Definition = gauge(
    "cachepulse_tls_certificate_expiry_timestamp_seconds",
    &["target"],
    "When the server's certificate ends, in seconds since 1970, as of the last connection.",
);
pub(super) const TOKEN_EXPIRY: Definition = gauge(
    "cachepulse_token_expiry_timestamp_seconds",
    &["identity"],
    "When the token in use ends, in seconds since 1970. Absent before the first token.",
);
pub(super) const TOKEN_REFRESHES: Definition = counter(
    "cachepulse_token_refreshes_total",
    &["identity", "result"],
    "Requests for a token: success, unchanged (the same token again) or failure.",
);
pub(super) const TOKEN_REFRESH_DURATION: Definition = histogram(
    "cachepulse_token_refresh_duration_seconds",
    &["identity"],
    "Time that a request for a token took, whatever its result.",
);
pub(super) const SCHEDULER_DELAY: Definition = histogram(
    "cachepulse_scheduler_delay_seconds",
    &[],
    "Time from a tick's due moment to the start of its probe: what the agent itself, or a busy machine, adds.",
);
pub(super) const TASKS: Definition = gauge(
    "cachepulse_tasks",
    &["part"],
    "Tasks that run in the agent: for probing, a few for each target and identity; for HTTP, one for each connection.",
);
pub(super) const BUILD_INFO: Definition =
    gauge("cachepulse_build_info", &["version"], "Always 1; the label tells the agent's version.");
pub(super) const RELOAD_SUCCESSFUL: Definition = gauge(
    "cachepulse_config_last_reload_successful",
    &[],
    "Whether the last attempt to load the configuration succeeded (1) or failed (0).",
);
pub(super) const RELOAD_SUCCESS: Definition = gauge(
    "cachepulse_config_last_reload_success_timestamp_seconds",
    &[],
    "When the configuration was last loaded, in seconds since 1970.",
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for Definition { name, kind, help, .. } in DEFINITIONS {
            assert!(name.starts_with("cachepulse_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
        assert_eq!(DEFINITIONS.iter().map(|it| it.name).collect::<HashSet<_>>().len(), DEFINITIONS.len());
    }
}
