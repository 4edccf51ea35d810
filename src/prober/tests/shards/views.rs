//! What nodes say of the topology, of which some know less than others, or nothing that is true.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_redirection_to_where_the_topology_has_no_node_costs_one_failed_round() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[3].away = Some(FailureReason::ConnectRefused));
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| state.all[1].misdirects = 2);
    sleep(2 * INTERVAL).await;
    assert!(running.is_up());
    assert!(running.all_failures() <= 1.0, "{}", running.all_failures());
    assert!(running.unavailable() < 3.0, "{}", running.unavailable());
    assert!(cluster.dials(3) > 0);
    let (dials, sets) = (cluster.dials(1), cluster.count(1, "SET"));
    sleep(3 * INTERVAL).await;
    assert_eq!((cluster.dials(1), cluster.count(1, "SET")), (dials, sets + 3), "it is back for good");
}

#[tokio::test(start_paused = true)]
async fn a_redirection_to_a_node_that_serves_although_the_topology_says_otherwise_is_no_longer_followed() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| (state.all[1].misdirects, state.all[3].takes) = (2, Keys::All));
    sleep(2 * INTERVAL).await;
    assert_eq!((running.is_up(), running.all_failures()), (true, 0.0));
    let sets = (cluster.count(1, "SET"), cluster.count(3, "SET"));
    assert!(sets.1 > 0);
    sleep(3 * INTERVAL).await;
    assert_eq!((cluster.count(1, "SET"), cluster.count(3, "SET")), (sets.0 + 3, sets.1));
}

#[tokio::test(start_paused = true)]
async fn a_redirection_that_the_topology_contradicts_for_good_does_not_send_the_link_to_and_fro() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, Target { interval: SECOND, ..target() }).await;
    cluster.with(|state| (state.all[1].misdirects, state.all[3].takes) = (usize::MAX, Keys::All));
    let asked = cluster.count_all("CLUSTER");
    sleep(600 * SECOND).await;
    assert_eq!((running.is_up(), running.all_failures()), (true, 0.0));
    let asked = cluster.count_all("CLUSTER") - asked;
    assert!((5..40).contains(&cluster.dials(3)) && asked < 500, "{} {asked}", cluster.dials(3));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_heard_of_a_failover_delays_nobody_who_asks_another() {
    for view in [None, Some(Vec::new())] {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        cluster.with(|state| {
            let old = state.slots.clone();
            // The node serves its own slots.
            state.all[0].view = Some(view.unwrap_or(old));
            state.slots[1].2 = 3;
        });
        cluster.kill(1);
        sleep(INTERVAL).await;
        assert!(running.is_up());
        assert!(running.unavailable() < 4.0, "{}", running.unavailable());
        let dials = cluster.dials(3);
        sleep(300 * SECOND).await;
        assert!(running.is_up());
        assert_eq!((cluster.dials(3), cluster.dials(1)), (dials, cluster.dials(1)), "it is not left again");
        assert_eq!(shards(&running)[1].2, endpoint(3).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_shard_is_not_given_up_because_one_node_claims_its_slots() {
    for claimant in [0, 2] {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        cluster.with(|state| {
            // As before the slots were given to the node that dies.
            let mut view = state.slots.clone();
            view[1].2 = claimant;
            state.all[claimant].view = Some(view);
        });
        cluster.kill(1);
        sleep(140 * SECOND).await;
        assert!(!running.is_up());
        assert!(running.unavailable() > 139.0, "{}", running.unavailable());
        assert_eq!(shards(&running).len(), 3, "node {claimant}");
        assert_eq!(running.value(r#"topology_changes_total{target="t"}"#), 0.0);
        // The others agree now.
        cluster.with(|state| state.slots[1].2 = claimant);
        sleep(2 * INTERVAL).await;
        assert!(running.is_up(), "node {claimant}");
        assert_eq!(shards(&running).len(), 2, "node {claimant}");
    }
}

#[tokio::test(start_paused = true)]
async fn dead_shards_are_not_given_up_because_the_last_node_has_forgotten_them() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.kill(1);
    cluster.kill(2);
    sleep(2 * INTERVAL).await;
    cluster.with(|state| state.slots.truncate(1));
    sleep(120 * SECOND).await;
    assert_eq!((running.is_up(), shards(&running).len()), (false, 3));
}

#[tokio::test(start_paused = true)]
async fn slots_that_two_of_three_nodes_call_ownerless_are_whoever_is_asked() {
    for behind in 0..3 {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        cluster.with(|state| {
            state.all[behind].view = Some(state.slots.clone());
            state.slots[1].1 -= 1;
        });
        sleep(200 * SECOND).await;
        let (failures, unavailable) = (running.all_failures(), running.unavailable());
        assert!(!running.is_up() && running.failures("slots_uncovered") > 0.0, "node {behind}");
        sleep(200 * SECOND).await;
        assert_eq!(running.all_failures(), failures + 20.0, "node {behind}");
        assert!(running.unavailable() > unavailable + 198.0, "node {behind}: {}", running.unavailable());
        // All agree that an owner is there again.
        cluster.with(|state| state.slots[1].1 += 1);
        sleep(100 * SECOND).await;
        assert!(running.is_up(), "node {behind}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_primary_is_enough_to_say_that_slots_have_no_owner() {
    let cluster = Cluster::with_replicas(1);
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| state.slots[0].1 -= 1);
    sleep(100 * SECOND).await;
    assert!(!running.is_up());
    assert!(running.failures("slots_uncovered") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_no_other_can_confirm_is_asked_at_each_refresh_only() {
    for is_limited in [true, false] {
        let cluster = Cluster::new(3);
        cluster.with(|state| {
            // Nobody else can say that this is so.
            state.slots[2].1 -= 1;
            for other in 1..3 {
                state.all[other].away = (!is_limited).then_some(FailureReason::ConnectRefused);
            }
        });
        let mut target = target();
        if is_limited {
            target.cluster.max_nodes = NonZeroU32::MIN;
        }
        let _running = start_cluster(&cluster, target).await;
        sleep(120 * SECOND).await;
        let asked = cluster.count_all("CLUSTER");
        sleep(600 * SECOND).await;
        let asked = cluster.count_all("CLUSTER") - asked;
        assert!((8..=30).contains(&asked), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_asked_last() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    // It is cut off from the others, which have promoted another.
    cluster.with(|state| {
        state.all[1].view = Some(state.slots.clone());
        state.all[1].takes = Keys::None;
    });
    sleep(INTERVAL).await;
    assert!(!running.is_up());
    let asked = cluster.count(1, "CLUSTER");
    cluster.with(|state| state.slots[1].2 = 3);
    sleep(3 * SECOND).await;
    assert!(running.is_up());
    assert_eq!(cluster.count(1, "CLUSTER"), asked);
}

#[tokio::test(start_paused = true)]
async fn one_node_asked_twice_is_not_two_that_agree() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        state.slots.pop();
        state.all[1].away = Some(FailureReason::ConnectTimeout);
    });
    let running = start_cluster(&cluster, target()).await;
    sleep(6 * INTERVAL).await;
    assert_eq!((running.failures("slots_uncovered"), running.is_up()), (0.0, true));
    cluster.with(|state| state.all[1].away = None);
    sleep(6 * INTERVAL).await;
    assert!(running.failures("slots_uncovered") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn replicas_are_not_asked_for_the_topology() {
    let cluster = Cluster::with_replicas(2);
    let running = start_cluster(&cluster, with_replicas()).await;
    sleep(600 * SECOND).await;
    assert_eq!((cluster.count(2, "CLUSTER"), cluster.count(3, "CLUSTER")), (0, 0));
    // Not even if nobody else is there.
    (0..2).for_each(|primary| cluster.kill(primary));
    sleep(20 * SECOND).await;
    assert_eq!((cluster.count(2, "CLUSTER"), cluster.count(3, "CLUSTER")), (0, 0));
    assert!(!running.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_one_change_of_a_role_and_a_migration_is_none() {
    let cluster = Cluster::with_replicas(2);
    let running = start_cluster(&cluster, target()).await;
    let changes = || running.value(r#"role_changes_total{target="t"}"#);
    cluster.with(|state| {
        state.slots[0].2 = 2;
        state.replicas[0] = (0, 2);
        (state.all[0].is_replica, state.all[2].is_replica) = (true, false);
    });
    sleep(2 * INTERVAL).await;
    assert_eq!((changes(), running.all_failures()), (1.0, 0.0), "planned");
    cluster.kill(1);
    cluster.with(|state| {
        state.slots[1].2 = 3;
        state.replicas.pop();
    });
    sleep(2 * INTERVAL).await;
    assert_eq!((changes(), running.is_up()), (2.0, true), "after a crash");
    cluster.with(|state| (state.slots[0].1, state.slots[1].0) = (9_000, 9_001));
    sleep(8 * INTERVAL).await;
    assert_eq!(changes(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_names_itself_by_an_address_that_is_out_of_reach_stays_where_the_others_find_it() {
    for primaries in [2, 3] {
        let cluster = Cluster::new(primaries);
        cluster.with(|state| {
            state.all.resize_with(2 * primaries, Node::default);
            for place in 0..primaries {
                state.all[place].own_address = Some(primaries + place);
                state.all[primaries + place].away = Some(FailureReason::ConnectRefused);
            }
        });
        let mut target = target();
        target.cluster.refresh = SECOND;
        let running = start_cluster(&cluster, target).await;
        sleep(2 * INTERVAL).await;
        let expected: Vec<_> = (0..primaries).map(|node| (Watch::Up, endpoint(node).to_string())).collect();
        let shown = || shards(&running).into_iter().map(|(_, watch, at)| (watch, at)).collect::<Vec<_>>();
        assert_eq!(shown(), expected);
        let changes = || running.value(r#"topology_changes_total{target="t"}"#);
        let before = changes();
        sleep(20 * INTERVAL).await;
        assert_eq!((shown(), changes(), running.unavailable()), (expected, before, 0.0), "{primaries}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_out_of_reach_that_all_announce_ends_no_connection_that_serves() {
    // Idle, and with a round under way most of the time.
    for latency in [Duration::ZERO, 4 * SECOND / 10] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].latency = latency);
        let mut target = Target { interval: 2 * SECOND, ..target() };
        target.cluster.refresh = SECOND;
        let running = start_cluster(&cluster, target).await;
        cluster.with(|state| {
            state.all[1].address = Some(3);
            state.all[3].away = Some(FailureReason::ConnectRefused);
        });
        sleep(100 * SECOND).await;
        assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
        assert_eq!(running.disconnects("wrong_node"), 0.0);
        assert!((2..6).contains(&cluster.dials(3)), "{}", cluster.dials(3));
        let failed = format!("address={} reason=\"connect_refused\"", endpoint(3));
        let text = lines.text();
        assert_eq!(text.matches("replacement of the connection failed").count(), 1, "{text}");
        assert!(text.contains(&failed), "{text}");
        // Once it is reached, it takes over.
        cluster.with(|state| (state.all[3].away, state.all[3].takes) = (None, Keys::All));
        sleep(40 * SECOND).await;
        let sets = cluster.count(1, "SET");
        sleep(20 * SECOND).await;
        assert_eq!(cluster.count(1, "SET"), sets);
        assert!(lines.text().contains("connection replaced"), "{}", lines.text());
        assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
        assert_eq!(running.disconnects("wrong_node"), 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_is_opened_again_where_the_nodes_announce_the_shard() {
    let cluster = Cluster::new(3);
    let mut target = target();
    target.cluster.refresh = SECOND;
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.all[1].address = Some(3);
        state.all[3].away = Some(FailureReason::ConnectRefused);
    });
    sleep(2 * INTERVAL).await;
    let dials = cluster.dials(1);
    cluster.hang_up(1);
    sleep(INTERVAL).await;
    assert!(!running.is_up() && running.failures("connect_refused") > 0.0);
    assert_eq!(cluster.dials(1), dials);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_calls_itself_a_replica_is_left_for_the_primary_that_the_others_announce() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        (state.all[1].is_replica, state.all[1].takes) = (true, Keys::All);
        state.all[3].away = Some(FailureReason::ConnectRefused);
    });
    let mut target = target();
    target.cluster.refresh = SECOND;
    let running = start_cluster(&cluster, target).await;
    assert!(running.is_up());
    cluster.with(|state| state.slots[1].2 = 3);
    sleep(2 * INTERVAL).await;
    assert!(!running.is_up() && running.failures("connect_refused") > 0.0);
}
