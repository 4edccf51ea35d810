//! The replicas of shards, beside their primaries.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_replica_is_shown_beside_its_primary_until_it_is_forgotten() {
    let cluster = Cluster::with_replicas(2);
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(2 * INTERVAL).await;
    let up = [("primary", Watch::Up), ("replica", Watch::Up)];
    assert_eq!(states(&running), [up, up].concat());
    assert_eq!(shards(&running)[3].2, endpoint(3).to_string());
    cluster.kill(3);
    sleep(2 * INTERVAL).await;
    let staleness = |shard| text(&running).contains(&format!("replica_staleness_seconds{{shard=\"{shard}\""));
    assert_eq!(["0", "8192"].map(staleness), [true, false], "{}", text(&running));
    let down = [("primary", Watch::Up), ("replica", Watch::Down)];
    assert_eq!((states(&running), running.is_up()), ([up, down].concat(), true));
    let failure = cluster_of(&running).shards.remove(3).last_failure.unwrap().failure;
    assert_eq!(failure.reason, FailureReason::ConnectRefused);
    // The servers hide it.
    cluster.with(|state| state.replicas.truncate(1));
    sleep(200 * SECOND).await;
    assert_eq!(states(&running), [up, down].concat());
    sleep(300 * SECOND).await;
    assert_eq!(states(&running), [&up[..], &up[..1]].concat());
}

#[tokio::test(start_paused = true)]
async fn replicas_that_may_not_be_read_are_unwatched_and_the_missing_right_is_named_once() {
    let (lines, _guard) = logged();
    let cluster = Cluster::with_replicas(2);
    cluster.with(|state| state.read_only = "-NOPERM no permissions to run the 'readonly' command\r\n");
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(4_000 * SECOND).await;
    let unwatched = [("primary", Watch::Up), ("replica", Watch::Unwatched)];
    assert_eq!(states(&running), [unwatched, unwatched].concat());
    let shown = cluster_of(&running);
    assert!(shown.to_string().ends_with("2 not watched; replicas not watched"), "{shown}");
    let failure = shown.replica_failure.unwrap().failure;
    assert_eq!(failure.reason, FailureReason::PermissionDenied);
    assert!(failure.advice.contains("`+readonly`"), "{}", failure.advice);
    assert_eq!(lines.text().matches("give the user the right `+readonly`").count(), 1, "{}", lines.text());
    cluster.with(|state| state.read_only = "+OK\r\n");
    sleep(3_600 * SECOND).await;
    assert!(states(&running).iter().all(|(_, watch)| *watch == Watch::Up));
    assert!(cluster_of(&running).replica_failure.is_none());
    assert_eq!(running.all_failures(), 0.0);
}
