//! Connections to shards that are replaced: by their age, and where the host's name leads elsewhere.

use super::refusals::DENIED;
use super::*;
use crate::target::AddressMode;

const MINUTE: Duration = Duration::from_secs(60);

fn connections(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.with(|state| state.all.len())).map(|node| cluster.dials(node)).collect()
}

fn is_unbroken(running: &Running) -> bool {
    let lost = ["closed", "wrong_node"].map(|reason| running.disconnects(reason));
    running.is_up() && (running.all_failures(), running.unavailable(), lost) == (0.0, 0.0, [0.0; 2])
}

#[tokio::test(start_paused = true)]
async fn each_connection_to_a_node_is_replaced_at_its_age() {
    let cluster = Cluster::with_replicas(2);
    let target = Target { max_connection_age: Some(10 * MINUTE), ..with_replicas() };
    let running = start_cluster(&cluster, target).await;
    let first = connections(&cluster);
    sleep(31 * MINUTE).await;
    assert_eq!(connections(&cluster), first.iter().map(|dials| dials + 3).collect::<Vec<_>>());
    assert!(is_unbroken(&running));
    // It goes on where it cannot be replaced.
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    sleep(15 * MINUTE).await;
    assert!(is_unbroken(&running));
}

/// Two clusters with the same slots: the host leads to nodes 0 to 2, and later to nodes 3 to 5.
fn two_clusters() -> Cluster {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        state.all.resize_with(6, Node::default);
        let view = |first: usize| {
            let slots = state.slots.iter();
            Some(slots.map(|(from, to, owner)| (*from, *to, owner + first)).collect::<Vec<_>>())
        };
        let views = [view(0), view(3)];
        for (place, node) in state.all.iter_mut().enumerate() {
            (node.view, node.takes) = (views[place / 3].clone(), Keys::All);
        }
    });
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_name_leads_to_another_cluster_is_followed_after_two_look_ups() {
    let (lines, _guard) = logged();
    let cluster = two_clusters();
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    sleep(5 * MINUTE).await;
    assert_eq!(connections(&cluster)[3..], [0; 3]);
    cluster.with(|state| state.host = 3);
    sleep(2 * MINUTE + SECOND).await;
    let places: Vec<String> = shards(&running).into_iter().map(|(_, _, address)| address).collect();
    assert_eq!(places, [3, 4, 5].map(|node| endpoint(node).to_string()));
    sleep(5 * MINUTE).await;
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!(running.value(r#"role_changes_total{target="t"}"#), 0.0);
    let asked: Vec<usize> = (0..3).map(|node| cluster.count(node, "SET")).collect();
    sleep(5 * MINUTE).await;
    assert_eq!((0..3).map(|node| cluster.count(node, "SET")).collect::<Vec<_>>(), asked);
    assert_eq!(lines.text().matches("host moved").count(), 1, "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_new_address_that_cannot_be_reached_changes_nothing_and_is_reported_once() {
    let (lines, _guard) = logged();
    let cluster = two_clusters();
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.host = 3;
        state.all[3].away = Some(FailureReason::ConnectRefused);
    });
    sleep(20 * MINUTE).await;
    assert!(is_unbroken(&running));
    assert_eq!(lines.text().matches("replacement of the connection failed").count(), 1, "{}", lines.text());
    assert!(cluster.dials(3) <= 41, "{}", cluster.dials(3));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_no_cluster_where_its_name_leads_now_is_probed_as_one_node() {
    let cluster = two_clusters();
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.host = 3;
        state.all[3].no_topology = Some("-ERR This instance has cluster support disabled\r\n");
    });
    sleep(3 * MINUTE).await;
    assert!(shown(&running).cluster.is_none());
    let sets = cluster.count(3, "SET");
    sleep(MINUTE).await;
    assert_eq!(cluster.count(3, "SET"), sets + 6);
    // The connection to it is replaced as that of any single server.
    cluster.with(|state| {
        state.host = 4;
        state.all[4].no_topology = state.all[3].no_topology;
    });
    sleep(15 * MINUTE).await;
    let sets = cluster.count(4, "SET");
    sleep(MINUTE).await;
    assert_eq!((cluster.count(4, "SET"), running.all_failures()), (sets + 6, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_at_the_new_address_ends_nothing() {
    let cluster = two_clusters();
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.host = 3;
        state.all[3].no_topology = Some(DENIED);
    });
    sleep(10 * MINUTE).await;
    assert_eq!(shards(&running).len(), 3);
    cluster.kill(1);
    sleep(2 * INTERVAL).await;
    assert!(!running.is_up());
}

#[tokio::test(start_paused = true)]
async fn links_to_ports_of_the_host_are_opened_anew_where_its_name_leads_now() {
    let cluster = Cluster::new(3);
    let mut target = Target { dns_refresh: Some(MINUTE), ..target() };
    target.cluster.address = AddressMode::Host;
    let running = start_cluster(&cluster, target).await;
    let first = connections(&cluster);
    sleep(3 * MINUTE).await;
    assert_eq!(connections(&cluster), first);
    cluster.with(|state| state.host = 3);
    sleep(3 * MINUTE).await;
    let again: Vec<usize> = connections(&cluster).iter().zip(&first).map(|(now, then)| now - then).collect();
    assert_eq!(again, [1, 1, 1, 1], "the last one was asked for the topology");
    assert!(is_unbroken(&running));
}

#[tokio::test(start_paused = true)]
async fn slots_without_an_owner_in_the_cluster_at_the_new_address_are_noticed_soon() {
    let cluster = two_clusters();
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.host = 3;
        for node in &mut state.all[3..] {
            node.view.as_mut().unwrap().remove(1);
        }
    });
    sleep(2 * MINUTE + 3 * SECOND).await;
    assert!(cluster_of(&running).uncovered.is_some());
    assert!(!running.is_up() && running.unavailable() > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_the_same_cluster_at_the_new_address_that_knows_less_takes_no_shard_away() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let target = Target { dns_refresh: Some(MINUTE), ..target() };
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.host = 2;
        state.all[2].view = Some(state.slots[1..].to_vec());
    });
    sleep(5 * MINUTE).await;
    assert!(running.is_up());
    assert_eq!((shards(&running).len(), running.all_failures()), (3, 0.0));
    assert!(
        !lines.text().contains("host moved") && !lines.text().contains("topology changed"),
        "{}",
        lines.text()
    );
}
