//! The roles of a cluster's nodes, as `HELLO` shows them.

use super::*;
use crate::target::ExpectRole;

#[tokio::test(start_paused = true)]
async fn the_primary_of_each_shard_is_written_whatever_role_is_expected() {
    for expect_role in [ExpectRole::Any, ExpectRole::Primary, ExpectRole::Replica] {
        let cluster = Cluster::with_replicas(3);
        let running = start_cluster(&cluster, Target { expect_role, ..target() }).await;
        let before = cluster.count_all("SET");
        sleep(INTERVAL).await;
        assert_eq!((cluster.count_all("SET") - before, running.all_failures()), (3, 0.0), "{expect_role:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_primary_is_asked_for_its_role_as_often_as_the_topology_is_read_where_that_needs_no_right() {
    let cluster = Cluster::with_replicas(3);
    cluster.with(|state| state.all[1].version = Some("6.2.14"));
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(580 * SECOND).await;
    let asked: Vec<_> = (0..6).map(|node| cluster.asked_for_role(node)).collect();
    assert_eq!(asked, [9, 0, 9, 0, 0, 0], "once in a minute, and not of replicas or version 6");
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_survive_the_question_for_its_role_is_spared_it_for_an_hour() {
    for reply in [HANG_UP, ""] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].hello_again = Some(reply));
        let running = start_cluster(&cluster, target()).await;
        sleep(3500 * SECOND).await;
        assert_eq!(cluster.asked_for_role(1), 1);
        assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
        sleep(300 * SECOND).await;
        assert_eq!(cluster.asked_for_role(1), 2);
    }
}
