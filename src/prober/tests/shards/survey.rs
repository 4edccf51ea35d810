//! One probe of all shards for somebody who waits for it: what it finds is what an agent that starts now would find.

use super::*;
use crate::probe::{Outcome, Step};
use crate::prober::Probed;

/// Probes the cluster once. Returns the outcome and the status.
async fn survey(cluster: &Cluster, target: Target, seed: u64) -> (Outcome, TargetDocument) {
    let (mut prober, _metrics, status) =
        made(seed, Duration::ZERO, cluster.clone(), target, SignIn::None, clock());
    let Probed { outcome, .. } = prober.probe().await;
    let document = status.document().targets.remove(0);
    (outcome, document)
}

fn steps(outcome: &Outcome) -> Vec<Step> {
    outcome.steps.iter().map(|(step, ..)| step).collect()
}

fn states(document: &TargetDocument) -> Vec<Watch> {
    document.cluster.as_ref().unwrap().shards.iter().map(|node| node.state).collect()
}

#[tokio::test(start_paused = true)]
async fn every_step_is_shown_whichever_key_the_host_has_and_for_each_shard() {
    for seed in 0..10 {
        let cluster = Cluster::new(3);
        let (outcome, shown) = survey(&cluster, target(), seed).await;
        assert_eq!((outcome.result.is_ok(), steps(&outcome)), (true, Step::ALL.to_vec()), "seed {seed}");
        for node in shown.cluster.unwrap().shards {
            let steps: Vec<Step> = node.steps.iter().map(|step| step.step).collect();
            assert_eq!(steps, Step::ALL, "seed {seed}, shard {}", node.shard);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_reached_is_unwatched_and_decides_nothing() {
    for role in ["primary", "replica"] {
        let cluster = Cluster::with_replicas(2);
        let away = if role == "primary" { 1 } else { 3 };
        cluster.with(|state| state.all[away].away = Some(FailureReason::ConnectTimeout));
        let (outcome, shown) = survey(&cluster, with_replicas(), 1).await;
        assert_eq!((outcome.result.is_ok(), steps(&outcome)), (true, Step::ALL.to_vec()), "{role}");
        let cluster = shown.cluster.as_ref().unwrap();
        let away = cluster.shards.iter().find(|node| node.state == Watch::Unwatched).unwrap();
        assert_eq!(
            (away.role.as_str(), cluster.counts.unwrap().nodes_unwatched),
            (role, 1),
            "{:?}",
            states(&shown)
        );
        let advice = &away.last_failure.as_ref().unwrap().failure.advice;
        assert!(advice.contains("Open port 700") && advice.contains("`cluster.address: host`"), "{advice}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_reached_and_does_not_serve_fails_the_probe() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].refusal = Some("-WRONGPASS invalid username-password pair\r\n"));
    let (outcome, shown) = survey(&cluster, target(), 1).await;
    let failure = outcome.result.unwrap_err();
    let slots = failure.slots.as_ref().map(ToString::to_string);
    assert_eq!((failure.reason, slots.as_deref()), (FailureReason::AuthRejected, Some("5461-10921")));
    assert_eq!(states(&shown), [Watch::Up, Watch::Down, Watch::Up]);
}

#[tokio::test(start_paused = true)]
async fn where_no_shard_is_reached_the_host_decides_and_is_written() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.is_closed = true);
    let (outcome, shown) = survey(&cluster, target(), 1).await;
    assert_eq!((outcome.result.is_ok(), steps(&outcome)), (true, Step::ALL.to_vec()));
    assert_eq!(states(&shown), [Watch::Unwatched; 3]);
}

#[tokio::test(start_paused = true)]
async fn slots_are_uncovered_if_two_of_three_nodes_say_so_whichever_is_the_host() {
    for (agree, expected) in [(3, true), (2, true), (1, false)] {
        for host in 0..3 {
            let cluster = Cluster::new(3);
            cluster.with(|state| {
                state.host = host;
                let before = state.slots.clone();
                state.slots[1].1 -= 1;
                for node in agree..3 {
                    state.all[node].view = Some(before.clone());
                }
            });
            let (outcome, _) = survey(&cluster, target(), 1).await;
            let reason = outcome.result.err().map(|failure| failure.reason);
            assert_eq!(
                reason,
                expected.then_some(FailureReason::SlotsUncovered),
                "{agree} of 3, host {host}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_the_first_node_does_not_know_is_probed_as_well() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        state.all[0].view = Some(state.slots[..2].to_vec());
        state.all[2].refusal = Some("-WRONGPASS invalid username-password pair\r\n");
    });
    let (outcome, shown) = survey(&cluster, target(), 1).await;
    assert_eq!(outcome.result.unwrap_err().reason, FailureReason::AuthRejected);
    assert_eq!(states(&shown), [Watch::Up, Watch::Up, Watch::Down]);
    assert_eq!((cluster.dials(0), cluster.dials(1)), (2, 1), "no other is probed again");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_which_nobody_owns_a_slot_has_uncovered_slots() {
    let cluster = Cluster::new(1);
    cluster.with(|state| state.slots.clear());
    let (outcome, _) = survey(&cluster, target(), 1).await;
    let failure = outcome.result.unwrap_err();
    assert_eq!(failure.reason, FailureReason::SlotsUncovered, "{failure}");
    // A server that lists no slots and serves is no such cluster.
    cluster.with(|state| state.all[0].takes = Keys::All);
    assert!(survey(&cluster, target(), 1).await.0.result.is_ok());
}
