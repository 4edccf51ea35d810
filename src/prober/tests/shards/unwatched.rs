//! Shards that were not reached, and what they decide.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_never_reached_is_unwatched_and_does_not_decide() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let running = start_cluster(&cluster, target()).await;
    sleep(3 * INTERVAL).await;
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!((of_cluster(&running, "nodes_watched"), of_cluster(&running, "nodes_unwatched")), (2.0, 1.0));
    assert!(!text(&running).contains(r#"shard="5461""#));
    let shard = cluster_of(&running).shards.remove(1);
    assert_eq!(shard.state, Watch::Unwatched);
    let advice = shard.last_failure.unwrap().failure.advice;
    assert!(advice.contains("Open port 7001"), "{advice}");
    let text = lines.text();
    assert_eq!(
        (text.matches("shard not reached").count(), text.matches("Open port 7001").count()),
        (1, 1),
        "{text}"
    );
    // Once it is reached it decides.
    cluster.with(|state| state.all[1].away = None);
    sleep(2 * INTERVAL).await;
    assert_eq!((of_cluster(&running, "nodes_unwatched"), shards(&running)[1].1), (0.0, Watch::Up));
    assert_eq!(lines.text().matches("shard reached").count(), 1, "{}", lines.text());
    cluster.kill(1);
    sleep(2 * SECOND).await;
    assert!(!running.is_up());
    assert_eq!(shards(&running)[1].1, Watch::Down);
}

#[tokio::test(start_paused = true)]
async fn the_advice_about_a_shard_that_is_not_reached_fits_how_the_connection_fails() {
    for (reason, words) in [
        (FailureReason::ConnectTimeout, "Open port 7001"),
        (FailureReason::ConnectRefused, "Nothing listens at the address"),
        (FailureReason::ConnectUnreachable, "There is no way to the address"),
        (FailureReason::Resolve, "The cluster announces this name"),
    ] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[1].away = Some(reason));
        let running = start_cluster(&cluster, target()).await;
        let advice = cluster_of(&running).shards.remove(1).last_failure.unwrap().failure.advice;
        assert!(advice.starts_with(words), "{advice}");
        assert_eq!(lines.text().matches(words).count(), 1, "{}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_node_takes_connections_decides_also_if_it_has_never_served() {
    for (refusal, reason) in [(Some("-WRONGPASS invalid\r\n"), "auth_rejected"), (None, "command_timeout")] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        cluster.with(|state| {
            state.all[1].refusal = refusal;
            state.all[1].hangs = refusal.is_none();
        });
        let running = start_cluster(&cluster, target()).await;
        sleep(INTERVAL).await;
        assert!(!running.is_up(), "{reason}");
        assert_eq!(of_cluster(&running, "nodes_unwatched"), 0.0);
        assert_eq!(running.value(r#"shard_success{role="primary",shard="5461",target="t"}"#), 0.0);
        assert!(running.failures(reason) > 0.0 && running.unavailable() > 5.0);
        assert_eq!(shards(&running)[1].1, Watch::Down);
        assert!(!lines.text().contains("shard not reached"), "{}", lines.text());
        assert!(lines.text().contains("cache unavailable"), "{}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_took_a_connection_was_reached_though_the_topology_led_elsewhere_meanwhile() {
    for (hangs, state) in [(true, Watch::Down), (false, Watch::Unwatched)] {
        let cluster = Cluster::new(3);
        cluster.with(|state| {
            state.all[1].hangs = hangs;
            state.all[1].away = (!hangs).then_some(FailureReason::ConnectTimeout);
            state.all[3].away = Some(FailureReason::ConnectRefused);
        });
        let mut target = target();
        target.cluster.refresh = SECOND;
        let running = start_prober(cluster.clone(), target, SignIn::None, clock());
        sleep(4 * SECOND).await;
        assert_eq!(cluster.dials(1), 1, "it is being opened");
        cluster.with(|state| state.slots[1].2 = 3);
        sleep(2 * INTERVAL).await;
        assert!(cluster.dials(3) > 0);
        assert_eq!((running.is_up(), shards(&running)[1].1), (!hangs, state));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_reached_at_last_was_not_down_before() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectRefused));
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| (state.all[1].away, state.all[1].latency) = (None, SECOND / 4));
    sleep(2 * INTERVAL).await;
    assert_eq!(shards(&running)[1].1, Watch::Up);
    assert!(running.is_up());
    assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0));
    assert_eq!(
        running.value(r#"shard_unavailable_seconds_total{role="primary",shard="5461",target="t"}"#),
        0.0
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_probed_for_want_of_resources_fails_ticks_and_is_not_unavailable() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::LocalResource));
    let running = start_cluster(&cluster, target()).await;
    sleep(INTERVAL).await;
    assert!(running.failures("local_resource") > 0.0);
    assert_eq!((running.is_up(), running.unavailable()), (false, 0.0));
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    sleep(3 * INTERVAL).await;
    let failures = running.all_failures();
    sleep(2 * INTERVAL).await;
    assert!(running.is_up(), "it was never reached");
    assert_eq!(running.all_failures(), failures);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_down_decides_while_others_are_still_being_tried() {
    let cluster = Cluster::new(3);
    let patient = Target { connect_timeout: 50 * SECOND, ..target() };
    cluster.with(|state| state.all[2].away = Some(FailureReason::ConnectTimeout));
    let running = start_cluster(&cluster, patient).await;
    cluster.kill(1);
    sleep(INTERVAL).await;
    assert!(!running.is_up());
    assert_eq!(shards(&running)[2].1, Watch::Unknown);
}

#[tokio::test(start_paused = true)]
async fn shards_that_all_want_resources_of_the_agent_decide_beside_the_host_that_has_them() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        for (node, room) in state.all.iter_mut().zip([1, 0, 0]) {
            node.room = Some(room);
        }
    });
    let running = start_cluster(&cluster, target()).await;
    assert!(running.failures("local_resource") > 0.0);
    assert_eq!((running.is_up(), running.unavailable()), (false, 0.0));
    assert_eq!((of_cluster(&running, "nodes_watched"), of_cluster(&running, "nodes_unwatched")), (0.0, 0.0));
    assert!(shards(&running).iter().all(|(_, watch, _)| *watch == Watch::Down));
    cluster.with(|state| state.all.iter_mut().for_each(|node| node.room = None));
    sleep(3 * INTERVAL).await;
    assert_eq!((running.is_up(), of_cluster(&running, "nodes_watched")), (true, 3.0));
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_first_opening_is_led_on_each_time_has_been_tried() {
    let cluster = Cluster::new(3);
    let mut patient = Target { connect_timeout: 50 * SECOND, ..target() };
    patient.cluster.refresh = SECOND;
    cluster.with(|state| {
        for node in [1, 3] {
            state.all[node].away = Some(FailureReason::ConnectTimeout);
        }
    });
    let led_on = cluster.clone();
    tokio::spawn(async move {
        loop {
            sleep(3 * SECOND).await;
            led_on.with(|state| state.slots[1].2 = 4 - state.slots[1].2);
        }
    });
    let running = start_cluster(&cluster, patient).await;
    sleep(INTERVAL).await;
    assert_eq!(shards(&running)[1].1, Watch::Unwatched);
    assert!(running.value(r#"connects_total{result="failure",target="t"}"#) > 2.0);
    assert!(running.is_up());
    let before = cluster.count_all("SET");
    sleep(INTERVAL).await;
    assert_eq!(cluster.count_all("SET") - before, 2, "the link to the host has ended");
}

#[tokio::test(start_paused = true)]
async fn at_the_start_no_slots_are_missing_and_no_shard_is_unwatched() {
    let cluster = Cluster::with_replicas(3);
    let running = start_prober(cluster.clone(), with_replicas(), SignIn::None, clock());
    for _ in 0..40 {
        sleep(SECOND / 4).await;
        assert_eq!(of_cluster(&running, "nodes_unwatched"), 0.0);
        let shown = text(&running);
        let available = "cachepulse_cluster_slots_available{target=\"t\"} ";
        let slots = shown.lines().find_map(|line| line.strip_prefix(available));
        assert!(slots.is_none_or(|slots| slots == "16384"), "{slots:?}");
    }
    assert_eq!(of_cluster(&running, "slots_available"), 16_384.0);
}
