//! Slots that are lost with their shard, or that move from one shard to another.

use super::*;

#[tokio::test(start_paused = true)]
async fn slots_of_a_shard_that_is_down_are_covered_and_not_available() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.kill(1);
    sleep(INTERVAL).await;
    let available = 16_384 - 5461;
    assert_eq!(of_cluster(&running, "slots_covered"), 16_384.0);
    assert_eq!(of_cluster(&running, "slots_available"), f64::from(available));
    let counts = cluster_of(&running).counts.unwrap();
    assert_eq!((counts.slots_covered, counts.slots_available), (16_384, available));
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_slot_is_known_to_have_left_is_not_written_again() {
    let cluster = Cluster::new(3);
    let mut target = target();
    target.cluster.refresh = SECOND;
    let running = start_cluster(&cluster, target).await;
    sleep(SECOND).await;
    let key = cluster.written(1);
    let slot = Slot::of_key(key.as_bytes()).number();
    cluster.with(|state| {
        let (first, last, owner) = state.slots[1];
        state.slots[1] = (first, slot - 1, owner);
        state.slots.extend([(slot, slot, 2), (slot + 1, last, owner)]);
    });
    let of_key = || cluster.count(1, &format!("SET {key} "));
    let before = of_key();
    sleep(3 * INTERVAL).await;
    assert_eq!((of_key(), running.all_failures()), (before, 0.0));
    assert_eq!(shards(&running)[1].1, Watch::Up);
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_lowest_slot_changes_has_series_of_that_name_alone() {
    let cluster = Cluster::new(3);
    let mut target = target();
    target.cluster.refresh = SECOND;
    let running = start_cluster(&cluster, target).await;
    cluster.with(|state| {
        state.slots[0].1 = 5560;
        state.slots[1].0 = 5561;
    });
    sleep(2 * INTERVAL).await;
    assert_eq!(running.value(r#"shard_success{role="primary",shard="5561",target="t"}"#), 1.0);
    assert!(!text(&running).contains(r#"shard="5461""#));
    assert_eq!(running.all_failures(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_leave_a_shard_which_goes_on_to_serve_are_noticed_at_once() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    let slot = Slot::of_key(cluster.written(1).as_bytes()).number();
    cluster.with(|state| {
        let (first, last, owner) = state.slots[1];
        state.slots[1] = (first, slot - 1, owner);
        state.slots.extend([(slot, slot, 3), (slot + 1, last, owner)]);
    });
    sleep(INTERVAL + SECOND).await;
    assert_eq!((shards(&running).len(), of_cluster(&running, "slots_covered")), (4, 16_384.0));
    assert_eq!((running.all_failures(), running.disconnects("wrong_node")), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn slots_that_lose_their_owner_are_noticed_within_a_second_and_shown_if_two_nodes_agree() {
    for agree in [true, false] {
        let cluster = Cluster::new(3);
        let running = start_cluster(&cluster, target()).await;
        cluster.with(|state| {
            if !agree {
                let before = state.slots.clone();
                for node in &mut state.all[1..] {
                    node.view = Some(before.clone());
                }
                state.all[0].view = Some(before[..2].to_vec());
            }
            state.slots.pop();
        });
        sleep(INTERVAL + SECOND).await;
        assert!(!running.is_up());
        let uncovered = cluster_of(&running).uncovered;
        let reasons = ["slots_uncovered", "cluster_down"].map(|reason| running.failures(reason) > 0.0);
        if agree {
            assert_eq!(uncovered.as_deref(), Some("10922-16383"));
        } else {
            assert_eq!(reasons, [false, true]);
        }
        sleep(INTERVAL).await;
        assert_eq!(running.failures("slots_uncovered") > 0.0, agree);
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_have_no_owner_at_the_start_are_in_the_first_verdict() {
    for (interval, shards) in [(SECOND / 10, 3), (INTERVAL, 3), (INTERVAL, 1)] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(shards);
        cluster.with(|state| state.slots[shards - 1].0 += 100);
        let target = Target { interval, ..target() };
        let running = start_prober(cluster, target, SignIn::None, clock());
        for _ in 0..60 {
            assert_ne!(verdict(&running), Some(true), "{}", lines.text());
            sleep(SECOND / 10).await;
        }
        assert_eq!((verdict(&running), running.probes()), (Some(false), running.failures("slots_uncovered")));
        assert!(running.probes() > 0.0 && !lines.text().contains("cache available"), "{}", lines.text());
    }
}

#[tokio::test(start_paused = true)]
async fn one_node_that_knows_of_no_owner_holds_the_first_verdict_back_until_others_were_tried() {
    for others in [None, Some(refusals::DENIED)] {
        let cluster = Cluster::new(3);
        cluster.with(|state| {
            let mut view = state.slots.clone();
            view[2].0 += 100;
            state.all[0].view = Some(view);
            state.all[1..].iter_mut().for_each(|node| node.no_topology = others);
        });
        let running = start_prober(cluster, target(), SignIn::None, clock());
        sleep(SECOND).await;
        assert_eq!(verdict(&running), None);
        sleep(INTERVAL).await;
        assert_eq!((verdict(&running), running.all_failures()), (Some(true), 0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn shards_that_are_found_late_are_awaited_as_well() {
    let cluster = Cluster::new(3);
    cluster.with(|state| {
        state.all[0].no_topology = Some("-LOADING Redis is loading the dataset in memory\r\n");
        state.all[2].hangs = true;
    });
    let running = start_prober(cluster.clone(), target(), SignIn::None, clock());
    sleep(INTERVAL / 2).await;
    cluster.with(|state| state.all[0].no_topology = None);
    sleep(SECOND).await;
    let before = running.probes();
    sleep(2 * INTERVAL).await;
    let failures = running.all_failures();
    assert!(failures > 1.0 && failures == running.probes() - before, "{failures} of {}", running.probes());
}

#[tokio::test(start_paused = true)]
async fn the_first_verdict_on_a_cluster_waits_until_something_is_known_of_every_shard() {
    for is_up in [true, false] {
        let cluster = Cluster::new(3);
        cluster.with(|state| state.all[2].hangs = !is_up);
        let running = start_prober(cluster, target(), SignIn::None, clock());
        // The shards begin one after the other within an interval.
        sleep(INTERVAL / 2).await;
        assert_eq!((verdict(&running), running.probes()), (None, 0.0));
        sleep(2 * INTERVAL).await;
        let failures = if is_up { 0.0 } else { running.probes() };
        assert_eq!((verdict(&running), running.all_failures()), (Some(is_up), failures));
        assert!(running.probes() > 1.0);
        let series = r#"shard_unavailable_seconds_total{role="primary",shard="10922",target="t"}"#;
        assert!(running.unavailable() >= running.value(series), "no time before the verdict is lost");
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_all_lose_their_owner_are_uncovered_until_they_have_one_again() {
    for shards in [1, 3] {
        let cluster = Cluster::new(shards);
        let running = start_cluster(&cluster, target()).await;
        let slots = cluster.with(|state| std::mem::take(&mut state.slots));
        sleep(2 * INTERVAL).await;
        let shown = || cluster_of(&running);
        assert_eq!(shown().uncovered.as_deref(), Some("0-16383"), "{shards}");
        assert_eq!((of_cluster(&running, "slots_covered"), shown().counts.unwrap().slots_covered), (0.0, 0));
        assert_eq!((of_cluster(&running, "slots_available"), running.is_up()), (0.0, false));
        let failures = running.failures("slots_uncovered");
        sleep(3 * INTERVAL).await;
        assert!(running.failures("slots_uncovered") > failures, "{shards}: {failures}");
        cluster.with(|state| state.slots = slots);
        sleep(2 * INTERVAL).await;
        assert_eq!((shown().uncovered, shown().shards.len(), running.is_up()), (None, shards, true));
        assert_eq!(of_cluster(&running, "slots_available"), 16_384.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_any_slots_has_uncovered_slots_from_the_start() {
    let cluster = Cluster::new(1);
    let slots = cluster.with(|state| std::mem::take(&mut state.slots));
    let running = start_cluster(&cluster, target()).await;
    sleep(3 * INTERVAL).await;
    assert!(!running.is_up() && running.failures("slots_uncovered") > 1.0, "{}", text(&running));
    cluster.with(|state| state.slots = slots);
    sleep(2 * INTERVAL).await;
    assert_eq!((running.is_up(), shards(&running).len()), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lists_no_slots_any_more_confirms_that_others_have_no_owner() {
    let cluster = Cluster::new(3);
    let running = start_cluster(&cluster, target()).await;
    cluster.with(|state| {
        let last = state.slots.split_off(2);
        // Those that have lost theirs do not know yet that the last one has as well.
        state.slots.clear();
        (state.all[0].view, state.all[1].view) = (Some(last.clone()), Some(last));
    });
    sleep(2 * INTERVAL).await;
    assert_eq!(cluster_of(&running).uncovered.as_deref(), Some("0-16383"), "the last one denies it");
    assert!(!running.is_up());
}

#[tokio::test(start_paused = true)]
async fn slots_that_two_nodes_do_not_list_are_neither_covered_nor_available_though_they_are_served() {
    for views in [&[0][..], &[0, 1, 2]] {
        let cluster = Cluster::new(3);
        let mut target = target();
        target.cluster.refresh = SECOND;
        let running = start_cluster(&cluster, target).await;
        cluster.with(|state| views.iter().for_each(|node| state.all[*node].view = Some(Vec::new())));
        sleep(INTERVAL + SECOND).await;
        let are_uncovered = views.len() > 1;
        let slots = if are_uncovered { 0.0 } else { 16_384.0 };
        assert_eq!(
            (of_cluster(&running, "slots_covered"), of_cluster(&running, "slots_available")),
            (slots, slots)
        );
        let counts = cluster_of(&running).counts.unwrap();
        assert_eq!(counts.slots_covered, counts.slots_available);
        assert_eq!(running.is_up(), !are_uncovered);
        assert_eq!(running.failures("slots_uncovered") > 0.0, are_uncovered);
        cluster.with(|state| state.all.iter_mut().for_each(|node| node.view = None));
        sleep(INTERVAL).await;
        assert_eq!(of_cluster(&running, "slots_available"), 16_384.0);
        assert!(running.is_up());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_exported_of_slots_agrees_with_the_verdict_at_every_moment() {
    let cluster = Cluster::new(3);
    let mut target = target();
    (target.cluster.refresh, target.interval) = (SECOND, SECOND);
    let running = start_cluster(&cluster, target).await;
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        cluster.with(|state| {
            let all = state.slots.clone();
            for node in &mut state.all[..3] {
                let mut view = all.clone();
                match rng.u8(..4) {
                    0 => view[2].0 += 100,
                    1 => view.clear(),
                    _ => {}
                }
                node.view = Some(view);
            }
        });
        for _ in 0..30 {
            sleep(SECOND / 10).await;
            let (covered, available) =
                (of_cluster(&running, "slots_covered"), of_cluster(&running, "slots_available"));
            assert!(available <= covered, "{available} of {covered}");
            assert_eq!(covered == 16_384.0, running.is_up(), "{covered}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_lowest_slot_changes_back_and_forth_keeps_its_connection_and_its_outage() {
    for is_down in [false, true] {
        let (lines, _guard) = logged();
        let cluster = Cluster::new(3);
        let mut target = target();
        target.cluster.refresh = SECOND;
        let running = start_cluster(&cluster, target).await;
        let dials = cluster.dials(1);
        if is_down {
            cluster.kill(1);
            sleep(2 * INTERVAL).await;
        }
        let began = running.unavailable();
        for first in [5561, 5461, 5561, 5461, 5561, 5461] {
            cluster.with(|state| {
                state.slots[0].1 = first - 1;
                state.slots[1].0 = first;
            });
            sleep(5 * SECOND).await;
            let series = format!(r#"shard_success{{role="primary",shard="{first}",target="t"}}"#);
            assert_eq!(running.value(&series), if is_down { 0.0 } else { 1.0 });
        }
        sleep(INTERVAL).await;
        assert_eq!(running.is_up(), !is_down);
        if is_down {
            let lasted = running.unavailable() - began;
            assert!((35.0..45.0).contains(&lasted), "one outage, not {lasted}");
            assert_eq!(lines.text().matches("shard unavailable").count(), 1, "{}", lines.text());
        } else {
            assert_eq!((cluster.dials(1), running.all_failures(), running.unavailable()), (dials, 0.0, 0.0));
        }
        assert!(!text(&running).contains(r#"shard="5561""#));
    }
}
