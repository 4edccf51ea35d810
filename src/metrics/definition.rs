//! The descriptors of all metrics, for `docs/metrics.md`, `cachepulse metrics` and the exported help.
//!
//! Names, labels and types are an interface: dashboards and alerts depend on them.

use serde::Serialize;

use super::label::{
    ATTEMPT_RESULT, DISCONNECT_REASON, EVENT, FILE, IDENTITY, Label, MODE, OPENING_REASON, PART, PHASE,
    PROTOCOL_VERSION, REASON, REFRESH_RESULT, REVISION, ROLE, RUSTC, SERVER, SERVER_ROLE, SERVER_VERSION,
    SHARD, STEP, STEP_RESULT, TARGET, TOPOLOGY_RESULT, VERSION,
};

/// The type of a metric in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// Only grows, except that a restart sets it to 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
    /// Counts observations, and adds them up.
    Summary,
}

impl MetricType {
    /// Returns the type as the text format spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Which of the configured classic bounds a histogram has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    /// All of them.
    All,
    /// Every other one, from the fourth on, which keeps the last one: for rare events.
    Few,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The whole name, prefix included.
    pub name: &'static str,
    /// The type.
    pub kind: MetricType,
    /// The labels, in order; the first names the owner of the series.
    pub labels: &'static [Label],
    /// The help text, as exported.
    pub help: &'static str,
    /// Further documentation, in Markdown: when the metric is absent and how to use it. May be empty.
    pub doc: &'static str,
    /// The classic bounds of a histogram.
    pub(super) bounds: Bounds,
}

impl Definition {
    /// Returns the unit that the name ends with; `None` for a count or a flag.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        if name.ends_with("_timestamp_seconds") || name.ends_with("_time_seconds") {
            Some("seconds since 1970")
        } else if name.ends_with("_seconds") {
            Some("seconds")
        } else if name.ends_with("_bytes") {
            Some("bytes")
        } else {
            None
        }
    }
}

/// Defines a constant for each metric, and [`DEFINITIONS`] of them all.
macro_rules! definitions {
    ($($constant:ident = $kind:ident $name:literal $labels:tt {
        help: $help:literal, $(doc: $doc:literal,)? $(bounds: $bounds:ident,)?
    })+) => {
        $(
            pub(super) const $constant: Definition = Definition {
                name: $name,
                kind: MetricType::$kind,
                labels: &$labels,
                help: $help,
                doc: concat!($($doc)?),
                bounds: [$(Bounds::$bounds,)? Bounds::All][0],
            };
        )+

        /// Every metric, in the order of the documentation. Those named `process_*` are written by the `prometheus`
        /// crate (see `process.rs`); a test compares their descriptions with that crate's.
        pub const DEFINITIONS: &[Definition] = &[$($constant),+];
    };
}

definitions! {
    PROBE_SUCCESS = Gauge "cachepulse_probe_success" [TARGET] {
        help: "Whether the last probe succeeded (1) or failed (0).",
        doc: "Absent before the first outcome.",
    }
    PROBES = Counter "cachepulse_probes_total" [TARGET] {
        help: "Probes, whatever their outcome.",
    }
    PROBE_FAILURES = Counter "cachepulse_probe_failures_total" [TARGET, REASON] {
        help: "Failed probes by reason.",
        doc: "A probe that fails counts once, with the reason of its last attempt.",
    }
    PROBE_DURATION = Histogram "cachepulse_probe_duration_seconds" [TARGET] {
        help: "Duration of a probe, all attempts included, whatever its outcome.",
    }
    STEP_DURATION = Histogram "cachepulse_step_duration_seconds" [TARGET, STEP] {
        help: "Duration of one command, whatever its result.",
    }
    STEP_RESULTS = Counter "cachepulse_step_results_total" [TARGET, STEP, STEP_RESULT] {
        help: "Commands by result.",
    }
    PHASE_DURATION = Histogram "cachepulse_phase_duration_seconds" [TARGET, PHASE] {
        help: "Duration of each completed phase of opening a connection.",
        doc: "Has every other [classic bucket](#latency), because connections are opened rarely. Native buckets have the full \
              resolution.",
        bounds: Few,
    }
    CONNECTS = Counter "cachepulse_connects_total" [TARGET, ATTEMPT_RESULT] {
        help: "Attempts to open a connection, sign-in included.",
    }
    DISCONNECTS = Counter "cachepulse_disconnects_total" [TARGET, DISCONNECT_REASON] {
        help: "Open connections lost, by reason.",
        doc: "Has only the reasons that can end a connection.",
    }
    PROTOCOL = Gauge "cachepulse_protocol" [TARGET, PROTOCOL_VERSION] {
        help: "Always 1; the label is the version of RESP on the open connection.",
        doc: "Absent while no connection is open.",
    }
    NEW_CONNECTION_SUCCESS = Gauge "cachepulse_new_connection_success" [TARGET] {
        help: "Whether the last probe of a new connection succeeded (1) or failed (0).",
        doc: "As often as `new_connection.every` says, the agent opens a second connection, signs in, runs `PING` and \
              closes it. The result changes neither `cachepulse_probe_success` nor \
              `cachepulse_connects_total`. Absent before the first one.",
    }
    NEW_CONNECTIONS = Counter "cachepulse_new_connections_total" [TARGET, ATTEMPT_RESULT] {
        help: "Probes of a new connection by result.",
    }
    NEW_CONNECTION_FAILURES = Counter "cachepulse_new_connection_failures_total" [TARGET, OPENING_REASON] {
        help: "Failed probes of a new connection by reason.",
        doc: "Has only the reasons for which a connection can fail to open.",
    }
    NEW_CONNECTION_CONSECUTIVE_FAILURES = Gauge "cachepulse_new_connection_consecutive_failures" [TARGET] {
        help: "Probes of a new connection that failed in a row.",
        doc: "Failures with the reason `local_resource` are not counted: the agent causes them. Absent before the \
              first probe of a new connection.",
    }
    REAUTHENTICATIONS = Counter "cachepulse_reauthentications_total" [TARGET, ATTEMPT_RESULT] {
        help: "Refreshed tokens, and changed passwords and keys, presented with AUTH on an open connection.",
        doc: "After a `failure` the agent keeps the connection and tries again, with pauses of at most 30 s. The server \
              closes the connection when the previous token expires.",
    }
    PROBE_INTERVAL = Gauge "cachepulse_probe_interval_seconds" [TARGET] {
        help: "Configured time from one probe to the next.",
        doc: "Lets a rule distinguish a long interval from an agent that no longer probes.",
    }
    LAST_SUCCESS = Gauge "cachepulse_last_success_timestamp_seconds" [TARGET] {
        help: "Time of the last successful probe, in seconds since 1970.",
        doc: "Absent before the first success.",
    }
    UNAVAILABLE = Counter "cachepulse_unavailable_seconds_total" [TARGET] {
        help: "Time from the first sign of a failure to the next success.",
        doc: "The basis of [availability](#availability). It grows while the outage lasts.",
    }
    LATE_TICKS = Counter "cachepulse_late_ticks_total" [TARGET] {
        help: "Probes that the agent started late or not at all for lack of CPU time.",
        doc: "Grows if the agent is short of CPU or was stopped, or if the machine was suspended.",
    }
    SCHEDULER_DELAY = Histogram "cachepulse_scheduler_delay_seconds" [] {
        help: "Delay from the time at which a probe is due to its start, over all targets.",
        doc: "About 1 ms is normal. If it grows, the agent waits for CPU, and the latencies that it measures at that \
              time are partly its own. `/status` lists the delay of each recent probe.",
    }
    CLIENTS = Gauge "cachepulse_cache_clients" [TARGET] {
        help: "Clients in the last CLIENT LIST; in a cluster, those of the node with the lowest slot.",
        doc: "Absent before the first `CLIENT LIST` that succeeds. Between lists (`client_list.every`) it keeps its value.",
    }
    CERTIFICATE_EXPIRY = Gauge "cachepulse_tls_certificate_expiry_timestamp_seconds" [TARGET] {
        help: "Expiry of the server's certificate at the last connection, in seconds since 1970.",
        doc: "In a cluster, the earliest one of all nodes. Absent before the first connection and without TLS.",
    }
    TARGET_LABELS = Gauge "cachepulse_target_labels" [TARGET] {
        help: "Always 1; the labels are those of the target in the configuration.",
        doc: "Join it to other metrics, as in `cachepulse_probe_success * on (target) group_left (team) \
              cachepulse_target_labels`. Absent for a target without `labels`.",
    }
    SERVER_INFO = Gauge "cachepulse_server_info" [TARGET, SERVER, SERVER_VERSION, MODE, SERVER_ROLE] {
        help: "Always 1; the labels are what the server says of itself in HELLO.",
        doc: "In a cluster, that is one of its nodes. Absent before the first connection.",
    }
    ROLE_CHANGES = Counter "cachepulse_role_changes_total" [TARGET] {
        help: "Changes of a server's role between primary and replica, as in a failover.",
        doc: "Behind Sentinel, also each time that the sentinels name another primary. Absent as long as \
              `cachepulse_server_info` is.",
    }
    SENTINEL_QUORUM = Gauge "cachepulse_sentinel_quorum" [TARGET] {
        help: "Whether enough sentinels are usable for a failover (1) or not (0).",
        doc: "Does not change the verdict. Only for targets with `sentinel` whose user may run `SENTINEL CKQUORUM`.",
    }
    SHARD_SUCCESS = Gauge "cachepulse_shard_success" [TARGET, SHARD, ROLE] {
        help: "Whether the last probe of the shard's primary, or of all its replicas, succeeded (1) or failed (0).",
        doc: "Series of shards exist only for targets that are clusters, those of replicas only with \
              `cluster.mode: all`. Absent for a node that was never reached; see `cachepulse_cluster_nodes_unwatched`. A \
              replica that leaves the topology counts as failed for 5 minutes. Replicas do not change the verdict.",
    }
    SHARD_PROBES = Counter "cachepulse_shard_probes_total" [TARGET, SHARD, ROLE] {
        help: "Probes of the shard, whatever their outcome.",
    }
    SHARD_FAILURES = Counter "cachepulse_shard_failures_total" [TARGET, SHARD, ROLE] {
        help: "Failed probes of the shard.",
        doc: "The reasons are in `cachepulse_probe_failures_total`, the log and `/status`.",
    }
    SHARD_UNAVAILABLE = Counter "cachepulse_shard_unavailable_seconds_total" [TARGET, SHARD, ROLE] {
        help: "Time from the first sign of a failure of the shard to its next success.",
    }
    SHARD_STEP_DURATION = Summary "cachepulse_shard_step_duration_seconds" [TARGET, SHARD, STEP] {
        help: "Duration of one command to the shard's primary, whatever its result.",
        doc: "Sum and count only. `cachepulse_step_duration_seconds` has the distribution over all shards.",
    }
    SHARD_REPLICA_STALENESS = Gauge "cachepulse_shard_replica_staleness_seconds" [TARGET, SHARD] {
        help: "Time for which the shard's slowest replica has lacked a write of the agent to the primary.",
        doc: "Zero if every replica returned the newest value. Of a replica that returns an older value or none, it is the \
              time since the primary took the first write that the replica was not seen to have. It stays as it is while \
              nothing is written. Replicas that are down are left out, and without another the metric is absent: see \
              `cachepulse_shard_success`. Only with `cluster.mode: all`. It is reported and not judged.",
    }
    CLUSTER_SLOTS_COVERED = Gauge "cachepulse_cluster_slots_covered" [TARGET] {
        help: "Hash slots that a shard owns; 16384 is all of them.",
        doc: "This metric and those below exist only for targets that are clusters.",
    }
    CLUSTER_SLOTS_AVAILABLE = Gauge "cachepulse_cluster_slots_available" [TARGET] {
        help: "Hash slots of shards whose last probe succeeded; 16384 is all of them.",
        doc: "Slots of shards that are not watched, or were never reached, are not counted. Absent at the start, until \
              every shard was probed.",
    }
    CLUSTER_NODES = Gauge "cachepulse_cluster_nodes" [TARGET, ROLE] {
        help: "Nodes of the cluster's topology.",
    }
    CLUSTER_NODES_WATCHED = Gauge "cachepulse_cluster_nodes_watched" [TARGET] {
        help: "Nodes that are probed and have been reached.",
    }
    CLUSTER_NODES_UNWATCHED = Gauge "cachepulse_cluster_nodes_unwatched" [TARGET] {
        help: "Nodes that the agent tried to probe but has never reached, and replicas that it may not read.",
        doc: "They do not change the verdict. A firewall that does not let node ports through is the usual cause. A node \
              that accepts TCP connections has been reached, even if it refuses to serve the agent. Replicas that refuse \
              `READONLY` are counted, too. Nodes over `cluster.max_nodes`, nodes that were not tried yet, and those for \
              which the agent lacks resources of its own are not.",
    }
    CLUSTER_NODES_SKIPPED = Gauge "cachepulse_cluster_nodes_skipped" [TARGET] {
        help: "Nodes that are not probed, because there are more than cluster.max_nodes.",
    }
    TOPOLOGY_CHANGES = Counter "cachepulse_topology_changes_total" [TARGET] {
        help: "Changes of the cluster's topology: of a shard's slots, of its primary or of its replicas.",
    }
    TOPOLOGY_REFRESHES = Counter "cachepulse_topology_refreshes_total" [TARGET, TOPOLOGY_RESULT] {
        help: "Readings of the cluster's topology.",
    }
    MAINTENANCE_NOTIFICATIONS = Gauge "cachepulse_maintenance_notifications" [TARGET] {
        help: "1 if the cache has agreed to send notices of maintenance, otherwise 0.",
        doc: "Absent where the agent does not ask for them; see `maintenance`. 0 says nothing about the cache's health.",
    }
    MAINTENANCE_EVENTS = Counter "cachepulse_maintenance_events_total" [TARGET, EVENT] {
        help: "Notices of maintenance that the cache has sent.",
        doc: "A notice that comes on several connections counts once.",
    }
    MAINTENANCE_ACTIVE = Gauge "cachepulse_maintenance_active" [TARGET] {
        help: "1 if the cache has announced maintenance that is going on or about to begin, otherwise 0.",
        doc: "Without a notice of its end, it becomes 0 after three times the announced seconds and 30 s at least, on \
              Azure Cache for Redis after 30 minutes. It changes no verdict. Absent where the agent does not ask for \
              notices.",
    }
    MAINTENANCE_SCHEDULED = Gauge "cachepulse_maintenance_scheduled_timestamp_seconds" [TARGET] {
        help: "Start of maintenance that was announced last, in seconds since 1970.",
        doc: "Absent without one and an hour after it has passed.",
    }
    TOKEN_EXPIRY = Gauge "cachepulse_token_expiry_timestamp_seconds" [IDENTITY] {
        help: "Expiry of the current token, in seconds since 1970.",
        doc: "Absent before the first token.",
    }
    TOKEN_REFRESHES = Counter "cachepulse_token_refreshes_total" [IDENTITY, REFRESH_RESULT] {
        help: "Requests for a token.",
    }
    TOKEN_REFRESH_DURATION = Histogram "cachepulse_token_refresh_duration_seconds" [IDENTITY] {
        help: "Duration of a request for a token, whatever its result.",
    }
    TASKS = Gauge "cachepulse_tasks" [PART] {
        help: "Running tasks in the agent.",
        doc: "A value that keeps growing indicates a leak; please report it.",
    }
    BUILD_INFO = Gauge "cachepulse_build_info" [VERSION, REVISION, RUSTC] {
        help: "Always 1; the labels are the agent's version and what it was built from.",
    }
    PARTITION_TARGETS = Gauge "cachepulse_partition_targets" [] {
        help: "Targets of all partitions of the fleet, as this agent's configuration has them.",
        doc: "If the agents of a fleet probe fewer, some are not watched. Only with [`partition`](fleets.md).",
    }
    TARGET_FILE_VALID = Gauge "cachepulse_target_file_valid" [FILE] {
        help: "Whether the file with targets is valid (1) or not (0).",
        doc: "While it is 0, the agent keeps the targets that the file had when it was valid. A pattern of `target_files` whose folder \
              cannot be read has the value 0. See [target files](fleets.md#target-files).",
    }
    RELOAD_SUCCESSFUL = Gauge "cachepulse_config_last_reload_successful" [] {
        help: "Whether the last load of the configuration succeeded (1) or failed (0).",
        doc: "While it is 0, the agent keeps the previous configuration.",
    }
    RELOAD_SUCCESS = Gauge "cachepulse_config_last_reload_success_timestamp_seconds" [] {
        help: "Time of the last successful load of the configuration, in seconds since 1970.",
    }
    WEB_CONFIG_RELOAD_SUCCESSFUL = Gauge "cachepulse_web_config_last_reload_successful" [] {
        help: "Whether the last load of the web configuration succeeded (1) or failed (0).",
        doc: "While it is 0, the agent keeps the previous one. Absent without `http.web_config_file`.",
    }
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] {
        help: "Total user and system CPU time spent in seconds.",
    }
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" [] {
        help: "Resident memory size in bytes.",
    }
    PROCESS_VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes" [] {
        help: "Virtual memory size in bytes.",
    }
    PROCESS_OPEN_FDS = Gauge "process_open_fds" [] {
        help: "Number of open file descriptors.",
    }
    PROCESS_MAX_FDS = Gauge "process_max_fds" [] {
        help: "Maximum number of open file descriptors.",
    }
    PROCESS_THREADS = Gauge "process_threads" [] {
        help: "Number of OS threads in the process.",
    }
    PROCESS_START_TIME = Gauge "process_start_time_seconds" [] {
        help: "Start time of the process since unix epoch in seconds.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for Definition { name, kind, help, .. } in DEFINITIONS {
            assert!(name.starts_with("cachepulse_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricType::Counter, "{name}");
            assert!(
                !matches!(kind, MetricType::Histogram | MetricType::Summary) || name.ends_with("_seconds"),
                "{name}"
            );
            assert!(help.ends_with('.') && !help.contains(['\n', '\\', '`']), "{name}: {help}");
        }
        assert_eq!(DEFINITIONS.iter().map(|it| it.name).collect::<HashSet<_>>().len(), DEFINITIONS.len());
    }

    #[test]
    fn the_unit_is_the_one_that_the_name_ends_with() {
        assert_eq!(UNAVAILABLE.unit(), Some("seconds"));
        assert_eq!(PROBE_DURATION.unit(), Some("seconds"));
        assert_eq!(TOKEN_EXPIRY.unit(), Some("seconds since 1970"));
        assert_eq!((PROBES.unit(), PROBE_SUCCESS.unit()), (None, None));
    }
}
