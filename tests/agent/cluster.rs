//! What a client sees of real clusters.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster_bed::Cluster;
use crate::cluster_client::ClusterClient;
use crate::gate::Gate;
use crate::load::Beats;
use crate::program::eventually;
use crate::redis_server::Listen;

/// By how much nodes may be late, beside the load that is measured.
const BUSY: Duration = Duration::from_secs(1);

async fn sees_what_happens(listen: Listen) {
    let mut cluster = Cluster::start(listen).await;
    let client = ClusterClient::start(&cluster, &[0, 77, 5461, 10_923]);
    let beats = Beats::start();
    let late = || BUSY + beats.late();
    // Nothing of this makes an application wait for long.
    cluster.fail_over(4).await;
    cluster.fail_over(1).await;
    cluster.begin_migration(77..=77, 0, 1);
    cluster.move_keys(77..=77, 0, 1);
    sleep(Duration::from_millis(200)).await;
    cluster.end_migration(77..=77, 1);
    let node = cluster.add_node().await;
    cluster.reshard(10_923..=11_022, 2, node).await;
    let gates: Vec<_> = (0..=node).map(|index| Gate::open(cluster.node(index).port())).collect();
    cluster.announce(&gates.iter().map(|gate| gate.port).collect::<Vec<_>>()).await;
    let without = client.unavailable();
    assert!(without < late(), "{without:?}");

    // A node that hangs is missed for as long as it hangs, and by its own slots alone.
    cluster.require_full_coverage(false);
    let began = Instant::now();
    cluster.stop(node);
    sleep(Duration::from_millis(800)).await;
    let hung = began.elapsed();
    cluster.resume(node);
    eventually("the client is content", || client.is_content()).await;
    let missed = client.unavailable_at(10_923);
    assert!(missed.abs_diff(hung) < late(), "{missed:?} of {hung:?}");
    assert!(client.unavailable_at(0) < late());

    let began = Instant::now();
    cluster.delete_slots(&(77..=77));
    sleep(Duration::from_millis(800)).await;
    cluster.add_slots(&(77..=77), 0);
    let deleted = began.elapsed();
    eventually("the client is content", || client.is_content()).await;
    // The other nodes learn the owner from it.
    let (missed, known) = (client.unavailable_at(77), began.elapsed());
    assert!(
        missed + late() > deleted && missed < without + known + late(),
        "{missed:?} of {deleted:?} to {known:?}"
    );

    // All slots are missed until a replica is promoted.
    cluster.require_full_coverage(true);
    let (before, began) = (client.unavailable(), Instant::now());
    cluster.kill(1).await;
    cluster.promoted(4).await;
    eventually("the client is content", || client.is_content()).await;
    let missed = client.unavailable().saturating_sub(before);
    let known = began.elapsed();
    assert!(missed > Duration::ZERO && missed < known + late(), "{missed:?} of {known:?}");
    cluster.restart(1).await;
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_client_misses_what_a_cluster_does_not_serve_and_nothing_else() {
    tokio::join!(sees_what_happens(Listen::Plaintext), sees_what_happens(Listen::Tls));
}
