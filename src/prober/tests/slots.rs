//! A node of a cluster that is probed as one server: the slots of its keys, and those that leave it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_of_a_cluster_is_probed_with_a_key_of_its_own() {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(a_sixteenth()));
    let running = start(&cache, target());
    sleep(25 * SECOND).await;
    assert_eq!(running.all_failures(), 0.0);
    // It was searched once and kept.
    let searched = cache.count("SET") - 2;
    sleep(10 * SECOND).await;
    assert_eq!(cache.count("SET"), searched + 3);
}

fn a_sixteenth() -> SlotSet {
    [Slot::new(1000).unwrap()..=Slot::new(2023).unwrap()].into_iter().collect()
}

/// Lets the slots of all keys that were written so far be on their way.
fn migrate(cache: &Cache) {
    cache.with(|state| state.migrating = state.keys.drain().map(|(key, _)| key).collect());
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_is_left_for_another_on_the_same_connection() {
    // Where all keys are the node's own, and where they must be searched.
    for own_slots in [None, Some(a_sixteenth())] {
        let cache = Cache::default();
        cache.with(|state| state.own_slots = own_slots.clone());
        let running = start(&cache, Target { attempts: NonZeroU32::MIN, ..target() });
        sleep(5 * SECOND).await;
        migrate(&cache);
        let (sets, dials) = (cache.count("SET"), cache.with(|state| state.dials.len()));
        sleep(30 * SECOND).await;
        assert_eq!((running.probes(), running.all_failures(), running.unavailable()), (4.0, 0.0, 0.0));
        assert_eq!(cache.with(|state| state.dials.len()), dials);
        if own_slots.is_none() {
            assert_eq!(cache.count("SET") - sets, 4, "the key of before once, and another in each probe");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_leaves_between_set_and_get_costs_one_attempt() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(5 * SECOND).await;
    cache.can("GET", "-ASK 42 10.0.0.9:8500\r\n");
    sleep(5 * SECOND + Duration::from_millis(1)).await;
    cache.with(|state| state.canned.clear());
    migrate(&cache);
    sleep(20 * SECOND).await;
    assert_eq!((running.probes(), running.all_failures()), (4.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_demoted_node_is_left_for_the_one_that_its_name_leads_to_now() {
    let cache = Cache::default();
    let running = start(&cache, target());
    sleep(5 * SECOND).await;
    cache.with(|state| state.demoted = 2);
    sleep(30 * SECOND).await;
    assert_eq!(running.all_failures(), 0.0);
    assert_eq!(running.disconnects("wrong_node"), 1.0);
    // The key of before, one other, and the key of before again.
    assert_eq!(cache.count("SET"), 6);
    assert_eq!(cache.with(|state| state.keys.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_has_our_keys_is_not_asked_for_them_again_and_again() {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(SlotSet::default()));
    let running = start(&cache, target());
    sleep(59 * SECOND).await;
    // A follow-up of the first tick has left the key to shards, for which this server knows no topology.
    assert_eq!((running.probes(), running.failures("wrong_node")), (6.0, 5.0));
    let (sets, dials) = (cache.count("SET"), cache.with(|state| state.dials.len()));
    assert!(sets <= 64 + dials + 6, "{sets} on {dials} connections");
}
