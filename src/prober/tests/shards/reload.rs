//! A prober that follows another of the same target in one process, because its settings have changed.

use super::*;

/// Starts a prober whose target was probed before by one with these `known_nodes`.
async fn start_after_reload(cluster: &Cluster, known_nodes: KnownNodes, target: Target) -> Running {
    let (setup, metrics, status) = setup(43, Duration::ZERO, cluster.clone(), target, SignIn::None, clock());
    let prober = Prober::new(Setup { known_nodes, ..setup });
    let running = Running { metrics, status, task: tokio::spawn(prober.run(Instant::now())) };
    sleep(2 * INTERVAL).await;
    running
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_reached_before_a_reload_is_down_after_it() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let known_nodes = KnownNodes::default();
    let before = start_after_reload(&cluster, known_nodes.clone(), target()).await;
    assert!(before.is_up());
    cluster.kill(1);
    drop(before);
    let after = start_after_reload(&cluster, known_nodes, target()).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (false, Watch::Down));
    assert_eq!((of_cluster(&after, "nodes_watched"), of_cluster(&after, "nodes_unwatched")), (3.0, 0.0));
    assert!(after.unavailable() > 0.0 && after.failures("connect_refused") > 0.0);
    assert!(!lines.text().contains("shard not reached"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_not_reached_before_a_reload_either_stays_unwatched() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let known_nodes = KnownNodes::default();
    drop(start_after_reload(&cluster, known_nodes.clone(), target()).await);
    let after = start_after_reload(&cluster, known_nodes, target()).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (true, Watch::Unwatched));
}

#[tokio::test(start_paused = true)]
async fn a_reload_alone_fails_nothing() {
    let cluster = Cluster::new(3);
    let known_nodes = KnownNodes::default();
    drop(start_after_reload(&cluster, known_nodes.clone(), target()).await);
    let after = start_after_reload(&cluster, known_nodes, target()).await;
    assert!(after.is_up());
    assert_eq!(
        (after.all_failures(), after.unavailable(), of_cluster(&after, "nodes_watched")),
        (0.0, 0.0, 3.0)
    );
}
