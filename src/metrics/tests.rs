mod protobuf;

use super::*;

use crate::maintenance::{Announced, Event};
use crate::probe::{
    ClientCount, Failure, FailureReason, Mode, Outcome, Phase, PhaseTimes, Role, ServerInfo, Stage, Step,
    StepResult, StepResults,
};
use crate::target::{Labels, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn name(name: &str) -> TargetName {
    TargetName::new(name).unwrap()
}

fn success() -> Outcome {
    let mut steps = StepResults::default();
    for step in Step::ALL {
        steps.set(step, StepResult::Success, MILLISECOND);
    }
    Outcome {
        result: Ok(()),
        attempts: 1,
        duration: 4 * MILLISECOND,
        phases: PhaseTimes::default(),
        steps,
        clients: Some(ClientCount { clients: 3, own_seen: true }),
    }
}

fn failure() -> Outcome {
    let mut steps = StepResults::default();
    steps.set(Step::Ping, StepResult::Failure, 2000 * MILLISECOND);
    let failure = Failure::new(FailureReason::CommandTimeout, Stage::Step(Step::Ping), "no reply within 2s");
    Outcome { result: Err(failure), steps, clients: None, duration: 2000 * MILLISECOND, ..success() }
}

fn text(metrics: &Metrics) -> String {
    std::io::read_to_string(metrics.exposition(Format::Text)).unwrap()
}

/// The metrics of an agent of a fleet whose runtime has no task, and whose web configuration was rejected.
fn metrics() -> Metrics {
    let metrics = Metrics::new(Clock::system());
    let idle = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics.count_tasks(Part::Probing, idle.handle());
    metrics.web_config_loaded();
    metrics.web_config_rejected();
    metrics.partition_targets(Some(7));
    metrics.target_file("a.yaml", Some(true));
    metrics
}

fn labels_of_target<const N: usize>(labels: [(&str, &str); N]) -> Labels {
    labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Records every kind of event for a target and an identity.
fn script(metrics: &Metrics) -> (TargetMetrics, IdentityMetrics, ClusterMetrics, ShardMetrics) {
    metrics.config_loaded(at(1_000));
    metrics.config_rejected();
    let identity = metrics.identity("managed_identity:c1");
    identity.refreshed(30 * MILLISECOND, at(90_000));
    identity.unchanged(MILLISECOND);
    identity.refresh_failed(10_000 * MILLISECOND);
    let target =
        metrics.target(&name("orders")).with_labels(&labels_of_target([("team", "shop"), ("a", "b")]));
    let mut phases = PhaseTimes::default();
    phases.set(Phase::Resolve, MILLISECOND);
    target.connect_failed(&phases);
    for phase in Phase::ALL {
        phases.set(phase, MILLISECOND);
    }
    target.disconnected(FailureReason::Closed);
    target.connected(&phases);
    target.protocol(Some(Protocol::Resp3));
    target.certificate_expiry(at(2_000_000));
    record(&target, &success(), at(1_010));
    record(&target, &failure(), at(1_020));
    target.new_connection(Err(FailureReason::TooManyClients), 1, &PhaseTimes::default());
    target.new_connection(Ok(()), 0, &PhaseTimes::default());
    target.reauthenticated();
    target.reauthentication_failed();
    target.unavailable(1500 * MILLISECOND);
    target.started(1500 * MILLISECOND);
    target.tick(30 * MILLISECOND, 2);
    target.server_info(&ServerInfo::new("redis", "7.4.0", Some(Mode::Cluster), Some(Role::Primary)));
    target.role_changed();
    target.sentinel_quorum(Some(true));
    target.maintenance_notifications(true);
    target.maintenance_event(Event::Scheduled);
    target.maintenance_announced(Announced { is_active: true, scheduled: Some(at(2_000)) });
    let (cluster, shard) = script_of_cluster(&target);
    (target, identity, cluster, shard)
}

/// Records every kind of event for a cluster and its second shard.
fn script_of_cluster(target: &TargetMetrics) -> (ClusterMetrics, ShardMetrics) {
    let cluster = target.cluster();
    cluster.slots_covered(16_384);
    cluster.slots_available(5_461);
    cluster.nodes(Role::Primary, 3);
    cluster.nodes(Role::Replica, 2);
    cluster.nodes_watched(4);
    cluster.nodes_unwatched(1);
    cluster.nodes_skipped(2);
    cluster.topology_changed();
    cluster.topology_refreshed(StepResult::Success, 1);
    let shard = cluster.shard(5461);
    for (role, result) in [(Role::Primary, Ok(())), (Role::Replica, Err(()))] {
        shard.verdict(role, true);
        shard.probe(role, result, 2);
        shard.unavailable(role, 1500 * MILLISECOND);
    }
    shard.step(Step::Set, MILLISECOND);
    shard.replica_staleness(Some(20 * MILLISECOND));
    (cluster, shard)
}

/// Compares only the lines that the script changed. Other tests cover help texts, zeros and the process' metrics.
fn record(target: &TargetMetrics, outcome: &Outcome, at: SystemTime) {
    target.outcome(outcome, 1, outcome.result.is_ok(), at);
    target.steps(&outcome.steps);
}

#[test]
fn a_scripted_run_gives_exactly_this_text() {
    let metrics = metrics();
    let _owners = script(&metrics);
    let is_of_script =
        |line: &&str| line.contains("cachepulse_") && !line.starts_with("# HELP ") && !line.ends_with("} 0");
    let text = text(&metrics);
    let lines: Vec<&str> = text.lines().filter(is_of_script).collect();
    let golden = include_str!("golden.txt")
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{revision}", env!("CACHEPULSE_REVISION"))
        .replace("{rustc}", env!("CACHEPULSE_RUSTC"));
    assert_eq!(lines.join("\n") + "\n", golden);
}

#[test]
fn openmetrics_differs_from_text_in_the_families_of_counters_and_the_end() {
    let metrics = metrics();
    let _owners = script(&metrics);
    let open = std::io::read_to_string(metrics.exposition(Format::OpenMetrics)).unwrap();
    let is_of_script = |line: &&str| !line.contains(" process_") && !line.starts_with("process_");
    let as_open = |line: &str| {
        let header = line.strip_prefix("# ").map(|header| header.splitn(3, ' ').collect::<Vec<_>>());
        match header.as_deref() {
            Some([kind, name, rest]) if name.ends_with("_total") => {
                format!("# {kind} {} {rest}", name.strip_suffix("_total").unwrap())
            }
            _ => line.to_owned(),
        }
    };
    let text = text(&metrics);
    let expected: Vec<_> = text.lines().filter(is_of_script).map(as_open).collect();
    let lines: Vec<_> = open.lines().filter(is_of_script).collect();
    assert_eq!(lines[..lines.len() - 1], expected);
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1);
}

#[test]
fn every_definition_is_exported_as_defined_and_nothing_else_is() {
    let metrics = metrics();
    let _owners = script(&metrics);
    let text = text(&metrics);
    let headers: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with("# ")).map(str::to_owned).collect();
    let defined = DEFINITIONS.iter().flat_map(|Definition { name, kind, help, .. }| {
        [format!("# HELP {name} {help}"), format!("# TYPE {name} {}", kind.as_str())]
    });
    assert_eq!(headers, defined.collect());
}

/// The labels of a line of the text, with their values.
fn labels(line: &str) -> BTreeMap<&str, &str> {
    let Some((_, labels)) = line.split_once('{') else { return BTreeMap::new() };
    let (labels, _) = labels.rsplit_once('}').unwrap();
    labels
        .split(',')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect()
}

#[test]
fn every_series_has_the_defined_labels_and_only_their_values() {
    let metrics = metrics();
    metrics.count_tasks(Part::Http, tokio::runtime::Builder::new_current_thread().build().unwrap().handle());
    let _owners = script(&metrics);
    let text = text(&metrics);
    for definition in DEFINITIONS {
        let has_count = matches!(definition.kind, MetricType::Histogram | MetricType::Summary);
        let suffix = if has_count { "_count" } else { "" };
        let name = format!("{}{suffix}", definition.name);
        let series: Vec<_> =
            text.lines().filter(|line| line.split(['{', ' ']).next() == Some(&name)).map(labels).collect();
        assert!(!series.is_empty(), "{name}");
        for label in definition.labels {
            let exported: BTreeSet<&str> = series.iter().map(|it| it[label.name]).collect();
            let values = label
                .values
                .map_or(exported.clone(), |values| values().into_iter().map(|(value, _)| value).collect());
            assert!(exported.is_subset(&values), "{name}, {}: {exported:?}", label.name);
        }
        // The operator adds some to these.
        let more = if name == definition::TARGET_LABELS.name { 2 } else { 0 };
        assert!(series.iter().all(|it| it.len() == definition.labels.len() + more), "{name}");
    }
}

/// The series of a healthy target that is not a cluster, with a connection that was opened once: without TLS and sign-in, and
/// as of Azure, with both, a second token and notices of maintenance.
#[test]
fn a_healthy_target_has_few_series() {
    let count = |settings, is_of_azure| {
        let metrics = metrics();
        metrics.configure(settings);
        let target = metrics.target(&name("orders"));
        target.started(MILLISECOND);
        let mut phases = PhaseTimes::default();
        for phase in Phase::ALL {
            if is_of_azure || !matches!(phase, Phase::Token | Phase::Tls) {
                phases.set(phase, MILLISECOND);
            }
        }
        target.connected(&phases);
        if is_of_azure {
            target.certificate_expiry(at(2_000_000));
            target.reauthenticated();
            target.maintenance_notifications(true);
            target.maintenance_announced(Announced::default());
        }
        target.protocol(Some(Protocol::Resp3));
        target.new_connection(Ok(()), 0, &phases);
        target.server_info(&ServerInfo::new("redis", "7.4.0", Some(Mode::Standalone), Some(Role::Primary)));
        record(&target, &success(), at(1));
        series(&metrics, "target=\"orders\"").len()
    };
    for (histograms, classic_factor, most) in [
        (Histograms::Classic, ClassicFactor::Two, 215),
        (Histograms::Classic, ClassicFactor::Four, 125),
        (Histograms::Native, ClassicFactor::Two, 75),
    ] {
        let settings = Settings { histograms, classic_factor };
        let counts = [false, true].map(|is_of_azure| count(settings, is_of_azure));
        assert!(counts.iter().all(|count| *count <= most), "{counts:?} with {settings:?}");
    }
}

#[test]
fn the_protocol_is_that_of_the_open_connection() {
    let metrics = metrics();
    let target = metrics.target(&name("orders"));
    let exported = |metrics: &Metrics| {
        let lines = text(metrics);
        let series = lines.lines().filter(|line| line.starts_with("cachepulse_protocol{"));
        series.map(str::to_owned).collect::<Vec<_>>()
    };
    for (protocol, version) in [(Protocol::Resp3, "3"), (Protocol::Resp2, "2")] {
        target.protocol(Some(protocol));
        assert_eq!(
            exported(&metrics),
            [format!(r#"cachepulse_protocol{{target="orders",version="{version}"}} 1"#)]
        );
    }
    target.protocol(None);
    assert!(exported(&metrics).is_empty());
}

#[test]
fn the_number_of_the_fleets_targets_is_absent_without_a_partition() {
    let metrics = Metrics::new(Clock::system());
    let exported = || series(&metrics, "cachepulse_partition_targets");
    assert!(exported().is_empty());
    metrics.partition_targets(Some(0));
    assert_eq!(exported(), ["cachepulse_partition_targets 0"]);
    metrics.partition_targets(None);
    assert!(exported().is_empty());
}

#[test]
fn a_target_file_is_valid_or_not_as_long_as_it_is_used() {
    let metrics = Metrics::new(Clock::system());
    let path = "/etc/a \"b\".yaml";
    let exported = || series(&metrics, "target_file_valid");
    metrics.target_file(path, None);
    assert!(exported().is_empty());
    metrics.target_file(path, Some(true));
    metrics.target_file(path, Some(false));
    assert_eq!(exported(), [r#"cachepulse_target_file_valid{file="/etc/a \"b\".yaml"} 0"#]);
    metrics.target_file(path, None);
    assert!(exported().is_empty());
}

#[test]
fn the_values_of_a_targets_labels_are_escaped_and_their_names_are_in_order() {
    let metrics = Metrics::new(Clock::system());
    let _target =
        metrics.target(&name("orders")).with_labels(&labels_of_target([("b", "\"1\""), ("a", "2")]));
    let _other = metrics.target(&name("sessions")).with_labels(&Labels::default());
    let expected = r#"cachepulse_target_labels{a="2",b="\"1\"",target="orders"} 1"#;
    assert_eq!(series(&metrics, "target_labels"), [expected]);
}

/// Returns the lines of `metrics` that contain `part`, without headers.
fn series(metrics: &Metrics, part: &str) -> Vec<String> {
    let text = text(metrics);
    text.lines().filter(|line| !line.starts_with('#') && line.contains(part)).map(str::to_owned).collect()
}

#[test]
fn the_series_of_a_cluster_and_of_its_shards_live_as_long_as_their_handles() {
    let metrics = Metrics::new(Clock::system());
    let target = metrics.target(&name("orders"));
    let _other = metrics.target(&name("sessions"));
    let count = || {
        ["cachepulse_cluster_", "cachepulse_topology_", "cachepulse_shard_"]
            .map(|part| series(&metrics, part).len())
    };
    assert_eq!(count(), [0, 0, 0]);

    let cluster = target.cluster();
    assert_eq!(count(), [0, 1 + StepResult::ALL.len(), 0], "counters at 0, no gauges");
    let shards = [cluster.shard(10923), cluster.shard(0), cluster.shard(5461)];
    assert_eq!(
        series(&metrics, "shard_probes"),
        ["0", "5461", "10923"].map(|shard| {
            format!(r#"cachepulse_shard_probes_total{{role="primary",shard="{shard}",target="orders"}} 0"#)
        })
    );
    let again = cluster.shard(0);
    drop(shards);
    again.probe(Role::Primary, Ok(()), 1);
    assert_eq!(
        series(&metrics, "shard_probes"),
        [r#"cachepulse_shard_probes_total{role="primary",shard="0",target="orders"} 1"#]
    );
    drop((again, cluster));
    assert_eq!(count(), [0, 0, 0]);
}

#[test]
fn replicas_have_series_from_their_first_event_on_until_there_are_none() {
    let metrics = Metrics::new(Clock::system());
    let cluster = metrics.target(&name("orders")).cluster();
    let shard = cluster.shard(0);
    let count = || series(&metrics, r#"role="replica""#).len() + series(&metrics, "staleness").len();
    assert_eq!(count(), 0);
    shard.probe(Role::Replica, Err(()), 1);
    assert_eq!(count(), 3, "no verdict and no value yet");
    shard.verdict(Role::Replica, false);
    shard.replica_staleness(Some(MILLISECOND));
    assert_eq!(count(), 5);
    shard.no_replicas();
    assert_eq!(count(), 0);
    shard.probe(Role::Replica, Ok(()), 1);
    assert_eq!(count(), 3);
}

#[test]
fn the_server_is_the_last_one_and_its_words_are_escaped() {
    let metrics = Metrics::new(Clock::system());
    let target = metrics.target(&name("orders"));
    assert!(series(&metrics, "server_info").is_empty() && series(&metrics, "role_changes").is_empty());
    target.server_info(&ServerInfo::new("redis", "7.4.0", Some(Mode::Standalone), Some(Role::Primary)));
    target.server_info(&ServerInfo::new("re\"dis", "", None, Some(Role::Replica)));
    assert_eq!(
        series(&metrics, "server_info"),
        [
            r#"cachepulse_server_info{mode="unknown",role="replica",server="re\"dis",target="orders",version="unknown"} 1"#
        ]
    );
    assert_eq!(series(&metrics, "role_changes"), [r#"cachepulse_role_changes_total{target="orders"} 0"#]);
}

#[tokio::test]
async fn running_tasks_are_counted() {
    let metrics = Metrics::new(Clock::system());
    metrics.count_tasks(Part::Probing, &Handle::current());
    let exported =
        |count: u8| text(&metrics).contains(&format!("cachepulse_tasks{{part=\"probing\"}} {count}\n"));
    assert!(exported(0));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(std::future::pending::<()>());
    tasks.spawn(std::future::pending::<()>());
    assert!(exported(2));
    tasks.shutdown().await;
    assert!(exported(0));
}

#[test]
fn totals_start_at_0_and_other_series_are_absent_before_their_first_value() {
    let metrics = Metrics::new(Clock::system());
    let target = metrics.target(&name("orders"));
    let _identity = metrics.identity("azure_cli");
    let before = text(&metrics);
    for total in [
        "probes_total{",
        "unavailable_seconds_total{",
        "late_ticks_total{",
        "connects_total{result=\"failure\",",
        "new_connections_total{result=\"success\",",
        "probe_duration_seconds_count{",
    ] {
        assert!(before.contains(&format!("cachepulse_{total}target=\"orders\"}} 0\n")), "{total}");
    }
    for absent in [
        "probe_success",
        "last_success",
        "cache_clients",
        "certificate_expiry",
        "token_expiry",
        "reason=",
        "step=",
        "phase=",
        "reauthentications",
        "maintenance",
    ] {
        assert!(!before.contains(absent), "{absent}");
    }
    record(&target, &failure(), at(1));
    let after = text(&metrics);
    assert!(after.contains("cachepulse_probe_success{target=\"orders\"} 0\n"));
    assert!(!after.contains("last_success"));
    assert_eq!(
        series(&metrics, "reason="),
        ["cachepulse_probe_failures_total{reason=\"command_timeout\",target=\"orders\"} 1"]
    );
    let steps = series(&metrics, "cachepulse_step_results_total");
    assert_eq!(steps, [r#"cachepulse_step_results_total{result="failure",step="ping",target="orders"} 1"#]);
}

#[test]
fn series_are_removed_with_their_owner() {
    let metrics = metrics();
    let _other = metrics.target(&name("orders-2"));
    let before = text(&metrics);
    let owners = script(&metrics);
    drop(owners);
    let after = text(&metrics);
    assert_eq!(after.lines().count(), before.lines().count());
    assert!(!after.contains("\"orders\"") && !after.contains("managed_identity"), "{after}");
    assert!(after.contains("\"orders-2\""));
}

#[test]
fn a_registration_that_overlaps_its_predecessor_keeps_the_series() {
    let metrics = Metrics::new(Clock::system());
    let first = metrics.target(&name("orders"));
    first.tick(Duration::ZERO, 1);
    let second = metrics.target(&name("orders"));
    drop(first);
    second.tick(Duration::ZERO, 1);
    assert!(text(&metrics).contains("cachepulse_late_ticks_total{target=\"orders\"} 2\n"));
    drop(second);
    assert!(!text(&metrics).contains("orders"));
    let _third = metrics.target(&name("orders"));
    assert!(text(&metrics).contains("cachepulse_late_ticks_total{target=\"orders\"} 0\n"));
}

#[test]
fn the_text_is_complete_and_in_order_when_it_is_read_in_pieces() {
    let metrics = Metrics::new(Clock::system());
    let names: Vec<_> = (0..99).map(|number| format!("orders-{number:02}")).collect();
    let targets: Vec<_> = names.iter().map(|it| metrics.target(&name(it))).collect();
    record(&targets[98], &success(), at(1));
    let (mut exposition, mut text, mut pieces) = (metrics.exposition(Format::Text), String::new(), 0);
    while let piece @ [_, ..] = exposition.fill_buf().unwrap() {
        assert!(piece.len() < 64 * 1024, "{}", piece.len());
        text += std::str::from_utf8(piece).unwrap();
        let length = piece.len();
        exposition.consume(length);
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    for definition in
        DEFINITIONS.iter().filter(|it| it.labels.first().is_some_and(|label| label.name == "target"))
    {
        let header = format!("# TYPE {} ", definition.name);
        assert!(text.matches(&header).count() <= 1, "{header}");
    }
    let owners = |series: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(series)?.split('"').next()).collect()
    };
    assert_eq!(owners("cachepulse_probe_duration_seconds_count{target=\""), names);
    assert_eq!(owners("cachepulse_probes_total{target=\""), names);
    assert_eq!(owners("cachepulse_probe_success{target=\""), ["orders-98"]);
}

#[test]
fn labels_are_escaped() {
    let metrics = Metrics::new(Clock::system());
    let _target = metrics.target(&name(r#"a"b\c"#));
    assert!(text(&metrics).contains(r#"cachepulse_probes_total{target="a\"b\\c"} 0"#));
}
