//! Shards whose slots go to another node.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shard_that_moves_is_followed_without_an_outage() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    // The first node without slots takes over.
    cluster.with(|state| {
        state.slots[1].2 = 3;
        state.all[1].is_replica = true;
    });
    sleep(INTERVAL).await;
    assert_eq!(shards(&running)[1], ("5461".to_owned(), Watch::Up, endpoint(3).to_string()));
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!((cluster.dials(3), running.value(r#"topology_changes_total{target="t"}"#)), (1, 1.0));
    assert_eq!(running.disconnects("wrong_node"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_closes_connections_costs_nothing_even_before_any_node_lists_it() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, Target { attempts: NonZeroU32::MIN, ..target() }).await;
    cluster.with(|state| {
        let old = state.slots.clone();
        state.all.iter_mut().for_each(|node| node.view = Some(old.clone()));
        state.slots[1].2 = 3;
        state.all[1].is_replica = true;
    });
    // It is opened again, to the same node.
    cluster.hang_up(1);
    sleep(2 * INTERVAL).await;
    assert_eq!((running.is_up(), running.all_failures(), running.unavailable()), (true, 0.0, 0.0));
    assert!(cluster.count(3, "SET") > 0, "the new primary is probed");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_delays_no_other_and_its_shard_follows_a_failover() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| state.all[2].hangs = true);
    sleep(INTERVAL + 3 * SECOND).await;
    assert!(running.failures("command_timeout") > 0.0);
    assert_eq!(
        shards(&running).iter().map(|(_, watch, _)| *watch).collect::<Vec<_>>(),
        [Watch::Up, Watch::Up, Watch::Down]
    );
    cluster.with(|state| state.slots[2].2 = 3);
    // The topology is asked for each second, and the hung node is left at once.
    sleep(3 * SECOND).await;
    assert_eq!(shards(&running)[2], ("10922".to_owned(), Watch::Up, endpoint(3).to_string()));
    assert!(running.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_until_another_takes_over_is_an_outage_from_the_start_of_the_hang() {
    // What gets no answer is the question for the role, or where that is not asked, a round.
    for version in [None, Some("6.2.14")] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[2].version = version);
        let mut patient = Target { interval: SECOND, command_timeout: 8 * SECOND, ..target() };
        patient.cluster.refresh = SECOND;
        let running = start_cluster(&cluster, patient).await;
        let pings = cluster.count(2, "PING");
        while cluster.count(2, "PING") == pings {
            sleep(Duration::from_millis(10)).await;
        }
        // Shortly before the next tick.
        sleep(Duration::from_millis(900)).await;
        let hung = Instant::now();
        cluster.with(|state| state.all[2].hangs = true);
        sleep(4 * SECOND).await;
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "it may yet answer");
        cluster.with(|state| state.slots[2].2 = 3);
        while cluster.count(3, "GET") == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let lasted = hung.elapsed().as_secs_f64();
        assert!(
            (lasted - 0.1..lasted).contains(&running.unavailable()),
            "{lasted}: {}",
            running.unavailable()
        );
        assert!(running.is_up());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_followed_within_an_interval_of_less_than_a_second() {
    let interval = SECOND / 2;
    for after in [1_700, 2_100, 2_500, 2_900].map(Duration::from_millis) {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, Target { interval, ..target() }).await;
        cluster.kill(2);
        let asked = cluster.count_all("CLUSTER SLOTS");
        sleep(after).await;
        let asked = cluster.count_all("CLUSTER SLOTS") - asked;
        assert!(asked <= 12, "twice per interval: {asked} times in {after:?}");
        cluster.with(|state| state.slots[2].2 = 3);
        sleep(interval).await;
        assert_eq!(
            shards(&running)[2],
            ("10922".to_owned(), Watch::Up, endpoint(3).to_string()),
            "{after:?}"
        );
        assert!(running.is_up(), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_no_outage_on_a_slow_path_on_which_a_round_takes_longer_than_a_second() {
    for latency in [250, 700].map(Duration::from_millis) {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all.iter_mut().for_each(|node| node.latency = latency));
        let running = start_cluster(&cluster, Target { attempts: NonZeroU32::MIN, ..target() }).await;
        cluster.with(|state| {
            state.slots[1].2 = 3;
            state.all[1].is_replica = true;
        });
        sleep(2 * INTERVAL).await;
        assert_eq!(shards(&running)[1], ("5461".to_owned(), Watch::Up, endpoint(3).to_string()));
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "{latency:?}");
        assert_eq!(running.disconnects("wrong_node"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_was_away_for_minutes_when_the_agent_started_is_followed_soon() {
    let cluster = Cluster::with_replicas(3);
    cluster.kill(1);
    let running = start_cluster(&cluster, target()).await;
    // In the middle between two readings of the topology.
    sleep(130 * SECOND).await;
    assert_eq!(shards(&running)[1].1, Watch::Unwatched);
    cluster.with(|state| {
        (state.slots[1].2, state.all[4].is_replica) = (4, false);
        state.replicas.remove(1);
    });
    let promoted = Instant::now();
    while shards(&running)[1].1 != Watch::Up {
        sleep(SECOND).await;
    }
    assert!(promoted.elapsed() < 25 * SECOND, "{:?}", promoted.elapsed());
    assert!(running.is_up());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_out_of_reach_lets_the_topology_be_asked_for_less_and_less_often() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let _running = start_cluster(&cluster, target()).await;
    let mut asked = Vec::new();
    for _ in 0..4 {
        let before = cluster.count_all("CLUSTER");
        sleep(600 * SECOND).await;
        asked.push(cluster.count_all("CLUSTER") - before);
    }
    // Once a minute, as if all were reached, in the end.
    assert!(asked[0] < 100 && asked[1..].iter().all(|asked| *asked <= 11), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_lost_fails_its_tick_while_other_nodes_hang_over_the_topology() {
    for interval in [SECOND, INTERVAL] {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, Target { interval, ..target() }).await;
        // Before a tick; whoever is asked for the topology hangs.
        sleep(interval.saturating_sub(SECOND / 10)).await;
        cluster.with(|state| (state.all[0].hangs, state.all[1].hangs) = (true, true));
        cluster.kill(2);
        sleep(SECOND / 2).await;
        assert!(!running.is_up(), "{interval:?}");
        for ticks in 1..6 {
            let (probes, recent) = (running.probes(), shown(&running).recent.len());
            assert_eq!(running.all_failures(), f64::from(ticks), "{interval:?}");
            sleep(interval).await;
            assert_eq!(running.probes(), probes + 1.0, "{interval:?}");
            assert!(recent == 10 || shown(&running).recent.len() == recent + 1, "one entry for each");
        }
    }
}
