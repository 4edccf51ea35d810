//! The text output of `cachepulse check` about a cluster.

use std::fmt;

use super::text::milliseconds;
use crate::cli::output::{Style, enumerated};
use crate::probe::{Role, StepResult};
use crate::status::{ClusterDocument, FailureDocument, NodeDocument, StepDocument, Watch};

/// The nodes of a cluster, and why some are not watched: a row, and lines of details below it.
pub(super) struct ClusterText<'a>(pub(super) &'a ClusterDocument);

impl fmt::Display for ClusterText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(cluster) = self;
        writeln!(f, "  {:<24}   {cluster}", "cluster")?;
        for node in &cluster.shards {
            let NodeDocument { shard, slots, role, state, address, staleness_seconds, .. } = node;
            let address = address.as_deref().unwrap_or("no address");
            let is_denied = *role == Role::Replica
                && *state == Watch::Unwatched
                && node.last_failure.is_none()
                && cluster.replica_failure.is_some();
            let (role, state) = (role.as_str(), state.as_str());
            write!(f, "      shard {shard:<5}  {role:<7}  {state:<9}  {address}  slots {slots}")?;
            // Why is said once, below.
            f.write_str(if is_denied { ", READONLY denied" } else { "" })?;
            staleness_seconds.iter().try_for_each(|age| write!(f, ", {age:.3} s behind"))?;
            writeln!(f)?;
            write_steps(f, &node.steps)?;
            // A failure before the last success is history, and for `/status`.
            if let Some(failure) = node.last_failure.as_ref().filter(|_| node.state != Watch::Up) {
                write_failure(f, &failure.failure)?;
            }
        }
        cluster.topology_failure.iter().try_for_each(|it| write_failure(f, &it.failure))?;
        cluster.replica_failure.iter().try_for_each(|it| {
            let FailureDocument { detail, advice, .. } = &it.failure;
            writeln!(f, "        READONLY denied: {detail}")?;
            writeln!(f, "        {advice}")
        })
    }
}

/// Writes after the verdict which nodes it does not cover. A primary that could not be reached may be behind a firewall, or
/// dead: nobody but the operator knows.
pub(super) fn write_unwatched(
    f: &mut fmt::Formatter<'_>,
    cluster: &ClusterDocument,
    style: Style,
) -> fmt::Result {
    let Some(counts) = &cluster.counts else {
        return f.write_str(", but only the configured host was probed: the shards are unknown");
    };
    match counts.nodes_unwatched + counts.nodes_skipped {
        0 => return Ok(()),
        1 => f.write_str(", but 1 node is not watched")?,
        nodes => write!(f, ", but {nodes} nodes are not watched")?,
    }
    let is_unwatched = |node: &&NodeDocument| node.role == Role::Primary && node.state == Watch::Unwatched;
    let unwatched: Vec<&NodeDocument> = cluster.shards.iter().filter(is_unwatched).collect();
    if unwatched.is_empty() {
        return Ok(());
    }
    let of_node = |NodeDocument { shard, slots, address, .. }: &&NodeDocument| {
        let address = address.as_deref().unwrap_or("no address");
        format!("shard {shard} at {address} (slots {slots})")
    };
    let nodes: Vec<String> = unwatched.iter().map(of_node).collect();
    let (warning, nodes) = (style.bad("WARNING"), enumerated(nodes.iter().map(String::as_str)));
    write!(f, "\n  {warning}: not probed, because it cannot be reached from here: {nodes}.")?;
    write!(f, "\n    If applications fail for keys in these slots, the node is down.")?;
    // What to do is much the same for all that fail for the same reason.
    let mut reasons = Vec::new();
    for failure in unwatched.iter().filter_map(|node| node.last_failure.as_ref()).map(|it| &it.failure) {
        if !reasons.contains(&failure.reason) {
            reasons.push(failure.reason);
            write!(f, "\n    {}", failure.advice)?;
        }
    }
    Ok(())
}

/// Writes the commands that the node got in one line.
fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[StepDocument]) -> fmt::Result {
    let mut separator = "        ";
    for StepDocument { step, result, duration_seconds } in steps {
        write!(f, "{separator}{} {}", step.command(), milliseconds(*duration_seconds))?;
        if *result != StepResult::Success {
            write!(f, " {result}")?;
        }
        separator = ", ";
    }
    if steps.is_empty() { Ok(()) } else { writeln!(f) }
}

fn write_failure(f: &mut fmt::Formatter<'_>, failure: &FailureDocument) -> fmt::Result {
    let FailureDocument { reason, stage, detail, advice, .. } = failure;
    let separator = if detail.is_empty() { "" } else { ": " };
    writeln!(f, "        {reason} at {stage}{separator}{detail}")?;
    writeln!(f, "        {advice}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock::Clock;
    use crate::probe::{Failure, FailureReason, Phase, Stage, Step, StepResults};
    use crate::status::{ClusterNode, Status, TargetStatus};
    use crate::target::{Endpoint, Target};
    use crate::topology::{Slot, SlotSet};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    struct Verdict<'a>(&'a ClusterDocument);

    impl fmt::Display for Verdict<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_unwatched(f, self.0, Style::Plain)
        }
    }

    fn text(record: impl FnOnce(&TargetStatus)) -> String {
        let status = Status::new(Clock::from_tokio(NOW));
        let target = status.target(&Target::plain("orders"));
        record(&target);
        ClusterText(status.document().targets[0].cluster.as_ref().unwrap()).to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn each_node_has_a_line_and_one_that_fails_its_slots_its_failure_and_the_advice() {
        let node = |slots: &SlotSet, port: u16| ClusterNode {
            slots: slots.clone(),
            replica: None,
            address: Some(Endpoint { host: "10.0.0.4".into(), port }),
            is_absent: false,
        };
        let shown = text(|target| {
            let middle = Slot::new(8192).unwrap();
            let high: SlotSet = [middle..=Slot::LAST].into_iter().collect();
            let nodes = vec![node(&high.complement(), 8500), node(&high, 8501)];
            target.topology(SlotSet::all(), nodes, 0, NOW);
            let failure = Failure::new(FailureReason::ConnectTimeout, Stage::Phase(Phase::Connect), "5 s");
            let mut steps = StepResults::default();
            steps.set(Step::Ping, StepResult::Success, Duration::from_micros(310));
            steps.set(Step::Set, StepResult::Success, Duration::from_micros(212));
            steps.set(Step::ClientList, StepResult::Denied, Duration::from_micros(90));
            target.node_probed(0, None, &steps);
            for (shard, watch) in [(0, Watch::Up), (8192, Watch::Unwatched)] {
                target.node_failed(shard, None, &failure, NOW);
                target.node(shard, None, watch, NOW);
            }
        });
        let advice = "Open port 8501 to the addresses of the cache's nodes, unless this node is down. If they can only be \
                      reached at the configured host, set `cluster.address: host`; if this node need not be watched, \
                      `cluster.mode: off`.";
        let expected = format!(
            "  cluster                    16384 slots covered, 8192 available; 1 node watched, 1 never reached\n\
             \x20     shard 0      primary  up         10.0.0.4:8500  slots 0-8191\n\
             \x20       PING 0.310 ms, SET 0.212 ms, CLIENT LIST 0.090 ms denied\n\
             \x20     shard 8192   primary  unwatched  10.0.0.4:8501  slots 8192-16383\n\
             \x20       connect_timeout at connect: 5 s\n\
             \x20       {advice}\n"
        );
        assert_eq!(shown, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn each_replica_that_may_not_be_read_says_so_and_the_reason_follows_once() {
        let denied =
            Failure::new(FailureReason::PermissionDenied, Stage::Step(Step::Get), "NOPERM no permissions");
        let away = Failure::new(FailureReason::ConnectTimeout, Stage::Phase(Phase::Connect), "5 s");
        let shown = text(|target| {
            let replica = |id: &str, port: u16| ClusterNode {
                slots: SlotSet::all(),
                replica: Some(id.into()),
                address: Some(Endpoint { host: "10.0.0.4".into(), port }),
                is_absent: false,
            };
            target.topology(SlotSet::all(), ["a", "b", "c"].map(|id| replica(id, 8500)).into(), 0, NOW);
            for (id, failure) in [("a", &denied), ("b", &away), ("c", &denied)] {
                target.node(0, Some(id), Watch::Unwatched, NOW);
                target.node_failed(0, Some(id), failure, NOW);
            }
            target.replicas_denied(Some(&denied), NOW);
        });
        let line = "      shard 0      replica  unwatched  10.0.0.4:8500  slots 0-16383";
        assert_eq!(shown.matches(&format!("{line}, READONLY denied\n")).count(), 2, "{shown}");
        assert!(shown.contains(&format!("{line}\n        connect_timeout at connect: 5 s\n")), "{shown}");
        assert_eq!(shown.matches("        READONLY denied: NOPERM no permissions\n").count(), 1, "{shown}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_is_named() {
        let refused = Failure::new(FailureReason::PermissionDenied, Stage::Topology, "NOPERM no permissions");
        let shown = text(|target| target.topology_failed(&refused, NOW));
        assert!(
            shown.contains("        permission_denied at cluster_slots: NOPERM no permissions\n"),
            "{shown}"
        );
        assert!(shown.contains("Grant the user `+cluster|slots`"), "{shown}");
        let status = Status::new(Clock::from_tokio(NOW));
        let target = status.target(&Target::plain("orders"));
        target.topology_failed(&refused, NOW);
        let document = status.document();
        let verdict = Verdict(document.targets[0].cluster.as_ref().unwrap()).to_string();
        assert_eq!(verdict, ", but only the configured host was probed: the shards are unknown");
    }
}
