//! A prober that follows another of the same target in one process, because its settings have changed.

use super::*;

/// Starts a prober whose target was probed before by one with these `memory`.
fn reload(cluster: &Cluster, memory: TargetMemory, target: Target) -> Running {
    let (setup, metrics, status) = setup(43, Duration::ZERO, cluster.clone(), target, SignIn::None, clock());
    let prober = Prober::new(Setup { memory, ..setup });
    Running { metrics, status, task: tokio::spawn(prober.run(Instant::now())) }
}

/// Does the same, and waits until each shard was probed.
pub(super) async fn start_after_reload(cluster: &Cluster, memory: TargetMemory, target: Target) -> Running {
    let running = reload(cluster, memory, target);
    sleep(2 * INTERVAL).await;
    running
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_reached_before_a_reload_is_down_after_it() {
    let (lines, _guard) = logged();
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    cluster.kill(1);
    let after = start_after_reload(&cluster, memory, target()).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (false, Watch::Down));
    assert_eq!((of_cluster(&after, "nodes_watched"), of_cluster(&after, "nodes_unwatched")), (3.0, 0.0));
    assert!(after.unavailable() > 0.0 && after.failures("connect_refused") > 0.0);
    assert!(!lines.text().contains("shard not reached"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_reached_before_a_reload_is_down_after_it_also_at_another_address() {
    let (lines, _guard) = logged();
    let cluster = Cluster::with_replicas(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    // Its replica takes over, and announces an address that leads nowhere.
    cluster.kill(1);
    cluster.with(|state| {
        state.all.resize_with(7, Node::default);
        state.all[6].away = Some(FailureReason::ConnectTimeout);
        (state.slots[1].2, state.all[4].address) = (4, Some(6));
        state.replicas = vec![(1, 4)];
    });
    for _ in 0..2 {
        let after = start_after_reload(&cluster, memory.clone(), target()).await;
        assert_eq!(shards(&after)[1], ("5461".into(), Watch::Down, endpoint(6).to_string()));
        assert!(!after.is_up());
    }
    assert!(!lines.text().contains("shard not reached"), "{}", lines.text());
    assert!(
        !lines.text().contains("cache available") || lines.text().matches("cache available").count() == 1
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_led_to_a_node_which_was_reached_before_is_down_if_that_is_away() {
    let cluster = Cluster::new(2);
    // The last node has no slots yet. Another shard's node was never reached.
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectRefused));
    let memory = TargetMemory::default();
    memory.reached(&endpoint(2));
    let after = start_after_reload(&cluster, memory, target()).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (true, Watch::Unwatched));
    cluster.with(|state| {
        state.all[2].away = Some(FailureReason::ConnectRefused);
        state.slots[1].2 = 2;
    });
    sleep(2 * 60 * SECOND).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (false, Watch::Down));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_not_reached_before_a_reload_either_stays_unwatched() {
    let cluster = Cluster::new(3);
    cluster.with(|state| state.all[1].away = Some(FailureReason::ConnectTimeout));
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    let after = start_after_reload(&cluster, memory, target()).await;
    assert_eq!((after.is_up(), shards(&after)[1].1), (true, Watch::Unwatched));
}

#[tokio::test(start_paused = true)]
async fn a_reload_alone_fails_nothing() {
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    let after = start_after_reload(&cluster, memory, target()).await;
    assert!(after.is_up());
    assert_eq!(
        (after.all_failures(), after.unavailable(), of_cluster(&after, "nodes_watched")),
        (0.0, 0.0, 3.0)
    );
}

#[tokio::test(start_paused = true)]
async fn no_success_comes_before_each_shard_that_was_reached_before_has_been_tried() {
    for (reason, after_six_seconds) in [
        (FailureReason::ConnectRefused, Duration::from_millis(1_500)),
        // The connect timeout passes first.
        (FailureReason::ConnectTimeout, Duration::from_millis(6_500)),
    ] {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        drop(start_after_reload(&cluster, memory.clone(), target()).await);
        cluster.with(|state| state.all[2].away = Some(reason));
        let (lines, _guard) = logged();
        let after = reload(&cluster, memory, Target { attempts: NonZeroU32::MIN, ..target() });
        for _ in 0..6 {
            sleep(SECOND).await;
            assert_eq!((verdict(&after), after.probes()), (None, 0.0), "{reason:?}");
        }
        sleep(after_six_seconds).await;
        assert_eq!(verdict(&after), Some(false), "{reason:?}");
        sleep(2 * INTERVAL).await;
        assert_eq!(after.probes(), after.failures(reason.as_str()), "{reason:?}");
        assert!(!lines.text().contains("cache available"), "{reason:?}: {}", lines.text());
        cluster.with(|state| state.all[2].away = None);
        sleep(2 * INTERVAL).await;
        assert_eq!(verdict(&after), Some(true), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_comes_back_is_no_success_before_the_others_have_been_tried() {
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    cluster.with(|state| {
        state.all[1].away = Some(FailureReason::ConnectRefused);
        state.all[2].away = Some(FailureReason::ConnectTimeout);
    });
    let (lines, _guard) = logged();
    let target = Target { attempts: NonZeroU32::MIN, interval: SECOND, ..target() };
    let after = reload(&cluster, memory, target);
    sleep(SECOND).await;
    assert_eq!(verdict(&after), Some(false));
    cluster.with(|state| state.all[1].away = None);
    sleep(4 * SECOND).await;
    assert_eq!((verdict(&after), shards(&after)[1].1), (Some(false), Watch::Up));
    sleep(4 * SECOND).await;
    assert!(!lines.text().contains("cache available"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn what_the_host_has_found_is_the_verdict_once_each_shard_was_opened() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (refusal, expected) in [(None, Some(true)), (Some("-LOADING Redis is loading\r\n"), None)] {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        drop(start_after_reload(&cluster, memory.clone(), target()).await);
        cluster.with(|state| state.all[2].refusal = refusal);
        let after = reload(&cluster, memory, Target { interval: HOUR, ..target() });
        sleep(Duration::from_millis(6_500)).await;
        assert_eq!(verdict(&after), None);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(verdict(&after), expected, "{refusal:?}");
        sleep(INTERVAL).await;
        assert_eq!(verdict(&after), Some(refusal.is_none()), "{refusal:?}");
        assert_eq!((after.probes(), after.all_failures()), (1.0, if refusal.is_none() { 0.0 } else { 1.0 }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_cluster_any_more_waits_for_no_shards() {
    let changes: [fn(&Cluster, &mut Target); 2] = [
        |_, target| target.cluster.mode = ClusterMode::Off,
        |cluster, _| cluster.with(|state| state.is_cluster = false),
    ];
    for (place, change) in changes.iter().enumerate() {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        drop(start_after_reload(&cluster, memory.clone(), target()).await);
        let mut target = target();
        change(&cluster, &mut target);
        let after = reload(&cluster, memory, target);
        sleep(SECOND).await;
        assert_eq!((verdict(&after), after.probes()), (Some(true), 1.0), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_serves_without_the_configured_host_is_up_after_a_reload() {
    let away: [fn(&mut Node); 3] = [
        |node| node.away = Some(FailureReason::ConnectRefused),
        |node| node.away = Some(FailureReason::ConnectTimeout),
        |node| node.hangs = true,
    ];
    for (place, away) in away.into_iter().enumerate() {
        let cluster = Cluster::with_replicas(3);
        let memory = TargetMemory::default();
        let before = start_after_reload(&cluster, memory.clone(), target()).await;
        cluster.kill(0);
        cluster.with(|state| {
            (state.slots[0].2, state.all[3].is_replica, state.all[0].is_replica) = (3, false, true);
            (state.replicas[0], state.all[0].away) = ((0, 3), None);
            away(&mut state.all[0]);
        });
        sleep(3 * INTERVAL).await;
        assert!(before.is_up());
        drop(before);
        let (lines, _guard) = logged();
        for _ in 0..2 {
            let after = reload(&cluster, memory.clone(), Target { interval: SECOND, ..target() });
            for _ in 0..30 {
                assert_ne!(verdict(&after), Some(false), "{place}: {}", lines.text());
                sleep(SECOND).await;
            }
            assert_eq!(verdict(&after), Some(true), "{place}");
            assert_eq!(shards(&after)[0], ("0".into(), Watch::Up, endpoint(3).to_string()));
            assert_eq!((after.all_failures(), after.unavailable()), (0.0, 0.0), "{place}");
            assert!(after.probes() > 20.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_which_nothing_serves_is_down_after_a_reload() {
    for reason in [FailureReason::ConnectRefused, FailureReason::ConnectTimeout] {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        drop(start_after_reload(&cluster, memory.clone(), target()).await);
        (0..3).for_each(|node| cluster.kill(node));
        cluster.with(|state| state.all.iter_mut().for_each(|node| node.away = Some(reason)));
        let after =
            reload(&cluster, memory, Target { attempts: NonZeroU32::MIN, interval: SECOND, ..target() });
        sleep(12 * SECOND).await;
        assert_eq!(verdict(&after), Some(false), "{reason:?}");
        sleep(20 * SECOND).await;
        assert!(after.probes() > 20.0);
        assert_eq!(after.probes(), after.failures(reason.as_str()), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_host_is_down_whatever_the_one_before_has_led_to() {
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    cluster.with(|state| {
        (state.host, state.all[3].away) = (3, Some(FailureReason::ConnectRefused));
    });
    let server = crate::target::Server::Host(Endpoint { host: "other".into(), port: 6379 });
    let after = start_after_reload(&cluster, memory, Target { server, ..target() }).await;
    assert_eq!(verdict(&after), Some(false));
    assert!((0..3).all(|node| cluster.dials(node) <= 2));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_down_stays_down_if_nobody_says_which_shards_there_are_after_a_reload() {
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    cluster.kill(2);
    cluster.with(|state| state.refusal = Some(refusals::DENIED));
    let (lines, _guard) = logged();
    for _ in 0..2 {
        let after = reload(&cluster, memory.clone(), target());
        for _ in 0..90 {
            assert_ne!(verdict(&after), Some(true), "{}", lines.text());
            sleep(SECOND).await;
        }
        assert_eq!((verdict(&after), shards(&after)[2].1), (Some(false), Watch::Down));
        let advice = cluster_of(&after).topology_failure.unwrap().failure.advice;
        assert!(advice.contains("+cluster|slots"), "{advice}");
    }
    assert!(!lines.text().contains("cache available"), "{}", lines.text());
}

#[tokio::test(start_paused = true)]
async fn the_target_goes_on_as_one_node_once_all_shards_of_before_have_refused_the_topology() {
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), target()).await);
    cluster.with(|state| (state.refusal, state.all[0].takes) = (Some(refusals::DENIED), Keys::All));
    for _ in 0..2 {
        let after = reload(&cluster, memory.clone(), target());
        sleep(3 * INTERVAL).await;
        assert_eq!((verdict(&after), after.all_failures()), (Some(true), 0.0));
        assert!(cluster_of(&after).shards.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn slots_without_owner_let_no_success_come_after_a_reload_before_a_second_node_has_been_asked() {
    for interval in [Duration::from_millis(100), INTERVAL] {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        let target = Target { interval, ..target() };
        drop(start_after_reload(&cluster, memory.clone(), target.clone()).await);
        cluster.with(|state| state.slots[2].0 += 100);
        let (lines, _guard) = logged();
        let after = reload(&cluster, memory, target);
        sleep(3 * INTERVAL).await;
        assert_eq!(verdict(&after), Some(false));
        assert_eq!(after.probes(), after.failures("slots_uncovered"), "{interval:?}");
        assert!(after.probes() > 0.0 && !lines.text().contains("cache available"), "{}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn one_node_that_knows_of_no_owner_does_not_hold_back_the_first_verdict_after_a_reload() {
    for (place, others) in [None, Some(refusals::DENIED), Some("")].into_iter().enumerate() {
        let cluster = Cluster::new(3);
        let memory = TargetMemory::default();
        drop(start_after_reload(&cluster, memory.clone(), target()).await);
        cluster.with(|state| {
            let mut view = state.slots.clone();
            view[2].0 += 100;
            state.all[0].view = Some(view);
            state.all[1..].iter_mut().for_each(|node| node.no_topology = others);
        });
        let after = reload(&cluster, memory, target());
        sleep(3 * INTERVAL).await;
        assert_eq!((verdict(&after), after.all_failures()), (Some(true), 0.0), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn live_shards_show_that_they_are_up_with_their_openings_beside_one_that_is_down() {
    let long = Target { interval: 30 * SECOND, ..target() };
    let cluster = Cluster::new(3);
    let memory = TargetMemory::default();
    drop(start_after_reload(&cluster, memory.clone(), long.clone()).await);
    cluster.kill(0);
    cluster.with(|state| state.host = 1);
    let after = reload(&cluster, memory, long);
    let sets = cluster.count(2, "SET");
    // First openings are spread over ten seconds.
    sleep(8 * SECOND).await;
    let states: Vec<Watch> = shards(&after).into_iter().map(|(_, watch, _)| watch).collect();
    assert_eq!(states, [Watch::Down, Watch::Up, Watch::Up]);
    assert_eq!(of_cluster(&after, "slots_available"), 10_923.0);
    assert_eq!(after.value(r#"shard_success{role="primary",shard="10922",target="t"}"#), 1.0);
    assert_eq!(cluster.count(2, "SET"), sets + 1, "its ticks go on as they were");
}

#[tokio::test(start_paused = true)]
async fn a_dead_replica_that_the_servers_hide_counts_as_down_for_five_minutes_also_over_reloads() {
    let cluster = Cluster::with_replicas(2);
    let memory = TargetMemory::default();
    let before = start_after_reload(&cluster, memory.clone(), with_replicas()).await;
    sleep(INTERVAL).await;
    cluster.kill(3);
    cluster.with(|state| state.replicas.truncate(1));
    sleep(100 * SECOND).await;
    drop(before);
    let up = [("primary", Watch::Up), ("replica", Watch::Up)];
    let down = [("primary", Watch::Up), ("replica", Watch::Down)];
    let is_up = r#"shard_success{role="replica",shard="8192",target="t"}"#;
    for _ in 0..2 {
        let after = start_after_reload(&cluster, memory.clone(), with_replicas()).await;
        sleep(INTERVAL).await;
        assert_eq!(states(&after), [up, down].concat());
        assert_eq!((after.is_up(), after.value(is_up)), (true, 0.0));
        let watched = cluster_of(&after).counts.unwrap().nodes_watched;
        assert_eq!((watched, of_cluster(&after, "nodes_watched")), (3, 3.0));
    }
    let after = start_after_reload(&cluster, memory.clone(), with_replicas()).await;
    sleep(110 * SECOND).await;
    assert_eq!(states(&after), [up, down].concat());
    sleep(60 * SECOND).await;
    assert_eq!(states(&after), [&up[..], &up[..1]].concat());
    assert!(!text(&after).contains(r#"role="replica",shard="8192""#));
    // Nobody who comes later knows of it.
    drop(after);
    let after = start_after_reload(&cluster, memory, with_replicas()).await;
    assert_eq!(states(&after), [&up[..], &up[..1]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_while_replicas_are_not_probed_is_down_when_they_are_again() {
    let replicas = [("primary", Watch::Up), ("replica", Watch::Up)];
    let is_missed = [("primary", Watch::Up), ("replica", Watch::Down)];
    // It dies before the first reload, or between two, and is missed or forgotten at the last one.
    for (before, between, expected) in [(60, 120, true), (0, 120, true), (60, 300, false)] {
        let cluster = Cluster::with_replicas(2);
        let memory = TargetMemory::default();
        let die = || {
            cluster.kill(3);
            cluster.with(|state| state.replicas.truncate(1));
        };
        let all = start_after_reload(&cluster, memory.clone(), with_replicas()).await;
        if before > 0 {
            die();
            sleep(before * SECOND).await;
        }
        drop(all);
        let primaries = start_after_reload(&cluster, memory.clone(), target()).await;
        if before == 0 {
            die();
        }
        sleep(between * SECOND).await;
        assert_eq!(states(&primaries), [("primary", Watch::Up); 2]);
        drop(primaries);
        let all = start_after_reload(&cluster, memory, with_replicas()).await;
        let second = if expected { &is_missed[..] } else { &is_missed[..1] };
        assert_eq!(states(&all), [&replicas[..], second].concat(), "{before} {between}");
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_of_another_cluster_are_not_missed_in_the_one_that_the_target_is_now() {
    let memory = TargetMemory::default();
    let cluster = Cluster::with_replicas(2);
    drop(start_after_reload(&cluster, memory.clone(), with_replicas()).await);
    let other = Cluster::new(1);
    other.with(|state| {
        state.all.resize_with(10, Node::default);
        (state.slots[0].2, state.host) = (9, 9);
    });
    let after = start_after_reload(&other, memory, with_replicas()).await;
    assert_eq!(states(&after), [("primary", Watch::Up)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_verdict_after_a_reload_waits_for_no_host_that_does_not_answer() {
    let away: [fn(&mut Node); 2] =
        [|node| node.away = Some(FailureReason::ConnectTimeout), |node| node.hangs = true];
    for (place, away) in away.into_iter().enumerate() {
        for interval in [SECOND, INTERVAL, 3 * INTERVAL] {
            let cluster = Cluster::with_replicas(3);
            let memory = TargetMemory::default();
            let target = Target { interval, ..target() };
            let before = start_after_reload(&cluster, memory.clone(), target.clone()).await;
            cluster.kill(0);
            cluster.with(|state| {
                (state.slots[0].2, state.all[3].is_replica, state.all[0].is_replica) = (3, false, true);
                (state.replicas[0], state.all[0].away) = ((0, 3), None);
                away(&mut state.all[0]);
            });
            sleep(3 * interval.max(INTERVAL)).await;
            drop(before);
            let after = reload(&cluster, memory, target);
            // Openings are spread over an interval, but not over more than ten seconds.
            sleep(interval.min(INTERVAL) + SECOND).await;
            assert_eq!(verdict(&after), Some(true), "{place} {interval:?}");
            sleep(2 * interval).await;
            assert_eq!((after.all_failures(), after.unavailable()), (0.0, 0.0), "{place} {interval:?}");
        }
    }
}
